"""Pairs of a face and its driving sound: a seeded list, written to disk so that any system can run on the same."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cals.data.manifest import ClipSource, check_keys
from cals.data.shards import convert_write_errors
from cals.data.sources import grid
from cals.errors import ConfigError, DataError, MediaError
from cals.evaluation.clips import ClipsConfig, select_names
from cals.evaluation.drives import RATE_HZ, write_wav
from cals.files import replace_atomically
from cals.media.audio import load_mono
from cals.media.output import check_output_path
from cals.types import ProgressCallback

logger = logging.getLogger(__name__)

Kind = Literal["self", "cross", "rolled"]
"""Driving sound of a face: its own, another clip's, or its own rolled by half."""
PAIRS, SOUNDS = "pairs.json", "sounds"
ALL = "all"
"""The part that a corpus without splits is."""


@dataclass(frozen=True, kw_only=True)
class PairsConfig(ClipsConfig):
    """Sampling of the list."""

    parts: tuple[str, ...] = ("val_seen", "val_unseen")
    """Of the splits; without splits all clips are one part."""
    clips: int | None = None
    """Maximum number a part, sampled at random; a smaller sample is part of a larger one. None for all."""
    seconds: float = 10.0
    """Maximum length: of longer clips and sounds only the start is used."""
    seed: int = 0
    rolled: bool = False
    """Whether each clip is driven once by its own sound, rolled by half, not twice by its own and by another's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.seconds >= 2:
            raise ConfigError(f"seconds: expected 2 or more, found {self.seconds}; 10 is the default")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A face and the sound that drives it."""

    id: str
    """Name of its sound file, and of a system's output for it."""
    part: str
    kind: Kind
    face: str
    """Name of the clip that shows it."""
    heard: str
    """Name of the clip that the sound is of."""
    video: str
    """Video file of the face, relative to the corpus."""

    @property
    def sound(self) -> str:
        """Sound file, relative to the list."""
        return f"{SOUNDS}/{self.id}.wav"

    @property
    def names(self) -> tuple[str, ...]:
        """Names that a system's output for it may have."""
        return (self.id, self.face) if self.kind == "rolled" else (self.id,)


@dataclass(frozen=True, kw_only=True)
class PairList:
    """Pairs in the order of their parts, and their origin."""

    corpus: str
    seconds: float
    seed: int
    pairs: tuple[Pair, ...]

    @property
    def has_rolled_sounds(self) -> bool:
        """Whether its sounds are the clips' own, rolled."""
        return any(pair.kind == "rolled" for pair in self.pairs)

    def to_json(self) -> str:
        """Format the list as JSON."""
        facts = {"format": 1, "corpus": self.corpus, "seconds": self.seconds, "seed": self.seed}
        pairs = [asdict(pair) | {"sound": pair.sound} for pair in self.pairs]
        return json.dumps(facts | {"pairs": pairs}, indent=1) + "\n"

    def select_first(self, count: int) -> list[Pair]:
        """Return the first `count` pairs of each part and kind."""
        counts: dict[tuple[str, str], int] = {}
        pairs = []
        for pair in self.pairs:
            counts[pair.part, pair.kind] = number = counts.get((pair.part, pair.kind), 0) + 1
            pairs += [pair] if number <= count else []
        return pairs


def draw_pairs(corpus: Path, splits: Path | None, config: PairsConfig) -> PairList:
    """Pair each sampled clip with its own sound, and with another speaker's if the part has one, else another clip's.

    Raises DataError when the splits name no clips of the corpus.
    """
    clips = find_clips(corpus)
    pairs: list[Pair] = []
    for part in config.parts if splits is not None else (ALL,):
        names = select_names(clips, corpus, splits, part)
        sampled = sorted(_shuffle(names, config.seed, part)[: config.clips])
        if config.rolled:
            pairs += [_build_pair(part, "rolled", clips[name], clips[name], corpus) for name in sampled]
            continue
        partners = {
            name: _choose_partner(clips[name], [clips[n] for n in names], config.seed, part) for name in sampled
        }
        pairs += [_build_pair(part, "self", clips[name], clips[name], corpus) for name in sampled]
        pairs += [
            _build_pair(part, "cross", clips[n], other, corpus) for n, other in partners.items() if other is not None
        ]
    return PairList(corpus=str(corpus), seconds=float(config.seconds), seed=config.seed, pairs=tuple(pairs))


