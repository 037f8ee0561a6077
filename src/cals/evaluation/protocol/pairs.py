"""Which faces are driven by which sounds: a seeded list, written down so that any system can be run on the same."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cals.data.manifest import ClipSource, check_keys
from cals.data.shards import writing
from cals.data.sources import grid
from cals.errors import ConfigError, DataError, MediaError
from cals.evaluation.clips import ClipsConfig, names_of
from cals.evaluation.drives import RATE_HZ, write_wav
from cals.files import replacing
from cals.media.audio import load_mono
from cals.media.target import check_place
from cals.types import ProgressCallback

logger = logging.getLogger(__name__)

Kind = Literal["self", "cross", "rolled"]
"""A face says its own sound, another's, or its own rolled by half."""
PAIRS, SOUNDS = "pairs.json", "sounds"
ALL = "all"
"""The part that a corpus without splits is."""


@dataclass(frozen=True, kw_only=True)
class PairsConfig(ClipsConfig):
    """How the list is drawn."""

    parts: tuple[str, ...] = ("val_seen", "val_unseen")
    """Of the splits; without splits all clips are one part."""
    clips: int | None = None
    """At most so many a part, drawn by lot; those of a smaller number are among those of a larger one. None for all."""
    seconds: float = 10.0
    """Of a longer clip, and of longer sound, only the first so many."""
    seed: int = 0
    rolled: bool = False
    """Every clip once, by its own sound rolled by half, in place of twice, by its own and by another's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.seconds >= 2:
            raise ConfigError(f"seconds: expected 2 or more, found {self.seconds}; 10 is the default")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A face, and the sound that it is to say."""

    id: str
    """The name of its sound file, and of a system's output for it."""
    part: str
    kind: Kind
    face: str
    """Name of the clip that shows it."""
    heard: str
    """Name of the clip that the sound is of."""
    video: str
    """File of the face, below the corpus."""

    @property
    def sound(self) -> str:
        """File of the sound, beside the list."""
        return f"{SOUNDS}/{self.id}.wav"

    @property
    def names(self) -> tuple[str, ...]:
        """What a system's output for it may be called."""
        return (self.id, self.face) if self.kind == "rolled" else (self.id,)


@dataclass(frozen=True, kw_only=True)
class PairList:
    """The pairs in the order of their parts, and where they come from."""

    corpus: str
    seconds: float
    seed: int
    pairs: tuple[Pair, ...]

    @property
    def rolled(self) -> bool:
        """Whether its sounds are the clips' own, rolled."""
        return any(pair.kind == "rolled" for pair in self.pairs)

    def text(self) -> str:
        """As it is written down."""
        facts = {"format": 1, "corpus": self.corpus, "seconds": self.seconds, "seed": self.seed}
        pairs = [asdict(pair) | {"sound": pair.sound} for pair in self.pairs]
        return json.dumps(facts | {"pairs": pairs}, indent=1) + "\n"

    def shown(self, count: int) -> list[Pair]:
        """The first `count` of each part and kind."""
        seen: dict[tuple[str, str], int] = {}
        found = []
        for pair in self.pairs:
            seen[pair.part, pair.kind] = number = seen.get((pair.part, pair.kind), 0) + 1
            found += [pair] if number <= count else []
        return found


def draw_pairs(corpus: Path, splits: Path | None, config: PairsConfig) -> PairList:
    """Every drawn clip by its own sound, and by another speaker's where the part has one, else by another clip's.

    Raises DataError when the splits name no clips of the corpus.
    """
    there = sources(corpus)
    pairs: list[Pair] = []
    for part in config.parts if splits is not None else (ALL,):
        names = names_of(there, corpus, splits, part)
        drawn = sorted(_by_lot(names, config.seed, part)[: config.clips])
        if config.rolled:
            pairs += [_pair(part, "rolled", there[name], there[name], corpus) for name in drawn]
            continue
        partners = {name: _partner(there[name], [there[n] for n in names], config.seed, part) for name in drawn}
        pairs += [_pair(part, "self", there[name], there[name], corpus) for name in drawn]
        pairs += [_pair(part, "cross", there[n], other, corpus) for n, other in partners.items() if other is not None]
    return PairList(corpus=str(corpus), seconds=float(config.seconds), seed=config.seed, pairs=tuple(pairs))


