"""Units to the motion of the lower face, and to the motion of one person's."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cals.errors import ConfigError
from cals.models.mesh import FaceMesh, lip_gap


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Sizes of the mesh decoder; all of it is ours."""

    unit: int = 512
    components: int = 16
    """Motions of the lower face; 16 hold 99.9 % of it on GRID."""
    hidden: int = 512
    triangles: int = 0
    """How many the measured mesh has; known once a corpus is measured."""

    def __post_init__(self) -> None:
        if min(self.unit, self.components, self.hidden) < 1:
            raise ConfigError(f"mesh: expected positive sizes, found {self}")


class MeshDecoder(nn.Module):
    """The mesh, and a small network that reads its motion from units.

    `opening_px` [] is the standard deviation of the average speaker's mouth opening in a crop of 128: the motion that
    the network says is that speaker's.
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

    def motion(self, units: Tensor) -> Tensor:
        """Units [... d] to coefficients [... k] of the average speaker's lower face."""
        out: Tensor = self.head(units)
        return out


def lip_readout(mesh: FaceMesh) -> Tensor:
    """Opening and width in pixels as linear functions of the coefficients, [k 2]."""
    width = mesh.basis[:, 291, 0] - mesh.basis[:, 61, 0]
    return torch.stack([lip_gap(mesh.basis), width], dim=1)
