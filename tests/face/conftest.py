"""Models and a face to test on."""

import numpy as np
import pytest
from skimage.data import astronaut

from cals import hub
from cals.errors import CheckpointError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.types import U8


@pytest.fixture(scope="session")
def models() -> FaceModels:
    try:
        return FaceModels(*hub.read_face_models())
    except CheckpointError as error:
        pytest.skip(f"face models are not in the cache and cannot be fetched: {error}")


@pytest.fixture(scope="session")
def detector(models: FaceModels) -> BlazeFaceMesh:
    return BlazeFaceMesh(models)


@pytest.fixture(scope="session")
def portrait() -> U8:
    return np.asarray(astronaut())