def read_pairs(path: Path, corpus: Path) -> PairList:
    """A list that was written down, for the same videos; DataError where it is none or names others."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        fields = [{name: str(line[name]) for name in Pair.__dataclass_fields__} for line in document["pairs"]]
        seconds, seed = float(document["seconds"]), int(document["seed"])
        kinds = {line["kind"] for line in fields}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: expected a list of pairs as `cals evaluate` writes it, found {error!r}") from error
    mixed = not (kinds <= {"self", "cross"} or kinds == {"rolled"})
    if not fields or mixed or len({line["id"] for line in fields}) < len(fields):
        raise DataError(
            f"{path}: expected pairs of the kinds self and cross, or all rolled, with an id each, found others"
        )
    unfit = [line["id"] for line in fields if Path(line["id"]).name != line["id"] or not line["id"]]
    if unfit:  # they become names of files
        raise DataError(f"{path}: expected ids without slashes, found {unfit[0]!r}; rename that pair")
    there = sources(corpus)
    strange = sorted({line[of] for line in fields for of in ("face", "heard")} - there.keys())
    if strange:
        raise DataError(
            f"{corpus}: expected the clips that {path} names, found none of {', '.join(strange[:3])}; name the corpus "
            "that the list was made of"
        )
    pairs = tuple(Pair(**line) for line in fields)  # type: ignore[arg-type]  # the kind is checked above
    return PairList(corpus=str(corpus), seconds=seconds, seed=seed, pairs=pairs)


def sources(corpus: Path) -> dict[str, ClipSource]:
    """Clips by name, of GRID's layout or any folder of talking videos; words where they are written beside them."""
    clips = grid.clips(corpus)
    check_keys(clips)
    return {clip.name: clip for clip in clips}


def write_pairs(
    pairs: PairList, corpus: Path, out: Path, *, force: bool = False, progress: ProgressCallback | None = None
) -> dict[str, str]:
    """Write the list and every pair's sound to `out`; returns the pairs whose sound cannot be had, and why.

    What is there already is kept; DataError when it is another list, unless `force`.
    """
    there = sources(corpus)
    without: dict[str, str] = {}
    write_list(pairs, out, force=force)
    with writing(out):
        for done, pair in enumerate(pairs.pairs):
            if progress is not None:
                progress(done, len(pairs.pairs))
            if (out / pair.sound).is_file() and not force:
                continue
            try:
                wav = load_mono(there[pair.heard].video, RATE_HZ)
            except MediaError as error:
                logger.warning("%s: left out: %s", pair.id, error)
                without[pair.id] = str(error)
                continue
            with replacing(out / pair.sound) as partial:
                write_wav(partial, wav[: round(pairs.seconds * RATE_HZ)])
    if progress is not None:
        progress(len(pairs.pairs), len(pairs.pairs))
    return without


def write_list(pairs: PairList, out: Path, *, force: bool = False) -> None:
    """Write the list, and make the folder of its sounds; DataError when another list is there, unless `force`."""
    place = out / PAIRS
    if place.is_file() and not force and not _is_same(place, pairs):
        raise DataError(
            f"{place}: expected no list or the same one, found another; give that one as --pairs, name another --out, "
            "or use --force"
        )
    with writing(out):
        (out / SOUNDS).mkdir(parents=True, exist_ok=True)
        check_place(place, force=True, apart_from=())
        with replacing(place) as partial:
            partial.write_text(pairs.text(), encoding="utf-8")


def _is_same(place: Path, pairs: PairList) -> bool:
    """Wherever the corpus lies."""
    try:
        return bool(
            json.loads(place.read_text(encoding="utf-8")) | {"corpus": pairs.corpus} == json.loads(pairs.text())
        )
    except (ValueError, TypeError):
        return False


def _pair(part: str, kind: Kind, face: ClipSource, heard: ClipSource, corpus: Path) -> Pair:
    names = {"self": f"self-{face.key}", "cross": f"cross-{face.key}-by-{heard.key}", "rolled": face.key}
    video = face.video.relative_to(corpus).as_posix()
    return Pair(id=names[kind], part=part, kind=kind, face=face.name, heard=heard.name, video=video)


def _partner(face: ClipSource, others: Sequence[ClipSource], seed: int, part: str) -> ClipSource | None:
    """Whose sound the face says across: the same one however many clips are drawn."""
    strangers = [clip for clip in others if clip.speaker != face.speaker]
    choice = {clip.name: clip for clip in strangers or others if clip.name != face.name}
    return choice[_by_lot(list(choice), seed, part, face.name)[0]] if choice else None


def _by_lot(names: Sequence[str], *seed: int | str) -> list[str]:
    """The names in an order that looks drawn, is the same everywhere, and keeps when names are added."""
    return sorted(names, key=lambda name: hashlib.sha256(repr((*seed, name)).encode()).digest())
