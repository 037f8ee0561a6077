"""Report of a job, frame by frame and in one line."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cals.errors import MediaError
from cals.files import describe_os_error, replace_atomically
from cals.inference.stream import GENERATED, FaceStatus, LipFrame
from cals.media.output import build_conflict_error, check_output_path

_MIN_SPEECH_SHARE = 0.01
"""Share of the driving sound below which speech counts as none: a cough or a click that was taken for a word."""


@dataclass
class GenerateReport:
    """Report of one job; `per_frame` is filled only when a report file was requested."""

    model: str
    face: Path
    audio: Path | None
    """The sound; None for a dub, which has one for each of `segments`."""
    out: Path
    frames: int = 0
    seconds: float = 0.0
    """Length of the output."""
    wall_s: float = 0.0
    """Duration of the job."""
    counts: Counter[str] = field(default_factory=Counter)
    """Number of frames by status: generated, or the reason why they passed through."""
    segments: list[dict[str, Any]] = field(default_factory=list)
    """Segments of a dub: place, person, voice and how it was fitted."""
    people: list[str | int] = field(default_factory=list)
    """The persons of a dub, in the order of `people` in `per_frame`."""
    speakers: list[str] = field(default_factory=list)
    """How each speaker was found, a line each, where that was asked for."""
    signed: bool = False
    """Whether the output has a signed manifest of its making."""
    unsigned: str = ""
    """Why it has none, where it was to have one."""
    per_frame: list[dict[str, Any]] | None = None
    voice_s: float = math.inf
    """Seconds of sound that drive mouths."""
    speech_s: float = 0.0
    """Seconds of speech found in the sound, as far as the output goes."""

    @property
    def generated(self) -> int:
        return self.counts[GENERATED]

    @property
    def passed_through(self) -> dict[str, int]:
        """Reason -> frames that kept their pixels."""
        return {reason: count for reason, count in self.counts.items() if reason != GENERATED}

    @property
    def reasons(self) -> str:
        """Counts of frames that passed through, by reason, as text."""
        return ", ".join(f"{count} {reason}" for reason, count in sorted(self.passed_through.items()))

    @property
    def has_speech(self) -> bool:
        """Whether there is enough speech in the sound to say something."""
        return self.speech_s >= _MIN_SPEECH_SHARE * min(self.seconds, self.voice_s)

    @property
    def times_real_time(self) -> float:
        return self.seconds / self.wall_s if self.wall_s > 0 else 0.0

    def count(self, lip_frame: LipFrame) -> None:
        """Add one output frame to the counts."""
        self.frames += 1
        self.counts[lip_frame.status] += 1
        self.seconds = float(lip_frame.frame.time_s + lip_frame.frame.duration_s)
        if self.per_frame is not None:
            people = [_describe(person) for person in lip_frame.people]
            self.per_frame.append(
                {"index": lip_frame.frame.index, "time_s": float(lip_frame.frame.time_s)}
                | (people[0] if len(people) == 1 else {"status": lip_frame.status, "people": people})
            )

    def line(self) -> str:
        """Return the closing line of a job."""
        passed_count = sum(self.passed_through.values())
        reasons = f" ({self.reasons})" if passed_count else ""
        return (
            f"{self.generated} frames generated, {passed_count} passed through{reasons}, "
            f"{self.seconds:.2f} s in {self.wall_s:.1f} s, {self.times_real_time:.2f} times real time"
            + (f"; not signed: {self.unsigned}" if self.unsigned else "")
        )

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        document = {
            "model": self.model,
            "face": str(self.face),
            "audio": None if self.audio is None else str(self.audio),
            "out": str(self.out),
            "frames": self.frames,
            "generated": self.generated,
            "passed_through": self.passed_through,
            "seconds": round(self.seconds, 6),
            "speech_s": round(self.speech_s, 3),
            "wall_s": round(self.wall_s, 3),
            "times_real_time": round(self.times_real_time, 3),
            "people": self.people,
            "segments": self.segments,
            "speakers": self.speakers,
            "signed": self.signed,
            "per_frame": self.per_frame,
        }
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _describe(person: FaceStatus) -> dict[str, Any]:
    return {
        "status": person.status,
        "strength": round(person.strength, 4),
        "track": person.face.track if person.face.valid else None,
        "face_score": round(person.face.score, 4),
    }


@contextmanager
def create_file(path: Path, *, force: bool, reserved: Iterable[Path]) -> Iterator[Path]:
    """Create a partial file to write to, before any work, so that its location cannot fail later on.

    Raises MediaError where `check_output_path` does, or when the file cannot be made.
    """
    check_output_path(path, force=force, reserved=reserved)
    try:
        with replace_atomically(path, replace=force) as partial:
            yield partial
    except FileExistsError as error:
        raise build_conflict_error(path) from error
    except OSError as error:
        raise MediaError(
            f"{path}: expected a place to write to, found {describe_os_error(error)}; choose another name"
        ) from error
