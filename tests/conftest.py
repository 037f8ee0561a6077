"""The drawn person's mesh, and a decoder with it, for tests of all rooms."""

import pytest

from cals.models.mesh import FaceMesh
from cals.models.motion import MeshDecoder
from drawn_person import build_mesh, mesh_lips


@pytest.fixture(scope="module")
def mesh() -> FaceMesh:
    return build_mesh()


@pytest.fixture(scope="module")
def decoder(mesh: FaceMesh) -> MeshDecoder:
    return mesh_lips(mesh).decoder
