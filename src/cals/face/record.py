"""Conversion of tracked faces to JSON-serialisable values, and back."""

from fractions import Fraction
from typing import Any

import numpy as np

from cals.errors import DataError
from cals.types import Box, TrackedFace

_DECIMALS = 2


def face_to_record(face: TrackedFace) -> dict[str, Any]:
    """Convert a face for `json.dumps`; landmarks are rounded to 0.01 pixel, absent ones are null."""
    time_s = Fraction(face.time_s)
    return {
        "index": face.index,
        "time_s": float(time_s),
        "time": f"{time_s.numerator}/{time_s.denominator}",
        "valid": face.valid,
        "track": face.track,
        "cut": face.cut,
        "score": round(float(face.score), 4),
        "hindrance": face.skip_reason,
        "box": None if face.box is None else list(face.box),
        "landmarks": np.round(face.landmarks.astype(np.float64), _DECIMALS).tolist() if face.valid else None,
    }


def face_from_record(record: dict[str, Any]) -> TrackedFace:
    """Rebuild the face from a `face_to_record`; raises DataError if something is missing or malformed."""
    try:
        points = record["landmarks"]
        return TrackedFace(
            index=int(record["index"]),
            time_s=Fraction(record["time"]),
            valid=bool(record["valid"]),
            track=int(record["track"]),
            cut=bool(record["cut"]),
            score=float(record["score"]),
            box=None if record["box"] is None else Box(*(int(v) for v in record["box"])),
            skip_reason=record.get("hindrance"),  # absent in older files
            landmarks=np.array(points if points is not None else [], dtype=np.float32).reshape(-1, 3),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise DataError(f"face record: expected what `cals track` writes, found {error!r}") from error
