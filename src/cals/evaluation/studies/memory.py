"""`cals memory`: what sound recalls of the lips, and which slots say which phones (paper section 2; protocol ours)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cals
from cals.data.store import LoadedClip
from cals.errors import ConfigError, DataError
from cals.evaluation.clips import ClipsConfig
from cals.evaluation.phones import load_recogniser
from cals.evaluation.studies.common import ALL, Pick, loaded, numbers, picked, results
from cals.evaluation.studies.mouths import check_crops
from cals.evaluation.studies.plots import plotter
from cals.evaluation.studies.recall import (
    ClipFeatures,
    choose_ridge,
    encode_clip,
    relative_errors,
    squared_errors,
)
from cals.evaluation.studies.slots import (
    SHUFFLES,
    Information,
    cut_phones,
    draw_slots,
    find_phones,
    measure_information,
    tabulate_slots,
)
from cals.evaluation.table import table
from cals.inference.load import LoadedModel
from cals.metrics.bootstrap import Estimate
from cals.metrics.information import perplexity
from cals.models.synctalk import SyncTalkFace
from cals.types import ProgressCallback

FILES = ("memory.json", "memory.md", "slots.png")
NO_PHONES = "Phones were not looked for: pocketsphinx, which finds them, is not there; pip install 'cals[phones]'."


@dataclass(frozen=True, kw_only=True)
class MemoryStudyConfig(ClipsConfig):
    """Which clips are judged, and which ones the regression is fitted to."""

    fit_part: str = "train"
    fit_clips: int = 100
    """At most so many of them, evenly spaced."""
    seed: int = 0
    """Of the bootstrap and the shuffles."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fit_part in self.parts or self.fit_clips < 2:
            raise ConfigError(
                f"memory: expected 2 or more clips to fit to, of a part that is not judged, found {self.fit_clips} of "
                f"{self.fit_part!r}; name another part or other clips"
            )


@dataclass(frozen=True, kw_only=True)
class SlotUse:
    """How the memory of a part is addressed."""

    same: float
    """Share of frames in which sound and lips address the same slot most."""
    at_once: float
    """Slots that a frame's sound addresses, as if evenly: the mean perplexity."""
    in_all: float
    """Slots that the sound addresses over all frames."""
    in_all_by_lips: float
    """Slots that the real frames address over all frames."""


