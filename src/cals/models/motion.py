"""The mesh decoder: units to the motion of the lower face, and to what the mouth looks like."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cals.errors import ConfigError
from cals.face.patches import PATCH_VALUES
from cals.models.geometry import measure_lip_gap
from cals.models.mesh import FaceMesh


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Sizes of the mesh decoder; all of it is ours."""

    unit: int = 512
    components: int = 16
    """Number of motion components of the lower face; 16 explain 99.9 % of the motion on GRID."""
    appearance: int = 0
    """Number of components of the mouth's appearance; with none sources are chosen by motion alone."""
    hidden: int = 512
    triangles: int = 0
    """Number of triangles of the mesh; known once it is fitted to a corpus."""

    def __post_init__(self) -> None:
        if min(self.unit, self.components, self.hidden) < 1 or self.appearance < 0:
            raise ConfigError(f"mesh: expected positive sizes, found {self}")


class MeshDecoder(nn.Module):
    """The mesh, and a small network that predicts its motion and the mouth's appearance from units.

    Both are those of an average speaker. `opening_px` [] is the standard deviation of that speaker's mouth opening
    in a crop of 128 px. `appearance_basis` [j p] projects patches of a mouth, see `models.appearance`.
    """

    opening_px: Tensor
    appearance_basis: Tensor

    def __init__(self, config: MeshConfig) -> None:
        super().__init__()
        self.config = config
        self.mesh = FaceMesh(config.components, config.triangles)
        self.register_buffer("opening_px", torch.ones(()))
        # older checkpoints have none
        basis = torch.zeros(config.appearance, PATCH_VALUES)
        self.register_buffer("appearance_basis", basis, persistent=config.appearance > 0)
        self.head = nn.Sequential(
            nn.Linear(config.unit, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.components + config.appearance),
        )

    def predict_motion(self, units: Tensor) -> Tensor:
        """Predict coefficients [... k] of the average speaker's lower face from units [... d]."""
        return self.predict(units)[0]

    def predict(self, units: Tensor) -> tuple[Tensor, Tensor]:
        """Predict motion [... k], and appearance [... j] relative to its mean over speech, from units [... d]."""
        out: Tensor = self.head(units)
        return out[..., : self.config.components], out[..., self.config.components :]


def build_lip_readout(mesh: FaceMesh) -> Tensor:
    """Build the matrix [k 2] that maps coefficients to mouth opening and width in pixels."""
    width = mesh.basis[:, 291, 0] - mesh.basis[:, 61, 0]
    return torch.stack([measure_lip_gap(mesh.basis), width], dim=1)
