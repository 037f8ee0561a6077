"""A folder of settings apart from the user's, and the drawn person's mesh with a decoder, for tests of all rooms."""

from collections.abc import Iterator

import pytest

from cals.models.mesh import FaceMesh
from cals.models.motion import MeshDecoder
from drawn_person import build_mesh, mesh_lips


@pytest.fixture(scope="session", autouse=True)
def config_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the signing key of the tests, and of the processes they start, apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CALS_CONFIG", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="module")
def mesh() -> FaceMesh:
    return build_mesh()


@pytest.fixture(scope="module")
def decoder(mesh: FaceMesh) -> MeshDecoder:
    return mesh_lips(mesh, appearance=3).decoder
