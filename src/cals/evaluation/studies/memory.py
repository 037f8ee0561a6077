"""`cals memory`: recall of lip features from sound, and phones of the slots (paper section 2; protocol ours)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cals
from cals.data.store import LoadedClip
from cals.errors import ConfigError, DataError
from cals.evaluation.clips import ClipsConfig
from cals.evaluation.phones import PhoneRecogniser, load_recogniser
from cals.evaluation.results import open_results, write_json
from cals.evaluation.studies.common import ALL, Pick, load_clips, select_clips
from cals.evaluation.studies.mouth_readers import check_crops
from cals.evaluation.studies.recall import (
    ClipFeatures,
    choose_ridge,
    compute_relative_errors,
    compute_squared_errors,
    encode_clip,
)
from cals.evaluation.studies.slots import (
    SHUFFLES,
    Information,
    PhoneSegment,
    cut_phones,
    draw_slots,
    find_phones,
    measure_information,
    tabulate_slots,
)
from cals.inference.load import LoadedModel
from cals.metrics.bootstrap import Estimate
from cals.metrics.information import perplexity
from cals.models.synctalk import SyncTalkFace
from cals.report.plots import load_pyplot
from cals.report.rounding import round_estimate
from cals.report.tables import format_settings, format_table
from cals.types import ProgressCallback

FILES = ("memory.json", "memory.md", "slots.png")
NO_PHONES = "Phones were not looked for: pocketsphinx, which finds them, is not there; pip install 'cals[phones]'."


@dataclass(frozen=True, kw_only=True)
class MemoryStudyConfig(ClipsConfig):
    """Selection of the clips that are scored, and of those that the regression is fitted to."""

    fit_part: str = "train"
    fit_clips: int = 100
    """Maximum number of clips to fit to, evenly spaced."""
    seed: int = 0
    """Seed of the bootstrap and the shuffles."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fit_part in self.parts or self.fit_clips < 2:
            raise ConfigError(
                f"memory: expected 2 or more clips to fit to, of a part that is not judged, found {self.fit_clips} of "
                f"{self.fit_part!r}; name another part or other clips"
            )


@dataclass(frozen=True, kw_only=True)
class SlotUse:
    """Statistics of the memory addresses of a part."""

    same: float
    """Share of frames in which sound and lips address the same slot most."""
    at_once: float
    """Effective number of slots that a frame's sound addresses: the mean perplexity."""
    in_all: float
    """Effective number of slots that the sound addresses over all frames."""
    in_all_by_lips: float
    """Effective number of slots that the real frames address over all frames."""


