"""Shared code of the studies: selection of clips, resumption of interrupted work, and the writing of results."""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar, get_args

import cals
from cals import hub
from cals.data.store import ClipStore, LoadedClip, load_split_names
from cals.errors import ConfigError, DataError
from cals.evaluation.clips import ClipsConfig, sample_evenly
from cals.evaluation.journal import Journal
from cals.evaluation.results import open_results, write_json
from cals.evaluation.studies.curves import ClipRecord
from cals.evaluation.studies.mouth_readers import Measure, MeshReader, MouthReader, PictureReader, StudyClip
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.features.mel import MelConfig
from cals.inference.lipsync import LipSync
from cals.report.tables import format_settings
from cals.types import ProgressCallback

logger = logging.getLogger(__name__)
Record = TypeVar("Record", bound=ClipRecord)

ALL = "all"
"""Name of the part that all clips form in a corpus without splits."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig(ClipsConfig):
    """Selection of clips and moments, and how they are measured."""

    parts: tuple[str, ...] = ("val_seen", "val_unseen")
    """Parts of the splits; without splits all clips are used."""
    every: int = 5
    """Frames between measured moments."""
    measure: Measure = "picture"
    seed: int = 0
    """Seed of the bootstrap."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed < 0:
            raise ConfigError(f"seed: expected 0 or more, found {self.seed}")
        if self.every < 1:
            raise ConfigError(f"every: expected 1 frame or more, found {self.every}; 5 is the default")
        if self.measure not in get_args(Measure):
            raise ConfigError(
                f"measure: expected one of {', '.join(get_args(Measure))}, found {self.measure!r}; use picture"
            )


@dataclass(frozen=True)
class Pick:
    """One selected clip of a prepared corpus."""

    part: str
    key: str
    clip: str
    speaker: str
    shard: str


def select_clips(corpus: Path, splits: Path | None, config: ClipsConfig) -> list[Pick]:
    """Select the clips of each part, in the order of the shards; DataError where a part has none."""
    manifest = corpus / "manifest.jsonl"
    if not manifest.is_file():
        raise DataError(f"{corpus}: expected a prepared folder with manifest.jsonl, found none; run `cals prepare`")
    lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    picks = []
    for part in config.parts if splits is not None else (ALL,):
        names = None if splits is None else load_split_names(splits, part)
        of_part = [line for line in lines if names is None or line["clip"] in names]
        if names is not None:
            warn_of_missing_clips(corpus, part, names, {line["clip"] for line in of_part})
        if not of_part:
            raise DataError(f"{corpus}: expected clips of the part {part!r}, found none of {len(lines)}; name another")
        for line in sample_evenly(of_part, config.clips):
            picks.append(Pick(part, line["key"], line["clip"], str(line["speaker"]), line["shard"]))
    return sorted(picks, key=lambda pick: pick.shard)


def warn_of_missing_clips(corpus: Path, part: str, names: AbstractSet[str], found: AbstractSet[str]) -> None:
    """Log a warning where the splits name clips of a part that the corpus lacks."""
    missing = sorted(names - found)
    if missing:
        logger.warning(
            "%s: %d of the %d clips of %s are not there, %s first", corpus, len(missing), len(names), part, missing[0]
        )


def load_clips(corpus: Path, picks: list[Pick], mel: MelConfig) -> Iterator[tuple[Pick, LoadedClip]]:
    """Load the clips one by one; only one shard of them is in memory at a time."""
    for _, group in groupby(picks, lambda pick: pick.shard):
        of_shard = list(group)
        store = ClipStore(corpus, mel, {pick.clip for pick in of_shard})
        index_by_key = {store.key(index): index for index in range(len(store))}
        for pick in of_shard:
            yield pick, store[index_by_key[pick.key]]


def build_reader(measure: Measure, face_models: Path | None, batch: int) -> MouthReader:
    """Build the reader that finds the mouths."""
    if measure == "mesh":
        return MeshReader()
    return PictureReader(BlazeFaceMesh(FaceModels(*hub.read_face_models(face_models))), batch)