@dataclass(frozen=True, kw_only=True)
class MemoryReport:
    """All of it."""

    settings: dict[str, Any]
    clips: list[dict[str, Any]]
    """Part, name, frames and squared errors of every clip that was judged."""
    recall: dict[str, dict[str, Estimate]]
    """Part -> prediction -> its squared error over that of the mean training feature."""
    use: dict[str, SlotUse]
    information: Information | None
    """Of slots and phones; None where no phones were found."""

    def document(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        recall = {part: {name: numbers(value) for name, value in found.items()} for part, found in self.recall.items()}
        return {
            "format": 1,
            "settings": self.settings,
            "relative_error": recall,
            "slots": {part: vars(found) for part, found in self.use.items()},
            "information_bits": None if self.information is None else self.information._asdict(),
            "clips": self.clips,
        }

    def summary(self) -> str:
        """The results, as Markdown."""
        names = list(next(iter(self.recall.values())))
        errors = [[part, *(str(found[name]) for name in names)] for part, found in self.recall.items()]
        use = [
            [part, f"{one.same:.1%}", *(f"{value:.1f}" for value in (one.at_once, one.in_all, one.in_all_by_lips))]
            for part, one in self.use.items()
        ]
        return "\n\n".join(
            [
                "Squared error of lip features over that of their mean, 95 % interval over clips: 0 is exact, 1 no "
                "better than the mean.",
                table(["part", *names], errors),
                table(["part", "same slot by sound and lips", "slots a frame", "in all", "in all, by lips"], use),
                self._phones(),
            ]
        )

    def markdown(self) -> str:
        """The report to read."""
        settings = "\n".join(f"- {name}: {value}" for name, value in self.settings.items())
        picture = "" if self.information is None else "![Slots by phone](slots.png)\n\n"
        return (
            f"# What the memory of {self.settings['model']} recalls\n\n{settings}\n\n{self.summary()}\n\n{picture}"
            "The lip features are the model's own, of the real frames. `recalled by lips` is the most that its slots "
            "can say; `ridge regression` goes from the audio code straight to the feature, without a memory.\n"
        )

    def _phones(self) -> str:
        found = self.information
        if found is None:
            return NO_PHONES
        return (
            f"A frame's most addressed slot says {found.found:.2f} of {found.phones:.2f} bits of its phone; with the "
            f"phones shuffled {found.shuffled:.2f} (highest of {SHUFFLES}: {found.highest:.2f})."
        )


def memory(
    model: LoadedModel,
    corpus: Path,
    splits: Path,
    out: Path,
    config: MemoryStudyConfig,
    *,
    force: bool = False,
    progress: ProgressCallback | None = None,
) -> MemoryReport:
    """Measure on a prepared corpus; writes the `FILES` into `out`, all or none; slots.png only with pocketsphinx.

    Raises ConfigError for a model without a memory, DataError when the corpus lacks clips of a part, or speech.
    """
    plotter()
    network = model.network
    if not isinstance(network, SyncTalkFace) or network.memory is None:
        raise ConfigError(
            f"memory: expected a model with an Audio-Lip Memory, found {model.name}, a {type(network).__name__} "
            "without; train one with a preset *-synctalkface"
        )
    check_crops(network)
    judged = picked(corpus, splits, config)
    fitted = picked(corpus, splits, ClipsConfig(parts=(config.fit_part,), clips=config.fit_clips))
    if len(fitted) < 2:
        raise DataError(f"{corpus}: expected 2 clips or more of {config.fit_part!r}, found {len(fitted)}; name another")
    recogniser = load_recogniser()
    settings = {
        "model": f"{model.name} ({model.fingerprint})",
        "corpus": str(corpus),
        "splits": str(splits),
        "parts": list(config.parts),
        "clips": config.clips,
        "fitted to": f"{len(fitted)} clips of {config.fit_part}",
        "phones": None if recogniser is None else recogniser.name,
        "seed": config.seed,
        "cals": cals.__version__,
    }
    with results(out, FILES if recogniser else FILES[:2], force=force) as (document, text, *picture):
        ridge = choose_ridge([(one.audio, one.lips) for one, _ in _encoded(network, corpus, fitted, progress)])
        found, spoken = [], []
        for features, clip in _encoded(network, corpus, judged, progress):
            found.append(features)
            if recogniser is not None:
                phones = find_phones(recogniser, clip.wav, clip.facts.get("words"))
                spoken += cut_phones(phones, features.key_address, network.mel.timing.fps)
        if recogniser is not None and not spoken:
            raise DataError(f"{corpus}: expected speech, found no phones in {len(found)} clips; name other clips")
        errors = [squared_errors(one, ridge) for one in found]
        report = MemoryReport(
            settings=settings | {"penalty": ridge.penalty},
            clips=[
                {"part": one.pick.part, "clip": one.pick.key, "frames": len(one.lips), "squared_errors": each}
                for one, each in zip(found, errors, strict=True)
            ],
            recall={
                part: relative_errors([(len(found[i].lips), errors[i]) for i in of_part], config.seed)
                for part, of_part in _by_part(found).items()
            },
            use={part: _use([found[i] for i in of_part]) for part, of_part in _by_part(found).items()},
            information=measure_information(spoken, config.seed) if spoken else None,
        )
        document.write_text(json.dumps(report.document(), allow_nan=False) + "\n", encoding="utf-8")
        text.write_text(report.markdown(), encoding="utf-8")
        for place in picture:
            draw_slots(place, *tabulate_slots(spoken), f"slots of {model.name} by phone")
    return report


def _encoded(
    network: SyncTalkFace, corpus: Path, picks: list[Pick], progress: ProgressCallback | None
) -> Iterator[tuple[ClipFeatures, LoadedClip]]:
    for done, (pick, clip) in enumerate(loaded(corpus, picks, network.mel), start=1):
        yield encode_clip(network, pick, clip), clip
        if progress is not None:
            progress(done, len(picks))


def _by_part(found: list[ClipFeatures]) -> dict[str, list[int]]:
    """Places of the clips of each part, and of all where there are several parts."""
    parts: dict[str, list[int]] = {}
    for place, one in enumerate(found):
        parts.setdefault(one.pick.part, []).append(place)
    return parts if len(parts) < 2 else parts | {ALL: list(range(len(found)))}


def _use(clips: list[ClipFeatures]) -> SlotUse:
    key, value = (np.concatenate(part) for part in zip(*((c.key_address, c.value_address) for c in clips), strict=True))
    return SlotUse(
        same=float((key.argmax(axis=1) == value.argmax(axis=1)).mean()),
        at_once=float(perplexity(key).mean()),
        in_all=float(perplexity(key.mean(axis=0))),
        in_all_by_lips=float(perplexity(value.mean(axis=0))),
    )
