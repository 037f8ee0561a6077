"""Results of one clip."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.types import F32


@dataclass(frozen=True, kw_only=True)
class FrameScores:
    """Reliability scores of one stream, frame by frame."""

    scores: list[float]
    """[t], mean over channels."""
    bursts: list[tuple[int, int]]
    """First frame and frame after the last one of each corrupted segment."""

    def arrays(self) -> tuple[F32, NDArray[np.bool_]]:
        """Return scores [t] and the mask [t] of the corrupted frames."""
        corrupted = np.zeros(len(self.scores), bool)
        for start, end in self.bursts:
            corrupted[start:end] = True
        return np.array(self.scores, dtype=np.float32), corrupted


@dataclass(frozen=True, kw_only=True)
class ClipRecord:
    """One clip under all conditions, read by all systems."""

    part: str
    clip: str
    said: str
    """Reference text, normalised as the readings are."""
    readings: dict[str, dict[str, list[str]]]
    """Condition -> system -> text by every seed of the corruption and, for each of these, by every network."""
    scores: dict[str, dict[str, dict[str, list[FrameScores]]]]
    """Condition -> system -> stream, of the streams that are corrupted, in the order of the readings."""

    def document(self) -> dict[str, Any]:
        """Return a JSON document."""
        return asdict(self)

    @staticmethod
    def read(document: dict[str, Any]) -> "ClipRecord":
        """Parse a document of `document`."""
        scores = {
            condition: {
                system: {
                    stream: [
                        FrameScores(scores=one["scores"], bursts=[(start, end) for start, end in one["bursts"]])
                        for one in found
                    ]
                    for stream, found in streams.items()
                }
                for system, streams in systems.items()
            }
            for condition, systems in document["scores"].items()
        }
        return ClipRecord(**(document | {"scores": scores}))
