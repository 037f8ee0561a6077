"""One clip in the noise study: its sound is corrupted, frames of it are hidden, the mouths made from it are judged."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from cals.data.corruption.bursts import Burst, draw_corruption, mark_frames
from cals.data.corruption.config import AUDIO_KINDS, check_kind, isolate_kind
from cals.data.corruption.sound import corrupt_sound
from cals.errors import ConfigError
from cals.evaluation.studies.common import Pick, StudyConfig
from cals.evaluation.studies.curves import ClipRecord, Series, series
from cals.evaluation.studies.hiding import Way
from cals.evaluation.studies.mouths import MouthReader, Subject
from cals.evaluation.studies.reliance import HidingRules, Mask, measure_levels, score_frames
from cals.features.mel import log_mel
from cals.models.avsr.network import AVSR
from cals.models.speaking import MeshLips, UNetLips
from cals.types import F32

CLEAN, NOISY, TOLD, SCORED, LEVEL = WAYS = ("clean", "noisy", "told", "scored", "level")
"""What is heard: the sound without noise; all of the noisy one; that without the truly corrupted frames; without those
of a low reliability; without those of an unusual level."""
RULES = (SCORED, LEVEL)
"""Ways that find by themselves what to hide."""
DROPOUT = "dropout"
_DIGITS = 6


@dataclass(frozen=True)
class Condition:
    """What the bursts of a clip are."""

    kind: str
    strength: float
    """Of the speech over the noise, in dB; 1 for dropped sound."""

    @property
    def name(self) -> str:
        return self.kind if self.kind == DROPOUT else f"{self.kind} {self.strength:g} dB"

    def fill_bursts(self, bursts: Sequence[Burst]) -> list[Burst]:
        """These bursts as ones of this kind and strength: the same places, the same seeds."""
        return [replace(burst, kind=self.kind, strength=self.strength) for burst in bursts]


@dataclass(frozen=True, kw_only=True)
class NoisyConfig(StudyConfig):
    """Which noise, and how strong; `seed` is also that of the bursts."""

    every: int = 1
    """Frames from one corrupted frame that is judged to the next."""
    kinds: tuple[str, ...] = ("white", "pink", "music", "babble", DROPOUT)
    snr_db: tuple[float, ...] = (10.0, 0.0, -5.0)
    """Mean power of the clip over that of the noise in a burst; dropped sound has none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, found in (("kinds", self.kinds), ("snr_db", self.snr_db)):
            if not found or len(set(found)) < len(found):
                raise ConfigError(f"{name}: expected one or more, each once, found {found}; leave it out for the usual")
        for kind in self.kinds:
            check_kind(kind, AUDIO_KINDS)
        for condition in self.conditions:
            isolate_kind(condition.kind, condition.strength)  # complains of strengths that cannot be

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every kind at every strength that it has."""
        strengths = {kind: (1.0,) if kind == DROPOUT else self.snr_db for kind in self.kinds}
        return tuple(Condition(kind, strength) for kind in self.kinds for strength in strengths[kind])


@dataclass(frozen=True, kw_only=True)
class NoisyRecord(ClipRecord):
    """What was measured of one clip; `series` are by `series_name`."""

    corrupted: list[int]
    """Frames in a burst, the same under every condition."""
    scores: dict[str, list[float]]
    """Condition -> reliability of every frame."""
    hidden: dict[str, list[int]]
    """Series of one of the `RULES` -> frames that it hides."""

    def mask(self, frames: Sequence[int]) -> Mask:
        """Which frames [t] of the clip these are."""
        found = np.zeros(self.frames, dtype=bool)
        found[list(frames)] = True
        return found


@dataclass(frozen=True, eq=False, kw_only=True)
class NoiseTrial:
    """All that a clip is tried with."""

    network: MeshLips | UNetLips
    recogniser: AVSR
    rules: HidingRules
    reader: MouthReader
    config: NoisyConfig
    voices: Mapping[str, F32] = field(default_factory=dict, repr=False)
    """Sounds [n] of clips by key, of which babble is mixed; those of the clip itself are left out."""

    def measure(self, pick: Pick, subject: Subject) -> NoisyRecord:
        """Judge the corrupted frames of a clip, under every condition and way."""
        clip, step = subject.clip, self.network.mel.timing.samples_per_frame
        bursts = draw_bursts(pick.key, clip.frames, self.config.seed)
        corrupted = mark_frames(bursts, clip.frames)
        moments = np.flatnonzero(corrupted)[:: self.config.every].tolist()
        others = [wav for key, wav in self.voices.items() if key != pick.key]
        real = self.reader.real(subject, moments)
        clean = self.reader.made(self.network, subject, self.hear(clip.mel)[moments], moments)
        found: dict[str, Series] = {}
        scores: dict[str, list[float]] = {}
        hidden: dict[str, list[int]] = {}
        dropped = 0
        for condition in self.config.conditions:
            wav = corrupt_sound(clip.wav, condition.fill_bursts(bursts), step, others)
            masks, trust = self.choose_hidden(wav, corrupted)
            units = self.hear_ways(wav, masks)[:, moments]
            made = self.reader.made(self.network, subject, units.flatten(0, 1), moments * len(units))
            ways = [clean, *np.split(made, len(units))]
            named = {series_name(way, condition): points for way, points in zip(WAYS, ways, strict=True)}
            of_condition, without = series(real, named)
            found |= of_condition
            dropped += without
            scores[condition.name] = trust
            hidden |= {series_name(way, condition): np.flatnonzero(masks[way]).tolist() for way in RULES}
        return NoisyRecord(
            part=pick.part,
            clip=pick.key,
            frames=clip.frames,
            moments=moments,
            dropped=dropped,
            series=found,
            corrupted=np.flatnonzero(corrupted).tolist(),
            scores=scores,
            hidden=hidden,
        )

    def choose_hidden(self, wav: F32, corrupted: Mask) -> tuple[dict[str, Mask], list[float]]:
        """What each way that hides something hides of a sound [n], and the reliability of its frames."""
        scores = score_frames(self.recogniser, wav)
        levels_db = measure_levels(wav, self.network.mel.timing.samples_per_frame)
        masks = {
            TOLD: corrupted,
            SCORED: self.rules.hide_by_score(scores),
            LEVEL: self.rules.hide_by_level(levels_db),
        }
        return masks, [round(float(score), _DIGITS) for score in scores]

    def hear_ways(self, wav: F32, masks: Mapping[str, Mask]) -> Tensor:
        """Units [1 + masks, t, d] of a sound [n]: heard as it is, then with each of the masks [t] hidden."""
        mel = log_mel(torch.from_numpy(wav)[None], self.network.mel)[0]
        lost = torch.from_numpy(np.stack(list(masks.values())))
        with torch.inference_mode():
            return torch.cat([self.hear(mel)[None], Way("hidden", self.network, "hidden").heard(mel, lost)])

    def hear(self, mel: Tensor) -> Tensor:
        """Units [t d] of a mel [m f]."""
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            return self.network.units(mel[None].to(device))[0]


def draw_bursts(key: str, frames: int, seed: int) -> tuple[Burst, ...]:
    """Draw which frames of a clip are corrupted: the same for all kinds, strengths and ways."""
    rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
    return draw_corruption(rng, frames, isolate_kind("white", 0.0)).audio


def series_name(way: str, condition: Condition) -> str:
    """What a record calls it."""
    return f"{way} {condition.name}"
