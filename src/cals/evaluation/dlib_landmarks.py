"""dlib's 68-point predictor, for those who have its file: LMD as the papers measure it."""

from pathlib import Path

import cv2
import numpy as np

from cals.errors import CheckpointError, ConfigError
from cals.evaluation.drives import F64
from cals.face.align import CROP_SIZE_PX
from cals.types import U8

BOX_PX = (12, 8, 109, 104)
"""Left, top, right, bottom of the face in a crop: where dlib's own detector finds it in crops of GRID (57 frames of all
speakers, each found; standard deviation 2 to 7 px). One box for all treats real and generated crops alike."""
_SCALE = 4
"""Scale of the crop for dlib, which rounds to whole pixels: a larger picture gives finer points."""
_POINTS, _MOUTH = 68, range(48, 68)


class DlibPredictor:
    """Predictor of the 20 mouth points of the 68-point scheme in aligned crops.

    The file `shape_predictor_68_face_landmarks.dat` is the user's: its training data may not be used commercially, so
    nothing here ships or fetches it. Raises ConfigError without the package, CheckpointError for another file.
    """

    def __init__(self, path: Path) -> None:
        try:
            import dlib
        except ImportError as error:
            raise ConfigError("dlib: expected the package dlib, found none; pip install dlib-bin (or dlib)") from error
        self._rectangle = dlib.rectangle(*(_SCALE * edge for edge in BOX_PX))
        try:
            self._predict = dlib.shape_predictor(str(path))
        except RuntimeError as error:
            raise CheckpointError(
                f"{path}: expected dlib's 68-point shape predictor, found something else ({error}); name that file"
            ) from error
        points = self._predict(np.zeros((64, 64, 3), np.uint8), dlib.rectangle(0, 0, 63, 63)).num_parts
        if points != _POINTS:
            raise CheckpointError(
                f"{path}: expected a predictor of {_POINTS} points, found {points}; name another file"
            )

    def predict_mouths(self, crops: U8) -> F64:
        """Predict points 48..67 of crops [t 128 128 3] -> [t 20 2], in pixels of the crop."""
        size = (_SCALE * CROP_SIZE_PX,) * 2
        points = np.zeros((len(crops), len(_MOUTH), 2))
        for t, crop in enumerate(crops):
            shape = self._predict(cv2.resize(crop, size, interpolation=cv2.INTER_CUBIC), self._rectangle)
            points[t] = [(shape.part(i).x, shape.part(i).y) for i in _MOUTH]
        # Keep pixel centres in place: an edge lies half a pixel beyond them.
        return (points + 0.5) / _SCALE - 0.5
