"""Does the context study find the window that was planted? A small listener on the generator's sound and mouths.

One network hears the log-mel of drawn speech (no pictures: cheap) and says the mouth for every reach at once. Then it
hears only the frames within +-k of the middle one: the sound is cut, not masked, and normalised by fixed statistics.
Run: python benchmarks/synthetic.py --out docs/context-synthetic.json --plot docs/context-synthetic.png
"""

import argparse
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cals.data.synthetic.corpus import build_rng
from cals.data.synthetic.grammar import build_chain, speak
from cals.data.synthetic.mouth import Dominance, compute_frame_times, compute_mouth
from cals.data.synthetic.oracle import compute_oracle_curve, find_window
from cals.data.synthetic.people import sample_speaker
from cals.data.synthetic.sound import synthesize
from cals.features.mel import MelConfig, compute_log_mel

REACHES_S = (0.0, 0.2, 0.4, 0.6)
KS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 20, 24)
FRAMES, SECONDS, FPS, STEP, SAMPLES = 100, 4.0, 25, 4, 640
CUTS = (1, 3, 5, 7, 9, 11, 15, 19, 25, 33)
"""Lengths of the stretches in training, in frames: so that cut sound is nothing new."""
SPEAKERS = 12
DEAF_S = 0.0125
"""Half of the mel's analysis window: of less than that at the edge of cut sound no mel frame is centred within."""
log = logging.getLogger("synthetic")


@dataclass
class Pool:
    """Stretches of one length."""

    mel: Tensor
    """[n m f], normalised."""
    mouth: Tensor
    """[n t r 3], normalised."""


