"""Warps of the mouth: pixels follow their landmarks, without tears."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

import drawn_face
from cals.face.landmarks import MOUTH_INNER, MOUTH_OUTER, OVAL
from cals.inference.gallery import stack_crops
from cals.models.mesh import FaceMesh, measure_lip_gap
from cals.models.mouth import compute_mouth_flow, estimate_hidden_share, match_brightness, separate_lips
from cals.nn.warp import build_pixel_centres, sample_grid
from cals.types import F32

UPPER, LOWER = list(MOUTH_INNER[1:10]), list(MOUTH_INNER[:10:-1])
SHAPES = [(0.0, 0.0), (3.0, 1.5), (9.0, -1.5)]


def points(open_px: float, wide_px: float = 0.0) -> Tensor:
    return torch.from_numpy(drawn_face.points(open_px, wide_px))[None]


def mask_inside(outline: F32, depth_px: float) -> np.ndarray:
    """Compute the mask [128 128] of pixels at least that deep inside an outline [n 2]; outside for negative depths."""
    shape = np.ascontiguousarray(outline, dtype=np.float32).reshape(-1, 1, 2)
    y, x = np.mgrid[:128, :128] + 0.5
    found = [cv2.pointPolygonTest(shape, (float(a), float(b)), True) for a, b in zip(x.flat, y.flat, strict=True)]
    return np.array(found).reshape(128, 128) > depth_px


def warp_face(mesh: FaceMesh, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the sampling grid [128 128 2], and the drawn face of `source` warped by it, [3 128 128]."""
    places = compute_mouth_flow(mesh, source, target, 128)
    return places[0], sample_grid(stack_crops([drawn_face.picture(source[0].numpy())]), places)[0]


@pytest.mark.parametrize("open_px", [0.0, 1.0, 9.0])
def test_a_face_brought_to_its_own_shape_is_itself(mesh: FaceMesh, open_px: float) -> None:
    places, moved = warp_face(mesh, points(open_px, 1.0), points(open_px, 1.0))
    torch.testing.assert_close(places, build_pixel_centres(128, 128, torch.device("cpu")), atol=2e-3, rtol=0)
    drawn = stack_crops([drawn_face.picture(drawn_face.points(open_px, 1.0))])[0]
    torch.testing.assert_close(moved, drawn, atol=2 / 255, rtol=0)


@pytest.mark.parametrize("before", SHAPES)
@pytest.mark.parametrize("after", SHAPES)
def test_every_landmark_brings_its_pixels(
    mesh: FaceMesh, before: tuple[float, float], after: tuple[float, float]
) -> None:
    source, target = separate_lips(points(*before)), separate_lips(points(*after))
    places = compute_mouth_flow(mesh, source, target, 128)
    come = sample_grid(places.permute(0, 3, 1, 2), target[:, :, None, :2])[0, :, :, 0].T
    error = (come - source[0, :, :2]).norm(dim=1)
    lips = list({*MOUTH_INNER, *MOUTH_OUTER})
    others = [point for point in range(468) if point not in lips]
    assert float(error[others].max()) < 0.7
    # Between lips that meet the flow has a step, over which no place is read.
    assert float(error[list(MOUTH_OUTER)].max()) < 0.7
    if after[0] > 1:
        assert float(error[[*UPPER, *LOWER]].max()) < 1.5


@pytest.mark.parametrize("before", SHAPES[1:])
@pytest.mark.parametrize("after", SHAPES)
def test_lips_are_where_they_are_told_to_be(
    mesh: FaceMesh, before: tuple[float, float], after: tuple[float, float]
) -> None:
    target = drawn_face.points(*after)
    moved = warp_face(mesh, points(*before), points(*after))[1]
    lips = mask_inside(target[list(MOUTH_OUTER), :2], 1) & ~mask_inside(target[list(MOUTH_INNER), :2], -1.5)
    mouth = mask_inside(target[list(MOUTH_INNER), :2], 1.5)
    assert is_lip(moved)[lips].mean() > 0.97
    assert not mouth.any() or is_lip(moved)[mouth].mean() < 0.2  # of edges that are stretched
    if before != after:
        stayed = is_lip(stack_crops([drawn_face.picture(drawn_face.points(*before))])[0])
        assert stayed[lips].mean() < 0.9  # the test can fail


def is_lip(picture: Tensor) -> np.ndarray:
    """Compute the mask [128 128] of lips, not teeth, inner mouth or skin, in a drawn face [3 128 128]."""
    colour = torch.tensor([170, 70, 80])[:, None, None] / 255
    return ((picture - colour).abs().amax(dim=0) < 0.25).numpy()