def describe_settings(lips: LipSync, corpus: Path, splits: Path | None, config: StudyConfig) -> dict[str, Any]:
    """Return the settings of a study, as JSON has them."""
    return {
        "model": f"{lips.model.name} ({lips.model.fingerprint})",
        "corpus": str(corpus),
        "splits": None if splits is None else str(splits),
        "parts": list(config.parts) if splits is not None else [ALL],
        "clips": config.clips,
        "every": config.every,
        "measure": config.measure,
        "seed": config.seed,
        "device": str(next(lips.model.network.parameters()).device),
        "cals": cals.__version__,
    }


def measure_clips(
    corpus: Path,
    picks: list[Pick],
    mel: MelConfig,
    journal: Journal[Record],
    of_clip: Callable[[Pick, StudyClip], Record],
    progress: ProgressCallback | None,
) -> list[Record]:
    """Measure every clip, in order; clips that the journal has already are not measured again.

    Raises DataError when no clip has a moment to measure.
    """
    missing = [pick for pick in picks if pick.key not in journal.records]
    for pick, clip in load_clips(corpus, missing, mel):
        if progress is not None:
            progress(len(journal.records), len(picks))
        record = of_clip(pick, StudyClip(clip))
        if not any(one.lmd for one in record.series.values()):
            logger.warning("%s: left out, with %d frames and %d without a face", pick.key, clip.frames, record.dropped)
        journal.add(pick.key, record)
    if progress is not None:
        progress(len(picks), len(picks))
    records = [journal.records[pick.key] for pick in picks]
    if not any(one.lmd for record in records for one in record.series.values()):
        raise DataError(
            f"{corpus}: expected clips that are long enough and show faces, found none in {len(records)}; name longer "
            "clips, or use --measure mesh where the faces are drawn ones"
        )
    return records


@dataclass(frozen=True, kw_only=True)
class StudyReport(ABC):
    """Results of a study and the settings and clips they come from."""

    settings: dict[str, Any]
    clips: Sequence[ClipRecord]

    @abstractmethod
    def describe_results(self) -> dict[str, Any]:
        """Return the results, as JSON has them."""

    @abstractmethod
    def format_summary(self) -> str:
        """Format the results as Markdown."""

    @abstractmethod
    def format_markdown(self) -> str:
        """Format the report as Markdown."""

    def document(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        clips = [record.document() for record in self.clips]
        return {"format": 1, "settings": self.settings, **self.describe_results(), "clips": clips}

    def format_page(self, title: str, below: str) -> str:
        """Format the report as Markdown; `below` has the pictures and explains the measures."""
        return (
            f"# {title}\n\n{format_settings(self.settings)}\n\n{self.format_summary()}\n\n{below} "
            "opening: correlation of mouth openings, pooled within clips; lmd: pixels of the 128 px crop. "
            "Intervals: 95 %, bootstrap over clips.\n"
        )


@contextmanager
def open_study(
    out: Path, name: str, record: type[Record], settings: dict[str, Any], pictures: Sequence[str], *, force: bool
) -> Iterator[tuple[list[Path], Journal[Record]]]:
    """Open the files `NAME.json`, `NAME.md` and `pictures` of a study, and the journal of its finished clips."""
    with open_results(out, (f"{name}.json", f"{name}.md", *pictures), force=force) as paths:
        journal = Journal(out / f".{name}.jsonl", settings, record.document, record.read, force=force)
        yield paths, journal
    journal.close()


def write_report(report: StudyReport, document: Path, text: Path) -> None:
    """Write a report as JSON and as Markdown."""
    write_json(document, report.document(), indent=None)
    text.write_text(report.format_markdown(), encoding="utf-8")


def group_by_part(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Group records by part, and all together where there are several parts; clips without values are left out."""
    scored = [record for record in records if any(one.lmd for one in record.series.values())]
    parts = {name: [r for r in scored if r.part == name] for name in dict.fromkeys(r.part for r in scored)}
    return parts if len(parts) < 2 else parts | {ALL: scored}


def format_counts(records: Sequence[ClipRecord]) -> str:
    """Format how many clips and moments were measured."""
    scored = [record for record in records if any(one.lmd for one in record.series.values())]
    left_out = [record.clip for record in records if record not in scored]
    return (
        f"{len(scored)} of {len(records)} clips judged, at {sum(len(r.moments) for r in scored)} moments; "
        f"{sum(r.dropped for r in records)} pictures dropped for want of a face"
        + (f"; left out: {', '.join(left_out)}" if left_out else "")
    )