def read_pairs(path: Path, corpus: Path) -> PairList:
    """Read a list of pairs for the same videos; DataError for any other file or other videos."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        fields = [{name: str(line[name]) for name in Pair.__dataclass_fields__} for line in document["pairs"]]
        seconds, seed = float(document["seconds"]), int(document["seed"])
        kinds = {line["kind"] for line in fields}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: expected a list of pairs as `cals evaluate` writes it, found {error!r}") from error
    is_mixed = not (kinds <= {"self", "cross"} or kinds == {"rolled"})
    if not fields or is_mixed or len({line["id"] for line in fields}) < len(fields):
        raise DataError(
            f"{path}: expected pairs of the kinds self and cross, or all rolled, with an id each, found others"
        )
    invalid = [line["id"] for line in fields if Path(line["id"]).name != line["id"] or not line["id"]]
    if invalid:  # ids become file names
        raise DataError(f"{path}: expected ids without slashes, found {invalid[0]!r}; rename that pair")
    clips = find_clips(corpus)
    unknown = sorted({line[of] for line in fields for of in ("face", "heard")} - clips.keys())
    if unknown:
        raise DataError(
            f"{corpus}: expected the clips that {path} names, found none of {', '.join(unknown[:3])}; name the corpus "
            "that the list was made of"
        )
    pairs = tuple(Pair(**line) for line in fields)  # type: ignore[arg-type]  # the kind is checked above
    return PairList(corpus=str(corpus), seconds=seconds, seed=seed, pairs=pairs)


def find_clips(corpus: Path) -> dict[str, ClipSource]:
    """List clips by name, of GRID's layout or any folder of talking videos, with the words of files beside them."""
    clips = grid.list_clips(corpus)
    check_keys(clips)
    return {clip.name: clip for clip in clips}


def write_pairs(
    pairs: PairList, corpus: Path, out: Path, *, force: bool = False, progress: ProgressCallback | None = None
) -> dict[str, str]:
    """Write the list and every pair's sound to `out`; returns the pairs whose sound cannot be read, and why.

    Files that exist are kept; DataError when they are of another list, unless `force`.
    """
    clips = find_clips(corpus)
    unreadable: dict[str, str] = {}
    write_list(pairs, out, force=force)
    with convert_write_errors(out):
        for index, pair in enumerate(pairs.pairs):
            if progress is not None:
                progress(index, len(pairs.pairs))
            if (out / pair.sound).is_file() and not force:
                continue
            try:
                wav = load_mono(clips[pair.heard].video, RATE_HZ)
            except MediaError as error:
                logger.warning("%s: left out: %s", pair.id, error)
                unreadable[pair.id] = str(error)
                continue
            with replace_atomically(out / pair.sound) as partial:
                write_wav(partial, wav[: round(pairs.seconds * RATE_HZ)])
    if progress is not None:
        progress(len(pairs.pairs), len(pairs.pairs))
    return unreadable


def write_list(pairs: PairList, out: Path, *, force: bool = False) -> None:
    """Write the list, and create the folder of its sounds; DataError when another list exists, unless `force`."""
    path = out / PAIRS
    if path.is_file() and not force and not _is_same(path, pairs):
        raise DataError(
            f"{path}: expected no list or the same one, found another; give that one as --pairs, name another --out, "
            "or use --force"
        )
    with convert_write_errors(out):
        (out / SOUNDS).mkdir(parents=True, exist_ok=True)
        check_output_path(path, force=True, reserved=())
        with replace_atomically(path) as partial:
            partial.write_text(pairs.to_json(), encoding="utf-8")


def _is_same(path: Path, pairs: PairList) -> bool:
    """Return whether the file has the same list, whatever the path of the corpus."""
    try:
        return bool(
            json.loads(path.read_text(encoding="utf-8")) | {"corpus": pairs.corpus} == json.loads(pairs.to_json())
        )
    except (ValueError, TypeError):
        return False


def _build_pair(part: str, kind: Kind, face: ClipSource, heard: ClipSource, corpus: Path) -> Pair:
    names = {"self": f"self-{face.key}", "cross": f"cross-{face.key}-by-{heard.key}", "rolled": face.key}
    video = face.video.relative_to(corpus).as_posix()
    return Pair(id=names[kind], part=part, kind=kind, face=face.name, heard=heard.name, video=video)


def _choose_partner(face: ClipSource, others: Sequence[ClipSource], seed: int, part: str) -> ClipSource | None:
    """Choose the clip whose sound cross-drives the face, the same one for any number of sampled clips."""
    other_speakers = [clip for clip in others if clip.speaker != face.speaker]
    candidates = {clip.name: clip for clip in other_speakers or others if clip.name != face.name}
    return candidates[_shuffle(list(candidates), seed, part, face.name)[0]] if candidates else None


def _shuffle(names: Sequence[str], *seed: int | str) -> list[str]:
    """Shuffle names by a hash: the same order everywhere, which stays when names are added."""
    return sorted(names, key=lambda name: hashlib.sha256(repr((*seed, name)).encode()).digest())
