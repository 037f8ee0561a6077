"""What the mesh finds in a face once it is drawn: a drawing is right when it reads as what was meant."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.face.detector import MESH_SIZE_PX, FaceDetector
from cals.face.mesh_fit import region_of_landmarks
from cals.face.picture import ArrayPicture
from cals.face.sampling import sample
from cals.types import F32, CropTransform, Patch, Picture, affine_inverse


def read_back(
    detector: FaceDetector,
    picture: Picture,
    landmarks: NDArray[Any],
    transform: CropTransform,
    draw: Callable[[Picture, CropTransform], Patch],
) -> F32:
    """Landmarks [468 3] in crop pixels of the face in `picture` after `draw` has changed it.

    `landmarks` [468 2+] are those of the face as it is, in the picture's pixels. Drawn and read at the resolution of
    the mesh, whatever the picture's: some milliseconds a face.
    """
    region = region_of_landmarks(landmarks)
    small = ArrayPicture(sample(picture, region, MESH_SIZE_PX, MESH_SIZE_PX, sharp=False))
    there = CropTransform(transform.matrix @ np.vstack([affine_inverse(region), (0, 0, 1)]), transform.size_px)
    points, _ = detector.mesh(small.patched(draw(small, there)))
    return there.landmarks(points)
