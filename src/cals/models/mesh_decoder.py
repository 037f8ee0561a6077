"""Lip-to-Face by moving the person's own pixels: units -> mesh motion -> warp -> inner mouth -> refinement."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d

from cals.errors import ConfigError
from cals.face.landmarks import MOUTH_INNER, MOUTH_OUTER
from cals.models.mesh import FaceMesh, exact, lip_gap, similarity
from cals.models.refine import Refinement
from cals.nn.warp import drawn_polygon, drawn_triangles, pixel_centres, sampled, source_places

_FAR = 4.0
"""Standard deviations beyond which the refinement is not told more: it has seen nothing like it."""


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Sizes of the mesh decoder; all of it is ours."""

    unit: int = 512
    components: int = 16
    """Motions of the lower face; 16 hold 99.9 % of it on GRID."""
    hidden: int = 512
    width: int = 48
    """Channels of the refinement's first level."""
    triangles: int = 0
    """How many the measured mesh has; known once a corpus is measured."""
    mend: float = 1.0
    """How much of what the refinement adds is taken: less than all suits strangers where it learnt from few faces."""

    def __post_init__(self) -> None:
        if not 0 <= self.mend <= 1:
            raise ConfigError(f"mesh: expected mend from 0 to 1, found {self.mend}; 1 takes all that is added")
        if min(self.unit, self.components, self.hidden, self.width) < 1:
            raise ConfigError(f"mesh: expected positive sizes, found {self}")


class Views(NamedTuple):
    """Faces whose pixels are moved; what lies within their own lips is never used."""

    crops: Tensor
    """[b 3 h w] in 0..1"""
    landmarks: Tensor
    """[b 468 3] in crop pixels."""
    motion: Tensor
    """The faces' own motion [b k]."""
    bank_crops: Tensor
    """Another frame of each person [b 3 h w], with an open mouth if there is one."""
    bank_landmarks: Tensor
    whole: bool = False
    """The target may have another pose: all triangles move, not only those that speech moves."""


class MeshDecoder(nn.Module):
    """Works on crops of 128 px only: its mesh and its region are measured in them."""

    def __init__(self, config: MeshConfig) -> None:
        super().__init__()
        self.config = config
        self.mesh = FaceMesh(config.components, config.triangles)
        self.head = nn.Sequential(
            nn.Linear(config.unit, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.components),
        )
        self.refinement = Refinement(5, config.width, config.components)

    def motion(self, units: Tensor) -> Tensor:
        """Units [... d] to coefficients [... k] of the lower face's motion."""
        out: Tensor = self.head(units)
        return out

    def draw(self, views: Views, target: Tensor, said: Tensor) -> Tensor:
        """The faces of `views` brought to the landmarks `target` [b 468 3], whose motion is `said` [b k]: [b 3 h w]."""
        composed, seen = self.compose(views, target)
        mended: Tensor = self.refinement(composed, seen, around_lips(target, views.crops), said.clamp(-_FAR, _FAR))
        return torch.lerp(composed, mended, self.config.mend).clamp(0, 1)

    def speak(self, views: Views, rest: Tensor, said: Tensor, response: Tensor) -> Tensor:
        """The faces of `views` in their own pose, their motion against `rest` [b 468 3] replaced by `said` [b k].

        `response` [] says how far these mouths go when they are drawn; see `models.response`.
        """
        change = self._change(views.motion, said, response)
        return self.draw(views, self.mesh.moved(views.landmarks, rest, change), said)

    @exact
    def _change(self, own: Tensor, said: Tensor, response: Tensor) -> Tensor:
        """From a face's own motion to the said one [b k], so much further that lips open as far as they are told."""
        change = said.float() - own
        gaps = lip_gap(self.mesh.basis)
        opening = (change @ gaps)[:, None] * gaps / gaps.square().sum()
        return change + (1 / response - 1) * opening

    @exact
    def compose(self, views: Views, target: Tensor) -> tuple[Tensor, Tensor]:
        """What `draw` refines: the crops [b 3 h w], and maps of the open mouth and of its filled part [b 2 h w]."""
        height, width = views.crops.shape[-2:]
        triangles = self.mesh.triangles if views.whole else self.mesh.moving
        before = self.mesh.vertices(views.landmarks, views.landmarks)
        after = self.mesh.vertices(target, target if views.whole else views.landmarks)
        covering = drawn_triangles(after, triangles, height, width)
        warped = sampled(views.crops, source_places(after, before, triangles, covering))
        hole = drawn_polygon(_between_lips(target), height, width)
        inner, there = _inner_mouth(views, target, self.mesh.upper)
        return warped * (1 - hole) + inner * hole, torch.cat([hole, there * hole], dim=1)


def around_lips(target: Tensor, crops: Tensor) -> Tensor:
    """Soft mask [b 1 h w] of the lips of landmarks [b 468 3] and a little skin around them."""
    lips = drawn_polygon(target[:, list(MOUTH_OUTER), :2], *crops.shape[-2:])
    return avg_pool2d(max_pool2d(lips, 11, 1, 5), 9, 1, 4)


def _between_lips(target: Tensor) -> Tensor:
    """The inner lip contour [b 20 2] of landmarks [b 468 3]; where lips have crossed they meet in the middle."""
    ring = target[:, list(MOUTH_INNER), :2]
    upper, lower = ring[:, 1:10], ring[:, 11:].flip(1)  # over one another, from left to right
    crossed = (lower[..., 1:] < upper[..., 1:]).expand_as(upper)
    middle = (upper + lower) / 2
    upper, lower = torch.where(crossed, middle, upper), torch.where(crossed, middle, lower)
    return torch.cat([ring[:, :1], upper, ring[:, 10:11], lower.flip(1)], dim=1)


def _inner_mouth(views: Views, target: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """What the bank's mouths show where the target's is open, and where they show it: [b 3 h w], [b 1 h w].

    Upper teeth belong to the skull, lower ones to the jaw: between the lips the place to look at goes over from the
    one to the other. Elsewhere it is dark.
    """
    pictures, shown = views.bank_crops, views.bank_landmarks
    height, width = pictures.shape[-2:]
    scale, turn, to_middle, from_middle = similarity(target[..., :2], shown[..., :2], upper)

    def seen_at(points: Tensor) -> Tensor:
        return scale[:, None, None] * ((points - from_middle) @ turn) + to_middle

    places = seen_at(pixel_centres(height, width, pictures.device).flatten(0, 1).expand(len(pictures), -1, -1))
    lips = seen_at(target[:, [13, 14], :2])
    top, bottom = lips[:, :1, 1], lips[:, 1:, 1]
    height_between = ((places[..., 1] - top) / (bottom - top).clamp_min(1.0)).clamp(0, 1)
    of_jaw = height_between.square() * (3 - 2 * height_between)
    drop = shown[:, 14, None, 1] - bottom
    places = torch.stack([places[..., 0], places[..., 1] + of_jaw * drop], dim=-1).unflatten(1, (height, width))  # type: ignore[no-untyped-call]
    there = sampled(drawn_polygon(_between_lips(shown), height, width), places)
    dark = 0.3 * pictures[..., height // 2 :, width // 4 : -width // 4].mean(dim=(2, 3), keepdim=True)
    return sampled(pictures, places) * there + dark * (1 - there), there
