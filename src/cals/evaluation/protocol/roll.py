"""Rolled pairs: the sound of every clip, synchronised with its picture and rolled by half its length.

Any folder of talking faces will do: the rolled sound cross-drives the face without a second clip, and the real mouth
that belongs to each moment is known.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cals import hub
from cals.data.manifest import ClipSource
from cals.data.shards import convert_write_errors
from cals.errors import DataError, MediaError
from cals.evaluation.clip_offset import ClipOffset, choose_offset, read_offsets
from cals.evaluation.drives import RealClip, read_clip, roll_sound
from cals.evaluation.phones import BILABIALS, PhoneRecogniser, load_recogniser
from cals.evaluation.protocol.pair_scorer import read_stamp
from cals.evaluation.protocol.pairs import Pair, PairList, find_clips, write_list
from cals.face.detector import BlazeFaceMesh, FaceDetector, FaceModels
from cals.files import replace_atomically
from cals.inference.score import SyncScorer
from cals.inference.sync_encoders import SyncEncoders
from cals.metrics.closures import Interval
from cals.types import ProgressCallback

logger = logging.getLogger(__name__)

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class RollRecord:
    """Facts of a rolled sound, in a file beside it."""

    key: dict[str, Any]
    """Inputs and models that it was made with."""
    offset: ClipOffset
    bilabials: tuple[Interval, ...] | None
    """Times of /p b m/ in the rolled sound; None without a recogniser."""

    def save(self, path: Path) -> None:
        """Write JSON, whole or not at all."""
        with replace_atomically(path) as partial:
            partial.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def read(path: Path, key: dict[str, Any] | None = None) -> "RollRecord | None":
        """Read a file that `save` wrote; None where there is none, or none of this key."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            offset, phones = ClipOffset(**document["offset"]), document["bilabials"]
            bilabials = None if phones is None else tuple((float(start), float(end)) for start, end in phones)
        except (OSError, ValueError, KeyError, TypeError):  # for example the remains of a crash
            return None
        if key is not None and document["key"] != key:
            return None
        return RollRecord(key=document["key"], offset=offset, bilabials=bilabials)


def read_roll_record(out: Path, pair: Pair) -> RollRecord | None:
    """Read the facts of a pair's sound; None where there are none."""
    return RollRecord.read((out / pair.sound).with_suffix(".json"))


def load_offset_models(
    sync: Path | None, syncnet: Path | None, face_models: Path | None, device: str
) -> tuple[SyncEncoders, FaceDetector]:
    """Load the encoders and the detector that estimate offsets, where nothing is scored."""
    scorer = SyncScorer(sync=sync, syncnet=syncnet, face_models=face_models, device=device)
    return scorer.encoders, BlazeFaceMesh(FaceModels(*hub.read_face_models(face_models)))


def read_pair_offsets(path: Path | None, pairs: PairList) -> dict[str, float]:
    """Read the offsets that the user gives in a file; empty without one."""
    return {} if path is None else read_offsets(path, [pair.heard for pair in pairs.pairs])


def write_roll_pairs(
    pairs: PairList,
    corpus: Path,
    out: Path,
    encoders: SyncEncoders,
    detector: FaceDetector,
    told: Mapping[str, float],
    *,
    force: bool = False,
    progress: ProgressCallback | None = None,
) -> dict[str, str]:
    """Write the list and every rolled sound to `out`; returns the pairs whose sound cannot be read, and why.

    `told` are the offsets that are given; the others are estimated. A sound of the same inputs is kept; DataError
    where a sound of another offset exists, unless `force`.
    """
    clips, unreadable, recogniser = find_clips(corpus), {}, load_recogniser()
    write_list(pairs, out, force=force)
    for index, pair in enumerate(pairs.pairs):
        if progress is not None:
            progress(index, len(pairs.pairs))
        source, sound = clips[pair.heard], out / pair.sound
        key = {
            "format": _FORMAT,
            "video": read_stamp(source.video),
            "seconds": pairs.seconds,
            "encoders": encoders.name,
            "told": told.get(pair.heard),
            "recogniser": None if recogniser is None else recogniser.name,
        }
        if sound.is_file() and RollRecord.read(sound.with_suffix(".json"), key) is not None:
            continue
        try:
            clip, offset = _read_in_step(source, encoders, detector, pairs.seconds, told.get(pair.heard))
            if not force:
                _check_offset(sound, offset)
            bilabials = None if recogniser is None else find_bilabials(clip, recogniser)
            with convert_write_errors(out):
                with replace_atomically(sound) as partial:
                    roll_sound(clip, partial)
                RollRecord(key=key, offset=offset, bilabials=bilabials).save(sound.with_suffix(".json"))
        except MediaError as error:
            logger.warning("%s: left out: %s", pair.id, error)
            unreadable[pair.id] = str(error)
    if progress is not None:
        progress(len(pairs.pairs), len(pairs.pairs))
    return unreadable


def find_bilabials(clip: RealClip, recogniser: PhoneRecogniser) -> tuple[Interval, ...]:
    """Find the times of /p b m/ in the clip's rolled sound, without those that the roll cuts in two."""
    intervals = []
    for name, start_s, end_s in recogniser.find(clip.load_wav()):
        rolled_start_s = (start_s + clip.shift_s) % clip.end_s
        if name in BILABIALS and rolled_start_s + end_s - start_s <= clip.end_s:
            intervals.append((rolled_start_s, rolled_start_s + end_s - start_s))
    return tuple(sorted(intervals))


def _check_offset(sound: Path, offset: ClipOffset) -> None:
    """Raise DataError where a sound of another offset exists, on which other systems may have been run."""
    old = RollRecord.read(sound.with_suffix(".json"))
    if old is not None and sound.is_file() and old.offset.late_frames != offset.late_frames:
        raise DataError(
            f"{sound}: expected a sound delayed by {offset.late_frames:g} frames, found one by "
            f"{old.offset.late_frames:g}, on which other systems may have been run; give the --offsets and --sync it "
            "was made with, use --force to make it anew, or name another --out"
        )


def _read_in_step(
    source: ClipSource, encoders: SyncEncoders, detector: FaceDetector, seconds: float, told: float | None
) -> tuple[RealClip, ClipOffset]:
    clip = read_clip(source, detector, seconds)
    offset = choose_offset(clip, encoders, told)
    return replace(clip, video_delay_s=offset.delay_s), offset
