"""The mesh measured in a rendered face: rendering is correct if it matches the landmarks it was made for."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.face.detector import MESH_SIZE_PX, FaceDetector
from cals.face.mesh_fit import region_of_landmarks
from cals.face.picture import ArrayPicture
from cals.face.sampling import sample
from cals.types import F32, CropTransform, Patch, Picture, invert_affine


def read_back(
    detector: FaceDetector,
    picture: Picture,
    landmarks: NDArray[Any],
    transform: CropTransform,
    draw: Callable[[Picture, CropTransform], Patch],
) -> F32:
    """Measure the landmarks [468 3], in crop pixels, of the face in `picture` after `draw` has changed it.

    `landmarks` [468 2+] are those of the unchanged face, in pixels of the picture. Both steps run at the resolution of
    the mesh, whatever that of the picture: some milliseconds a face.
    """
    region = region_of_landmarks(landmarks)
    resampled = ArrayPicture(sample(picture, region, MESH_SIZE_PX, MESH_SIZE_PX, sharp=False))
    local_transform = CropTransform(transform.matrix @ np.vstack([invert_affine(region), (0, 0, 1)]), transform.size_px)
    points, _ = detector.predict_mesh(resampled.apply_patch(draw(resampled, local_transform)))
    return local_transform.map_landmarks(points)
