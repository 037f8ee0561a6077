"""What a job did, frame by frame and in one line."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cals.errors import MediaError
from cals.files import replacing, why

GENERATED, NO_FACE = "generated", "no face"


@dataclass
class GenerateReport:
    """Facts of one job; `per_frame` is filled only when it was asked for."""

    model: str
    face: str
    audio: str
    out: str | None = None
    frames: int = 0
    seconds: float = 0.0
    """Length of the output."""
    wall_s: float = 0.0
    """Time the job took."""
    counts: Counter[str] = field(default_factory=Counter)
    """Frames by what happened to them: generated, or the reason they passed through."""
    per_frame: list[dict[str, Any]] | None = None

    @property
    def generated(self) -> int:
        return self.counts[GENERATED]

    @property
    def passed_through(self) -> dict[str, int]:
        """Reason -> frames that kept their pixels."""
        return {reason: count for reason, count in self.counts.items() if reason != GENERATED}

    @property
    def times_real_time(self) -> float:
        return self.seconds / self.wall_s if self.wall_s > 0 else 0.0

    def line(self) -> str:
        """The closing line of a job."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.passed_through.items()))
        passed = sum(self.passed_through.values())
        return (
            f"{self.generated} frames generated, {passed} passed through{f' ({reasons})' if reasons else ''}, "
            f"{self.seconds:.2f} s in {self.wall_s:.1f} s, {self.times_real_time:.2f} times real time"
        )

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all; raises MediaError when the folder cannot be written."""
        document = {
            "model": self.model,
            "face": self.face,
            "audio": self.audio,
            "out": self.out,
            "frames": self.frames,
            "generated": self.generated,
            "passed_through": self.passed_through,
            "seconds": round(self.seconds, 6),
            "wall_s": round(self.wall_s, 3),
            "times_real_time": round(self.times_real_time, 3),
            "per_frame": self.per_frame,
        }
        try:
            with replacing(path) as partial:
                partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise MediaError(f"{path}: expected to write the report, found {why(error)}") from error


def check_new(path: Path, *, force: bool) -> None:
    """Refuse, before any work, an output that exists (without `force`) or whose folder does not."""
    if path.exists() and not force:
        raise MediaError(f"{path}: expected a new file, found one there; add --force to replace it")
    if not path.parent.is_dir():
        raise MediaError(f"{path}: expected a folder to write to, found no {path.parent}; create it first")