def test_a_wide_mouth_closes_without_a_hole(mesh: FaceMesh) -> None:
    places, moved = warp_face(mesh, points(11.0), points(0.0))
    closed, was = drawn_face.points(0.0), drawn_face.points(11.0)
    seam = np.abs(np.mgrid[:128, :128][0] + 0.5 - drawn_face.MOUTH[1]) < 1
    assert is_lip(moved)[mask_inside(closed[list(MOUTH_OUTER), :2], 1) & ~seam].mean() > 0.97
    come = places.numpy()[mask_inside(closed[list(MOUTH_OUTER), :2], 0.5)]
    assert mask_inside(was[list(MOUTH_OUTER), :2], -1.5)[tuple(np.floor(come.T[::-1]).astype(int))].all()


@pytest.mark.parametrize(("before", "after"), [(9.0, 0.0), (0.5, 11.0), (3.0, 9.0)])
def test_nothing_tears_or_folds(mesh: FaceMesh, before: float, after: float) -> None:
    places = compute_mouth_flow(mesh, points(before), points(after), 128)[0]
    face = mask_inside(drawn_face.points(max(before, after))[list(OVAL), :2], 0)
    away = (places - build_pixel_centres(128, 128, torch.device("cpu"))).norm(dim=-1).numpy() * face
    furthest = (points(after) - points(before))[0, :, :2].norm(dim=1).max()
    assert away.max() < float(furthest) + 1.5  # nothing comes from further than points move
    assert away[:50].max() < 0.05  # the upper face stays
    for axis in (0, 1):  # neighbours come from neighbours, in the same order
        steps = places.diff(dim=axis)[..., 1 - axis].numpy()
        both = face[1:] & face[:-1] if axis == 0 else face[:, 1:] & face[:, :-1]
        assert steps[both].min() > -0.6
        assert steps[both].max() < abs(before - after) + 2


def test_lips_that_cross_are_parted_in_the_middle() -> None:
    crossed = points(-4.0)
    assert float(measure_lip_gap(crossed)) < -2
    parted = separate_lips(crossed)
    gaps = parted[0, LOWER, 1] - parted[0, UPPER, 1]
    assert bool((gaps > 0).all())
    assert float(gaps.max()) < 0.1
    middles = [(face[0, LOWER, 1] + face[0, UPPER, 1]) / 2 for face in (crossed, parted)]
    torch.testing.assert_close(middles[0], middles[1])
    others = [point for point in range(468) if point not in {*UPPER, *LOWER}]
    assert torch.equal(parted[:, others], crossed[:, others])
    assert torch.equal(parted[..., [0, 2]], crossed[..., [0, 2]])
    torch.testing.assert_close(separate_lips(points(5.0)), points(5.0))


def test_crossed_lips_show_lips(mesh: FaceMesh) -> None:
    moved = warp_face(mesh, points(9.0), points(-4.0))[1].numpy()
    mouth = moved[:, 84:92, 56:72]  # what is left of lips that are pressed together, and skin
    assert mouth[0].min() > 0.3  # nothing of the dark between them


def test_geometry_is_exact_whatever_the_networks_run_in(mesh: FaceMesh) -> None:
    plain = compute_mouth_flow(mesh, points(9.0), points(3.0, 1.0), 128)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(compute_mouth_flow(mesh, points(9.0), points(3.0, 1.0), 128), plain)


def test_an_open_mouth_that_was_never_seen_is_unknown_inside() -> None:
    faces = {open_px: points(open_px)[0] for open_px in (0.0, 4.0, 9.0)}
    assert estimate_hidden_share(faces[9.0], faces[9.0]) == estimate_hidden_share(faces[4.0], faces[9.0]) == 0
    assert estimate_hidden_share(faces[0.0], faces[9.0]) == 1
    assert estimate_hidden_share(faces[9.0], faces[0.0]) == estimate_hidden_share(faces[0.0], faces[0.0]) == 0


def test_light_is_matched_by_colour() -> None:
    crops = stack_crops([drawn_face.picture(drawn_face.points(2.0), seed) for seed in (0, 1)]) * 0.5
    tint = torch.tensor([0.5, 0.8, 1.2])[:, None, None]
    torch.testing.assert_close(match_brightness(crops * tint, crops), crops, atol=1e-4, rtol=0)
    dark = match_brightness(torch.zeros_like(crops), crops)
    assert float(dark.max()) == 0  # and no number that is none
