"""Pixels go where their triangle goes, no others move, and the vertices learn from the picture."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from cals.nn.warp import (
    build_pixel_centres,
    compute_source_grid,
    draw_polygon,
    draw_triangles,
    sample_grid,
    triangulate,
)

SIZE = 32


def mesh(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Build vertices [1 v 2] over most of a picture, off the pixel grid, and their triangles."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[4:29:6, 4:29:6].reshape(2, -1)
    points = np.stack([x, y], axis=1) + rng.uniform(-1, 1, (len(x), 2))
    return torch.from_numpy(points)[None], torch.from_numpy(triangulate(points))


def draw_smooth(seed: int = 0) -> Tensor:
    coarse = np.random.default_rng(seed).uniform(size=(6, 6, 3))
    return torch.from_numpy(cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)).permute(2, 0, 1)[None]


def warp_pictures(pictures: Tensor, target: Tensor, source: Tensor, triangles: Tensor) -> Tensor:
    covering = draw_triangles(target, triangles, SIZE, SIZE)
    return sample_grid(pictures, compute_source_grid(target, source, triangles, covering))


def compute_areas(points: Tensor, triangles: Tensor) -> Tensor:
    corners = points[triangles]
    (ax, ay), (bx, by) = ((corners[:, i] - corners[:, 0]).unbind(-1) for i in (1, 2))
    return (ax * by - ay * bx) / 2


def test_triangles_fill_the_hull_without_overlap() -> None:
    points, triangles = mesh()
    hull = cv2.contourArea(cv2.convexHull(points[0].float().numpy()))
    # cv2 leaves out slivers along the hull
    assert 0.99 * hull < float(compute_areas(points[0], triangles).abs().sum()) <= 1.00001 * hull
    assert set(triangles.flatten().tolist()) == set(range(points.shape[1]))


def test_a_mesh_that_stays_leaves_the_picture_as_it_is() -> None:
    points, triangles = mesh()
    pictures = torch.rand(1, 3, SIZE, SIZE, dtype=torch.float64)
    torch.testing.assert_close(warp_pictures(pictures, points, points, triangles), pictures, atol=1e-5, rtol=0)


def test_a_shifted_mesh_takes_its_pixels_along_and_no_others() -> None:
    points, triangles = mesh()
    pictures = torch.rand(1, 3, SIZE, SIZE, dtype=torch.float64)
    target = points + torch.tensor([3.0, -2.0])
    moved = warp_pictures(pictures, target, points, triangles)
    covered = draw_triangles(target, triangles, SIZE, SIZE)[0] >= 0
    expected = torch.roll(pictures, (-2, 3), dims=(2, 3))
    torch.testing.assert_close(moved[..., covered], expected[..., covered], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[..., ~covered], pictures[..., ~covered], atol=1e-5, rtol=0)
    assert 0.3 < covered.float().mean() < 0.8


def test_places_are_exactly_affine_within_a_triangle() -> None:
    source = torch.tensor([[[3.0, 4.0], [28.0, 7.0], [9.0, 29.0]]], dtype=torch.float64)
    linear = torch.tensor([[0.8, 0.3], [-0.2, 1.1]], dtype=torch.float64)
    target = source @ linear + torch.tensor([1.5, -2.5])
    triangles = torch.tensor([[0, 1, 2]])
    covering = draw_triangles(target, triangles, SIZE, SIZE)
    places = compute_source_grid(target, source, triangles, covering)[0]
    here = build_pixel_centres(SIZE, SIZE, torch.device("cpu")).double()
    expected = (here - torch.tensor([1.5, -2.5])) @ torch.linalg.inv(linear)
    inside = covering[0] >= 0
    torch.testing.assert_close(places[inside], expected[inside], atol=1e-9, rtol=0)
    assert torch.equal(places[~inside], here[~inside])
    outline = target[0].float().numpy().reshape(-1, 1, 2)
    for y, x in torch.nonzero(~inside).tolist():  # whatever lies inside was drawn
        assert cv2.pointPolygonTest(outline, (x + 0.5, y + 0.5), False) <= 0
    assert int(inside.sum()) > 100


def test_neighbours_agree_along_their_edges() -> None:
    points, triangles = mesh()
    target = points + torch.from_numpy(np.random.default_rng(3).uniform(-1.5, 1.5, points.shape))
    covering = draw_triangles(target, triangles, SIZE, SIZE)
    places = compute_source_grid(target, points, triangles, covering)[0]
    inside = covering[0] >= 0
    steps = (places[:, 1:] - places[:, :-1])[inside[:, 1:] & inside[:, :-1]].norm(dim=-1)
    assert float(steps.max()) < 3.0  # no jumps where one triangle ends and the next begins


def test_a_flat_triangle_is_no_trouble() -> None:
    target = torch.tensor([[[2.0, 2.0], [10.0, 2.0], [20.0, 2.0], [10.0, 25.0]]])
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3]])
    covering = draw_triangles(target, triangles, SIZE, SIZE)
    assert bool(torch.isfinite(compute_source_grid(target, target + 1, triangles, covering)).all())


def test_a_later_triangle_lies_over_an_earlier_one() -> None:
    target = torch.tensor([[[2.0, 2.0], [30.0, 2.0], [2.0, 30.0]]])
    covering = draw_triangles(target, torch.tensor([[0, 1, 2], [0, 2, 1]]), SIZE, SIZE)
    assert set(covering.flatten().tolist()) == {-1, 1}


def test_the_gradient_of_the_places_is_that_of_small_differences() -> None:
    points, triangles = mesh()
    target = points + torch.from_numpy(np.random.default_rng(5).uniform(-1, 1, points.shape))
    covering = draw_triangles(target, triangles, SIZE, SIZE)[:, 8:16, 8:16]
    padded = torch.full((1, SIZE, SIZE), -1)
    padded[:, 8:16, 8:16] = covering

    def places(after: Tensor, before: Tensor) -> Tensor:
        return compute_source_grid(after, before, triangles, padded)[:, 8:16, 8:16]

    assert torch.autograd.gradcheck(places, (target.requires_grad_(), points.requires_grad_()), atol=1e-5)


def test_vertices_learn_where_the_picture_went() -> None:
    points, triangles = mesh()
    pictures = draw_smooth()
    way = torch.tensor([1.2, -0.8], dtype=torch.float64)
    wanted = warp_pictures(pictures, points + way, points, triangles)
    shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([shift], lr=0.1)
    for _ in range(60):
        error = (warp_pictures(pictures, points + shift, points, triangles) - wanted).square().mean()
        optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert shift.tolist() == pytest.approx(way.tolist(), abs=0.1)


def test_places_beyond_the_edge_show_the_edge() -> None:
    pictures = torch.rand(1, 3, SIZE, SIZE)
    places = torch.tensor([[[[-5.0, 3.5], [SIZE + 9.0, 3.5]]]])
    torch.testing.assert_close(sample_grid(pictures, places)[0, :, 0], pictures[0, :, 3, [0, SIZE - 1]])


def test_a_polygon_is_full_inside_and_empty_outside() -> None:
    corners = torch.tensor([[6.3, 5.1], [26.8, 9.4], [20.2, 27.7], [9.9, 22.6]])
    drawn = draw_polygon(corners[None], SIZE, SIZE)[0, 0]
    outline = corners.numpy().reshape(-1, 1, 2)
    for y in range(SIZE):
        for x in range(SIZE):
            depth = cv2.pointPolygonTest(outline, (x + 0.5, y + 0.5), True)
            if depth > 1:
                assert drawn[y, x] == 1
            elif depth >= 0:
                assert drawn[y, x] > 0.4
            elif depth < -1.5:
                assert drawn[y, x] == 0
