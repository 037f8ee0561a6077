"""A person's own mouth brought to another shape: where each pixel of a face comes from in another of their pictures."""

import torch
from torch import Tensor

from cals.face.landmarks import MOUTH_INNER
from cals.models.mesh import FaceMesh, exact, lip_gap
from cals.nn.warp import draw_triangles, source_places

_STRETCH, _DOUBT_PX = 2.5, 2.0
"""An open mouth may be stretched to so many times its opening; over so many pixels more its inside is given up."""
_LEAST_GAP_PX = 0.05
"""Lips that meet: so far apart that the triangles between them keep their order."""


def _mouth_triangles() -> Tensor:
    """Triangles [18 3] between the inner lips."""
    top, bottom = MOUTH_INNER[:11], (MOUTH_INNER[0], *MOUTH_INNER[:9:-1])
    strip = [
        corners
        for i in range(10)
        for corners in ((top[i], top[i + 1], bottom[i + 1]), (top[i], bottom[i + 1], bottom[i]))
        if len(set(corners)) == 3  # at the corners of the mouth both lips share a point
    ]
    return torch.tensor(strip)


_MOUTH = _mouth_triangles()


@exact
def mouth_flow(mesh: FaceMesh, source: Tensor, target: Tensor, size_px: int) -> Tensor:
    """Places [b h w 2] in pictures with landmarks `source` [b 468 3] that show what belongs at `target` [b 468 3].

    The lower face is moved whole, lips, teeth and chin; the open mouth goes with the lips around it, under them.
    """
    target = part_lips(target)
    triangles = torch.cat([_MOUTH.to(mesh.triangles), mesh.lower])
    before, after = mesh.vertices(part_lips(source), source), mesh.vertices(target, target)
    return source_places(after, before, triangles, draw_triangles(after, triangles, size_px, size_px))


def part_lips(landmarks: Tensor) -> Tensor:
    """Landmarks [b 468 3] of which the inner lips nowhere cross: where they would they meet in the middle."""
    upper, lower = list(MOUTH_INNER[1:10]), list(MOUTH_INNER[:10:-1])
    above, below = landmarks[:, upper, 1], landmarks[:, lower, 1]
    middle, half = (above + below) / 2, ((below - above) / 2).clamp_min(_LEAST_GAP_PX / 2)
    parted = landmarks.clone()
    parted[:, upper, 1], parted[:, lower, 1] = middle - half, middle + half
    return parted


def unknown_inside(source: Tensor, target: Tensor) -> float:
    """How little a mouth [468 3] shows of the inside of another one [468 3]: 0 where it is open too, 1 where not."""
    seen, wanted = float(lip_gap(source)), float(lip_gap(target))
    return min(max((wanted - _STRETCH * max(seen, 0.0)) / _DOUBT_PX, 0.0), 1.0)


def match_light(moved: Tensor, crops: Tensor) -> Tensor:
    """Crops `moved` [b 3 h w] as bright as `crops` [b 3 h w] are: a gain by colour from their lower halves' means."""
    half = crops.shape[-2] // 2
    wanted, found = (picture[..., half:, :].mean(dim=(2, 3), keepdim=True) for picture in (crops, moved))
    return (moved * (wanted / found.clamp_min(1e-3)).clamp(0.1, 4.0)).clamp(0, 1)