def clips(count: int, seed: int, order: str, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Sound [n samples] and mouths [n t r 3] of freshly drawn speech."""
    chain = build_chain(order)  # type: ignore[arg-type]
    sounds, mouths = [], []
    for i in range(count):
        voice = sample_speaker(i % SPEAKERS, seed).voice
        spoken = speak(chain, SECONDS, build_rng(seed, "words", i))
        sounds.append(synthesize(spoken, voice, build_rng(seed, "sound", i)))
        times = compute_frame_times(FRAMES)
        mouths.append(np.stack([compute_mouth(spoken, times, Dominance.from_reach(r)) for r in REACHES_S], axis=1))
    return torch.from_numpy(np.stack(sounds)).to(device), torch.from_numpy(np.stack(mouths)).float().to(device)


class Listener(nn.Module):
    """Each mel frame is recognised alone; what was recognised is weighed over time; the weighed is read out.

    It sees 0.66 s either way, more than any reach here. Outside of what it is given there is nothing (zeros).
    """

    def __init__(self, width: int = 48, spans: int = 2, taps: int = 33) -> None:
        super().__init__()
        self.frame = nn.Sequential(nn.Linear(80, 128), nn.ReLU(), nn.Linear(128, width), nn.ReLU())
        joined = STEP * width
        self.weigh = nn.Conv1d(joined, spans * joined, taps, padding=taps // 2, groups=joined, bias=False)
        self.read = nn.Sequential(nn.Linear(spans * joined, 192), nn.ReLU(), nn.Linear(192, 3 * len(REACHES_S)))

    def forward(self, mel: Tensor) -> Tensor:
        """Normalised mel [b m f] -> mouths [b t r 3]."""
        heard = self.frame(mel).unflatten(1, (-1, STEP)).flatten(2)
        weighed = self.weigh(heard.transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.read(weighed).unflatten(-1, (len(REACHES_S), 3))
        return out


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Fixed statistics of the training set."""

    mel_mean: Tensor
    mel_std: Tensor
    mouth_mean: Tensor
    mouth_std: Tensor

    def mel(self, wav: Tensor) -> Tensor:
        return (compute_log_mel(wav, MelConfig()) - self.mel_mean) / self.mel_std

    def mouth(self, mouth: Tensor) -> Tensor:
        return (mouth - self.mouth_mean) / self.mouth_std


def cut(wav: Tensor, mouth: Tensor, scale: Scale, length: int, each: int, rng: np.random.Generator) -> Pool:
    """`each` stretches of `length` frames of every clip; the sound is cut before anything is made of it."""
    starts = rng.integers(0, FRAMES - length + 1, (len(wav), each))
    sounds = [wav[i, s * SAMPLES : (s + length) * SAMPLES] for i, row in enumerate(starts) for s in row]
    mouths = [mouth[i, s : s + length] for i, row in enumerate(starts) for s in row]
    return Pool(scale.mel(torch.stack(sounds)), scale.mouth(torch.stack(mouths)))


def batches(pools: list[Pool], steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Whole clips at every second step, else stretches of one length; about as many frames each time."""
    rng = np.random.default_rng([seed, 5])
    for step in range(steps):
        pool = pools[0] if step % 2 == 0 or len(pools) == 1 else pools[int(rng.integers(1, len(pools)))]
        count = min(len(pool.mel), max(16, 1600 // pool.mouth.shape[1]))
        chosen = torch.from_numpy(rng.choice(len(pool.mel), count, replace=False))
        yield pool.mel[chosen], pool.mouth[chosen]


def trained(pools: list[Pool], steps: int, seed: int, name: str, *, middle: bool = False) -> Listener:
    """A listener after so many steps of Adam; with `middle` only the middle frame of each stretch counts."""
    torch.manual_seed(seed)
    model = Listener()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps, pct_start=0.3)
    began = time.process_time()
    for step, (mel, mouth) in enumerate(batches(pools, steps, seed)):
        error = (model(mel) - mouth).square()
        loss = error[:, error.shape[1] // 2].mean() if middle else error.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            log.info(
                "%s %d/%d: error %.4f, %.0f s", name, step, steps, float(loss.detach()), time.process_time() - began
            )
    return model.eval()


@torch.no_grad()
def explained(model: Listener, wav: Tensor, mouth: Tensor, scale: Scale, k: int, moments: Tensor) -> Tensor:
    """Share of the middle frame's variance [r 3] that the model says from +-k frames; moments [n 2] of clip, frame."""
    pieces = torch.stack([wav[i, (t - k) * SAMPLES : (t + k + 1) * SAMPLES] for i, t in moments.tolist()])
    said = torch.cat([model(scale.mel(part))[:, k] for part in pieces.split(200)])
    real = scale.mouth(mouth[moments[:, 0], moments[:, 1]])
    return 1 - (said - real).square().mean(dim=0) / real.var(dim=0, unbiased=False)


def study(model: Listener, wav: Tensor, mouth: Tensor, scale: Scale, moments: Tensor) -> np.ndarray:
    """Curves [k r], the mean over opening, width and protrusion."""
    return np.array([explained(model, wav, mouth, scale, k, moments).mean(dim=-1).tolist() for k in KS])


def results(options: argparse.Namespace) -> dict[str, object]:
    """Everything the plot and the document need."""
    began = time.process_time()
    wav, mouth = clips(options.clips, 0, options.phones)
    mel = compute_log_mel(wav, MelConfig())
    scale = Scale(
        mel_mean=mel.mean(dim=(0, 1)),
        mel_std=mel.std(dim=(0, 1)),
        mouth_mean=mouth.mean(dim=(0, 1)),
        mouth_std=mouth.std(dim=(0, 1)),
    )
    rng = np.random.default_rng(7)
    whole = Pool((mel - scale.mel_mean) / scale.mel_std, scale.mouth(mouth))
    pools = [whole, *(cut(wav, mouth, scale, length, 2 if length > 9 else 4, rng) for length in CUTS)]
    log.info("%d clips: %.0f s", options.clips, time.process_time() - began)
    listeners = {
        "full": trained(pools, options.steps, 0, "full"),
        "0.2 s": trained([cut(wav, mouth, scale, 5, 16, rng)], options.steps // 2, 0, "0.2 s", middle=True),
        "never cut": trained([whole], options.steps // 2, 0, "never cut"),
    }
    test_wav, test_mouth = clips(options.tests, 1000, options.phones)
    moments = torch.stack(
        [torch.arange(options.tests).repeat_interleave(10), torch.arange(30, 70, 4).repeat(options.tests)], dim=1
    )
    curves = {
        name: study(model, test_wav, test_mouth, scale, moments) for name, model in listeners.items() if name != "0.2 s"
    }
    narrow = explained(listeners["0.2 s"], test_wav, test_mouth, scale, 2, moments).mean(dim=-1)
    found: dict[str, object] = {"cpu_s": round(time.process_time() - began)}
    for r, reach in enumerate(REACHES_S):
        found[f"{reach:g}"] = {
            "learned": curves["full"][:, r].round(4).tolist(),
            "never_cut": curves["never cut"][:, r].round(4).tolist(),
            "sees_0.2_s": round(float(narrow[r]), 4),
        }
    arguments = {name: value for name, value in vars(options).items() if not isinstance(value, Path)}
    return found | {"arguments": arguments}


def compared(found: dict[str, object], order: str) -> dict[str, object]:
    """What was learned beside the oracles', with the 95 % windows of all curves.

    `..._gain_window_s` counts the gain over k = 0, as `cals context` does.
    """
    chain, windows = build_chain(order), (2 * np.array(KS) + 1) / FPS
    for reach in REACHES_S:
        one, dominance = found[f"{reach:g}"], Dominance.from_reach(reach)
        one["support_s"] = dominance.support_s
        for name, deaf_s in (("oracle", 0.0), ("hearing", DEAF_S)):
            one[name] = compute_oracle_curve(chain, dominance, KS, moments=1500, deaf_s=deaf_s).mean.round(4).tolist()
            one[f"{name}_unseen"] = round(1 - one[name][KS.index(2)], 4)
        for name in ("oracle", "hearing", "learned", "never_cut"):
            one[f"{name}_window_s"] = round(find_window(windows, np.array(one[name])), 3)
            one[f"{name}_gain_window_s"] = round(find_window(windows, np.array(one[name]), gain=True), 3)
        one["sees_all"] = max(one["learned"])
        one["misses"] = round(1 - one["sees_0.2_s"] / one["sees_all"], 4)
    return found | {"phone_s": round(chain.mean_phone_s(), 4), "windows_s": windows.tolist()}


def plot(found: dict[str, object], path: Path) -> None:
    """Learned curve over the oracle's, a panel for every reach."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(REACHES_S), figsize=(13, 3.2), sharey=True)
    for axis, reach in zip(axes, REACHES_S, strict=True):
        one, windows = found[f"{reach:g}"], found["windows_s"]
        axis.plot(windows, one["oracle"], color="black", label="oracle")
        axis.plot(windows, one["hearing"], color="grey", lw=0.8, label="oracle, deaf at the edges")
        axis.plot(windows, one["learned"], "o-", ms=3, label="learned")
        axis.plot(windows, one["never_cut"], ":", color="tab:red", label="learned on whole clips only")
        axis.plot([0.2], [one["sees_0.2_s"]], "s", color="tab:green", label="only ever hears 0.2 s")
        axis.axvline(one["oracle_window_s"], color="black", lw=0.7, ls="--")
        axis.axvline(one["learned_window_s"], color="tab:blue", lw=0.7, ls="--")
        axis.set_title(
            f"reach {reach:g} s: {one['oracle_window_s']:.2f} s, found {one['learned_window_s']:.2f} s", fontsize=9
        )
        axis.set_xlabel("window of sound, s")
        axis.set_ylim(-0.3, 1.03)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("explained variance of the middle mouth")
    axes[-1].legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plot", type=Path, required=True)
    parser.add_argument("--again", type=Path, help="an earlier --out: only the oracles are computed anew")
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--tests", type=int, default=80)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--phones", choices=("english", "random"), default="english")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    found = json.loads(options.again.read_text(encoding="utf-8")) if options.again else results(options)
    found = compared(found, options.phones)
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    plot(found, options.plot)
    names = ("oracle", "hearing", "learned", "never_cut")
    print("reach", *(f"{name}_window_s" for name in names), "sees_all", "sees_0.2_s", "misses", "oracle/hearing_unseen")
    for reach in REACHES_S:
        one = found[f"{reach:g}"]
        shown = [one[f"{name}_window_s"] for name in names] + [one[f"{name}_gain_window_s"] for name in names]
        print(
            f"{reach:g}",
            *shown,
            one["sees_all"],
            one["sees_0.2_s"],
            one["misses"],
            *(one[f"{n}_unseen"] for n in names[:2]),
        )


if __name__ == "__main__":
    main()
