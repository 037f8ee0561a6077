"""The mesh decoder: units to the motion of the lower face."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cals.errors import ConfigError
from cals.models.geometry import measure_lip_gap
from cals.models.mesh import FaceMesh


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Sizes of the mesh decoder; all of it is ours."""

    unit: int = 512
    components: int = 16
    """Number of motion components of the lower face; 16 explain 99.9 % of the motion on GRID."""
    hidden: int = 512
    triangles: int = 0
    """Number of triangles of the mesh; known once it is fitted to a corpus."""

    def __post_init__(self) -> None:
        if min(self.unit, self.components, self.hidden) < 1:
            raise ConfigError(f"mesh: expected positive sizes, found {self}")


class MeshDecoder(nn.Module):
    """The mesh, and a small network that predicts its motion from units.

    The motion is that of an average speaker. `opening_px` [] is the standard deviation of that speaker's mouth opening
    in a crop of 128 px.
    """

    opening_px: Tensor

    def __init__(self, config: MeshConfig) -> None:
        super().__init__()
        self.config = config
        self.mesh = FaceMesh(config.components, config.triangles)
        self.register_buffer("opening_px", torch.ones(()))
        self.head = nn.Sequential(
            nn.Linear(config.unit, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.components),
        )

    def predict_motion(self, units: Tensor) -> Tensor:
        """Predict coefficients [... k] of the average speaker's lower face from units [... d]."""
        out: Tensor = self.head(units)
        return out


def build_lip_readout(mesh: FaceMesh) -> Tensor:
    """Build the matrix [k 2] that maps coefficients to mouth opening and width in pixels."""
    width = mesh.basis[:, 291, 0] - mesh.basis[:, 61, 0]
    return torch.stack([measure_lip_gap(mesh.basis), width], dim=1)