@dataclass(frozen=True, kw_only=True)
class MemoryReport:
    """Results of the study."""

    settings: dict[str, Any]
    clips: list[dict[str, Any]]
    """Part, name, frames and squared errors of every scored clip."""
    recall: dict[str, dict[str, Estimate]]
    """Part -> prediction -> its squared error over that of the mean training feature."""
    use: dict[str, SlotUse]
    information: Information | None
    """Of slots and phones; None where no phones were found."""

    def document(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        recall = {
            part: {name: round_estimate(value) for name, value in entry.items()} for part, entry in self.recall.items()
        }
        return {
            "format": 1,
            "settings": self.settings,
            "relative_error": recall,
            "slots": {part: vars(entry) for part, entry in self.use.items()},
            "information_bits": None if self.information is None else self.information._asdict(),
            "clips": self.clips,
        }

    def format_summary(self) -> str:
        """Format the results as Markdown."""
        names = list(next(iter(self.recall.values())))
        errors = [
            [part, *(str(errors_by_name[name]) for name in names)] for part, errors_by_name in self.recall.items()
        ]
        use = [
            [part, f"{one.same:.1%}", *(f"{value:.1f}" for value in (one.at_once, one.in_all, one.in_all_by_lips))]
            for part, one in self.use.items()
        ]
        return "\n\n".join(
            [
                "Squared error of lip features over that of their mean, 95 % interval over clips: 0 is exact, 1 no "
                "better than the mean.",
                format_table(["part", *names], errors),
                format_table(
                    ["part", "same slot by sound and lips", "slots a frame", "in all", "in all, by lips"], use
                ),
                self._format_phones(),
            ]
        )

    def format_markdown(self) -> str:
        """Format the report as Markdown."""
        settings = format_settings(self.settings)
        picture = "" if self.information is None else "![Slots by phone](slots.png)\n\n"
        return (
            f"# What the memory of {self.settings['model']} "
            f"recalls\n\n{settings}\n\n{self.format_summary()}\n\n{picture}"
            "The lip features are the model's own, of the real frames. `recalled by lips` is the most that its slots "
            "can say; `ridge regression` goes from the audio code straight to the feature, without a memory.\n"
        )

    def _format_phones(self) -> str:
        bits = self.information
        if bits is None:
            return NO_PHONES
        return (
            f"A frame's most addressed slot says {bits.found:.2f} of {bits.phones:.2f} bits of its phone; with the "
            f"phones shuffled {bits.shuffled:.2f} (highest of {SHUFFLES}: {bits.highest:.2f})."
        )


def measure_memory(
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
    load_pyplot()
    network = model.network
    if not isinstance(network, SyncTalkFace) or network.memory is None:
        raise ConfigError(
            f"memory: expected a model with an Audio-Lip Memory, found {model.name}, a {type(network).__name__} "
            "without; train one with a preset *-synctalkface"
        )
    check_crops(network)
    picks = select_clips(corpus, splits, config)
    train = select_clips(corpus, splits, ClipsConfig(parts=(config.fit_part,), clips=config.fit_clips))
    if len(train) < 2:
        raise DataError(f"{corpus}: expected 2 clips or more of {config.fit_part!r}, found {len(train)}; name another")
    both = {pick.clip for pick in train} & {pick.clip for pick in picks}
    if both:
        raise DataError(
            f"{splits}: expected clips to fit to that are not judged, found {len(both)} that are, {min(both)} first; "
            "name another part"
        )
    recogniser = load_recogniser()
    settings = {
        "model": f"{model.name} ({model.fingerprint})",
        "corpus": str(corpus),
        "splits": str(splits),
        "parts": list(config.parts),
        "clips": config.clips,
        "fitted to": f"{len(train)} clips of {config.fit_part}",
        "phones": None if recogniser is None else recogniser.name,
        "seed": config.seed,
        "cals": cals.__version__,
    }
    with open_results(out, FILES if recogniser else FILES[:2], force=force) as (document, text, *pictures):
        ridge = choose_ridge([(one.audio, one.lips) for one, _ in _encode_clips(network, corpus, train, progress)])
        clips, segments = _collect_features(network, corpus, picks, recogniser, progress)
        errors = [compute_squared_errors(one, ridge) for one in clips]
        report = MemoryReport(
            settings=settings | {"penalty": ridge.penalty},
            clips=[
                {"part": one.pick.part, "clip": one.pick.key, "frames": len(one.lips), "squared_errors": each}
                for one, each in zip(clips, errors, strict=True)
            ],
            recall={
                part: compute_relative_errors([(len(clips[i].lips), errors[i]) for i in of_part], config.seed)
                for part, of_part in _group_by_part(clips).items()
            },
            use={part: _measure_use([clips[i] for i in of_part]) for part, of_part in _group_by_part(clips).items()},
            information=measure_information(segments, config.seed) if segments else None,
        )
        write_json(document, report.document(), indent=None)
        text.write_text(report.format_markdown(), encoding="utf-8")
        for path in pictures:
            draw_slots(path, *tabulate_slots(segments), f"slots of {model.name} by phone")
    return report


def _collect_features(
    network: SyncTalkFace,
    corpus: Path,
    picks: list[Pick],
    recogniser: PhoneRecogniser | None,
    progress: ProgressCallback | None,
) -> tuple[list[ClipFeatures], list[PhoneSegment]]:
    """Collect the features of all clips, and with a recogniser the addresses of their phones."""
    clips: list[ClipFeatures] = []
    segments: list[PhoneSegment] = []
    for features, clip in _encode_clips(network, corpus, picks, progress):
        clips.append(features)
        if recogniser is not None:
            phones = find_phones(recogniser, clip.wav, clip.facts.get("words"))
            segments += cut_phones(phones, features.key_address, network.mel.timing.fps)
    if recogniser is not None and not segments:
        raise DataError(f"{corpus}: expected speech, found no phones in {len(clips)} clips; name other clips")
    return clips, segments


def _encode_clips(
    network: SyncTalkFace, corpus: Path, picks: list[Pick], progress: ProgressCallback | None
) -> Iterator[tuple[ClipFeatures, LoadedClip]]:
    for count, (pick, clip) in enumerate(load_clips(corpus, picks, network.mel), start=1):
        yield encode_clip(network, pick, clip), clip
        if progress is not None:
            progress(count, len(picks))


def _group_by_part(clips: list[ClipFeatures]) -> dict[str, list[int]]:
    """Group the indices of clips by part, with a group of all where there are several parts."""
    parts: dict[str, list[int]] = {}
    for index, one in enumerate(clips):
        parts.setdefault(one.pick.part, []).append(index)
    return parts if len(parts) < 2 else parts | {ALL: list(range(len(clips)))}


def _measure_use(clips: list[ClipFeatures]) -> SlotUse:
    key, value = (np.concatenate(part) for part in zip(*((c.key_address, c.value_address) for c in clips), strict=True))
    return SlotUse(
        same=float((key.argmax(axis=1) == value.argmax(axis=1)).mean()),
        at_once=float(perplexity(key).mean()),
        in_all=float(perplexity(key.mean(axis=0))),
        in_all_by_lips=float(perplexity(value.mean(axis=0))),
    )
