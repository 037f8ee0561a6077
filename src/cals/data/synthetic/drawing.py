"""Rendering: a person's skin on their moving mesh, lit, with background, body and the inside of the mouth."""

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from cals.data.synthetic.geometry import Geometry
from cals.data.synthetic.grammar import F64
from cals.data.synthetic.people import FRAME_PX, Appearance, Scene
from cals.data.synthetic.texture import map_to_texture, paint_texture
from cals.face.landmarks import MOUTH_INNER, OVAL, measure_inter_ocular_px
from cals.face.sampling import SUBPIXEL_BITS, round_to_subpixels
from cals.nn.warp import compute_source_grid, draw_triangles, sample_grid
from cals.types import F32, U8, apply_affine, compute_scale

_SUPERSAMPLING = 2
"""Pictures are drawn so many times larger, then reduced."""
_TOOTH, _TONGUE, _DARK = (222, 214, 198), (150, 70, 68), (34, 12, 14)


@dataclass(frozen=True, eq=False)
class Portrait:
    """One person in one scene, rendered in any pose and through any crop."""

    geometry: Geometry = field(repr=False)
    appearance: Appearance
    scene: Scene
    skin: torch.Tensor = field(repr=False)
    """Texture [1 3 h w]."""
    ground: F32 = field(repr=False)
    """Background [FRAME_PX FRAME_PX 3]."""

    @classmethod
    def of(cls, geometry: Geometry, look: Appearance, scene: Scene) -> "Portrait":
        """Paint skin and background of a person."""
        skin = torch.from_numpy(paint_texture(look, geometry.template)).permute(2, 0, 1)[None]
        return cls(geometry, look, scene, skin, _paint_background(scene))

    def draw(self, points: F64, matrix: F64, size_px: int) -> U8:
        """Render the face with these points [468 3] in the frame, through the map frame -> picture [size size 3]."""
        fine = size_px * _SUPERSAMPLING
        matrix = matrix * _SUPERSAMPLING
        vertices = np.column_stack([apply_affine(matrix, points[:, :2]), points[:, 2] * compute_scale(matrix)])
        shift = matrix.copy()  # cv2 counts pixel centres as whole numbers
        shift[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
        flags, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
        canvas = np.asarray(
            cv2.warpAffine(self.ground, shift, (fine, fine), flags=flags, borderMode=border), np.float32
        )
        self._draw_body(canvas, vertices, matrix)
        self._draw_face(canvas, vertices)
        self._draw_inner_mouth(canvas, vertices)
        warm = np.array([1 + self.scene.warmth, 1.0, 1 - self.scene.warmth], np.float32)
        reduced = cv2.resize(canvas * warm, (size_px, size_px), interpolation=cv2.INTER_AREA)
        return np.clip(np.rint(reduced), 0, 255).astype(np.uint8)

    def _compute_shading(self, vertices: F64) -> F64:
        """Compute the brightness of each triangle, about 1: light from one side, and ambient light."""
        corners = self.geometry.triangles
        a, b, c = (vertices[corners[:, i]] for i in range(3))
        faces = np.cross(b - a, c - a)
        faces *= -np.sign(faces[:, 2:])  # towards the camera, whichever way round the triangle is
        normals = np.zeros_like(vertices)
        for i in range(3):
            np.add.at(normals, corners[:, i], faces)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        diffuse = np.clip(normals @ np.array(self.scene.light), 0, None)
        shade = self.scene.ambient + (1.04 - self.scene.ambient) * diffuse + 0.1 * diffuse**12
        return np.asarray(shade[corners].mean(axis=1))

    def _draw_face(self, canvas: F32, vertices: F64) -> None:
        """Draw the textured, shaded mesh."""
        size = len(canvas)
        triangles = torch.from_numpy(self.geometry.triangles)
        target = torch.from_numpy(vertices[None, :, :2]).float()
        source = torch.from_numpy(map_to_texture(self.geometry.template)[None]).float()
        coverage = draw_triangles(target, triangles, size, size)
        pixels = (
            sample_grid(self.skin, compute_source_grid(target, source, triangles, coverage))[0].permute(1, 2, 0).numpy()
        )
        triangle = coverage[0].numpy()
        known, unit = triangle >= 0, measure_inter_ocular_px(vertices)
        light = _blur_within_mask(self._compute_shading(vertices)[np.maximum(triangle, 0), None], known, 0.07 * unit)
        face = np.where(known[..., None], pixels * light, _blur_within_mask(pixels * light, known, 0.04 * unit))
        # The far side of a turned head folds into notches: its outline is the hull, filled with what lies next to it.
        hull = np.zeros((size, size), np.uint8)
        outline = np.asarray(cv2.convexHull(vertices[:, :2].astype(np.float32))[:, 0], np.float64)
        cv2.fillPoly(hull, [round_to_subpixels(outline)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
        share = cv2.GaussianBlur(hull, (0, 0), 0.9).astype(np.float32)[..., None] / 255
        canvas += share * (face - canvas).astype(np.float32)

    def _draw_body(self, canvas: F32, vertices: F64, matrix: F64) -> None:
        """Draw hair behind the head, neck, shoulders, ears; none hangs on the jaw, so none moves with speech."""
        unit = measure_inter_ocular_px(vertices)
        eyes = vertices[[33, 263], :2].mean(axis=0)
        across, down = _compute_axes(vertices)
        centre, chin = eyes + 0.45 * unit * down, eyes + 1.8 * unit * down
        side = max(0.4, 0.55 - 0.15 * self.scene.light[2])
        hair, skin = np.array(self.appearance.hair), np.array(self.appearance.skin)
        if self.appearance.long_hair:
            around = [(-1.28, -0.9), (-1.42, 0.2), (-1.45, 1.3), (-1.25, 2.3), (1.25, 2.3), (1.45, 1.3), (1.42, 0.2)]
            curtain = [centre + unit * (x * across + y * down) for x, y in [*around, (1.28, -0.9)]]
            _fill_polygon(canvas, np.array(curtain), hair * side * 0.8, 0.05 * unit)
        cap = _grow_outline(vertices[list(OVAL), :2], centre, across, down, unit)
        _fill_polygon(canvas, cap, hair * side, 0.06 * unit)
        chest = apply_affine(matrix, np.array([[x, FRAME_PX * 1.5] for x in (-FRAME_PX, 2 * FRAME_PX)]))
        neck = [
            chin + unit * (x * across + y * down)
            for x, y in ((-0.82, -0.9), (-0.78, 0.1), (-0.95, 0.75), (0.95, 0.75), (0.78, 0.1), (0.82, -0.9))
        ]
        slope = [(-3.9, 1.7), (-2.2, 0.85), (-0.95, 0.32), (0.0, 0.62), (0.95, 0.32), (2.2, 0.85), (3.9, 1.7)]
        shoulders = [chin + unit * np.array([x, y]) for x, y in slope]
        _fill_polygon(canvas, np.array(neck), skin * side * 0.72, 0.03 * unit)
        _fill_polygon(
            canvas, np.array([*shoulders, chest[1], chest[0]]), np.array(self.appearance.shirt) * side, 0.02 * unit
        )
        for point, sign in ((234, -1), (454, 1)):
            if not self.appearance.long_hair:
                ear = vertices[point, :2] + unit * (0.02 * sign * across - 0.02 * down)
                ring = [
                    ear + unit * (0.13 * np.cos(t) * across + 0.3 * np.sin(t) * down) for t in np.linspace(0, 6.28, 24)
                ]
                _fill_polygon(canvas, np.array(ring), skin * side * 0.92, 0.03 * unit)

    def _draw_inner_mouth(self, canvas: F32, vertices: F64) -> None:
        """Draw the dark between the lips, teeth of the skull and of the jaw, a tongue on the floor."""
        ring = _uncross_lips(vertices[list(MOUTH_INNER), :2])
        size = len(canvas)
        low = np.clip(np.floor(ring.min(axis=0)).astype(int) - 2, 0, size - 1)
        high = np.clip(np.ceil(ring.max(axis=0)).astype(int) + 3, low + 1, size)
        mask = np.zeros((size, size), np.uint8)
        cv2.fillPoly(mask, [round_to_subpixels(ring)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
        box = (slice(low[1], high[1]), slice(low[0], high[0]))
        y, x = np.mgrid[box] + 0.5
        unit = measure_inter_ocular_px(vertices)
        across, down = _compute_axes(vertices)
        u, v = ((x * axis[0] + y * axis[1]) / unit for axis in (across, down))
        # Upper teeth hang from the skull, which the nose goes with; lower ones stand in the jaw.
        middle = float(vertices[[61, 291], :2].mean(axis=0) @ across) / unit
        upper = float(vertices[2, :2] @ down) / unit + 0.43 - 0.25 * (u - middle) ** 2
        lower = float(vertices[17, :2] @ down) / unit - 0.26 + 0.2 * (u - middle) ** 2
        shine = 0.30 + 0.55 * self.scene.ambient
        gaps = 1 - 0.16 * np.exp(-((((u - middle) / 0.085 + 0.5) % 1 - 0.5) ** 2) / 0.006)
        fade = np.exp(-(((u - middle) / 0.36) ** 4))
        inside = np.tile(np.array(_DARK, np.float32), (*u.shape, 1))
        soft = 0.02
        tongue = 1 / (1 + np.exp(-(v - lower + 0.02) / 0.03)) * 0.75 * fade
        inside += tongue[..., None] * (np.array(_TONGUE) * shine - inside)
        for visible in (1 / (1 + np.exp((v - upper) / soft)), 0.8 / (1 + np.exp(-(v - lower) / soft))):
            teeth = np.array(_TOOTH) * (shine * gaps * (0.45 + 0.55 * fade))[..., None]
            inside += (visible * fade)[..., None] * (teeth - inside)
        share = np.asarray(mask[box], np.float32)[..., None] / 255
        # The lips shade what lies just behind them.
        depth = cv2.GaussianBlur(mask, (0, 0), max(0.05 * unit, 0.8))[box].astype(np.float32)[..., None] / 255
        canvas[box] += share * (inside * (0.35 + 0.65 * depth) - canvas[box])


def _compute_axes(vertices: F64) -> tuple[F64, F64]:
    """Return unit vectors from the left eye to the right one, and down the face, in the picture."""
    across = vertices[263, :2] - vertices[33, :2]
    across = across / np.linalg.norm(across)
    return across, np.array([-across[1], across[0]])


def _fill_polygon(canvas: F32, points: F64, colour: F64, soft_px: float) -> None:
    """Fill a polygon with one colour, a soft rim, and a slight darkening downwards."""
    mask = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillPoly(mask, [round_to_subpixels(points)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    share = cv2.GaussianBlur(mask, (0, 0), max(soft_px, 0.6)).astype(np.float32)[..., None] / 255
    rows = np.arange(len(canvas), dtype=np.float32)[:, None, None]
    top, high = float(points[:, 1].min()), float(np.ptp(points[:, 1])) or 1.0
    slope = 1.08 - 0.22 * np.clip((rows - top) / high, 0, 1)
    canvas += share * (colour.astype(np.float32) * slope - canvas)


def _grow_outline(oval: F64, centre: F64, across: F64, down: F64, unit: float) -> F64:
    """Return the outline of the hair: that of the face, enlarged above the eyes."""
    away = oval - centre
    x, y = away @ across, away @ down
    grown = np.clip(-y / unit, 0, 1)
    return np.asarray(
        centre
        + (x * (1.04 + 0.14 * grown))[:, None] * across
        + (np.where(y < 0, y * 1.04 - 0.42 * unit * grown, y * 0.2))[:, None] * down
    )


def _blur_within_mask(values: F64, known: NDArray[np.bool_], soft_px: float) -> F64:
    """Blur a map [h w c] where it is known, and continue it a little beyond."""
    weights = cv2.GaussianBlur(known.astype(np.float32), (0, 0), soft_px)[..., None]
    blurred = cv2.GaussianBlur((values * known[..., None]).astype(np.float32), (0, 0), soft_px)
    return np.asarray(blurred.reshape(values.shape) / np.maximum(weights, 1e-3))


def _uncross_lips(ring: F64) -> F64:
    """Return the inner lips' contour [20 2] with lips that have crossed meeting half way."""
    upper, lower = ring[1:10], ring[11:][::-1]
    crossed = (lower[:, 1] < upper[:, 1])[:, None]
    middle = (upper + lower) / 2
    upper, lower = np.where(crossed, middle, upper), np.where(crossed, middle, lower)
    return np.concatenate([ring[:1], upper, ring[10:11], lower[::-1]])


def _paint_background(scene: Scene) -> F32:
    """Paint a gradient of two colours, and out-of-focus things."""
    rng = np.random.default_rng(scene.seed)
    top, bottom = (np.array(colour, np.float32) for colour in scene.ground)
    share = np.linspace(0, 1, FRAME_PX, dtype=np.float32)[:, None, None]
    canvas = np.tile(top * (1 - share) + bottom * share, (1, FRAME_PX, 1))
    for _ in range(int(rng.integers(2, 7))):
        x, y = (int(value) for value in rng.integers(0, FRAME_PX, 2))
        wide, high = (int(value) for value in rng.integers(15, 90, 2))
        colour = np.clip(canvas[y, x] + rng.uniform(-45, 45, 3), 0, 255)
        cv2.rectangle(canvas, (x - wide, y - high), (x + wide, y + high), colour.tolist(), -1)
    blurred = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(4, 12)))
    return np.asarray(blurred + rng.normal(0, 1.2, canvas.shape), np.float32)
