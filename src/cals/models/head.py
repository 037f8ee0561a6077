"""How a head is held: six numbers, read from the mesh of its crop and put into one."""

import math

import torch
from torch import Tensor

from cals.face.align import CROP_SIZE_PX, EYE_DISTANCE_PX, RIGID_SHAPE
from cals.face.landmarks import RIGID
from cals.models.mesh import exact, similarity

POSE = ("yaw", "pitch", "roll", "x", "y", "size")
"""Turns in radians, the middle of the rigid points in shares of the crop's side, the logarithm of the face's size
against that which the alignment gives it.

Of aligned crops the last four are what the alignment left: it takes them out, and lags a little."""


def usual_eyes_px(crop_px: int) -> float:
    """Inter-ocular distance that the alignment gives faces in crops of that size."""
    return EYE_DISTANCE_PX * crop_px / CROP_SIZE_PX


@exact
def head_pose(landmarks: Tensor, crop_px: int) -> Tensor:
    """Poses [b 6] of faces [b 468 3] in crop pixels, by the rigid points against those of a mean face."""
    points = landmarks[:, list(RIGID)].float()
    shape = torch.as_tensor(RIGID_SHAPE, dtype=points.dtype, device=points.device).expand_as(points)
    every = torch.ones(len(RIGID), dtype=torch.bool, device=points.device)
    scale, turn, middle, _ = similarity(shape, points, every)
    # `turn` multiplies rows from the right: entry [j, i] is that of the matrix that turns columns
    pitch = torch.asin((-turn[:, 2, 1]).clamp(-1, 1))
    yaw, roll = torch.atan2(turn[:, 2, 0], turn[:, 2, 2]), torch.atan2(turn[:, 0, 1], turn[:, 1, 1])
    size = torch.log(scale / usual_eyes_px(crop_px))
    return torch.stack([yaw, pitch, roll, middle[:, 0, 0] / crop_px, middle[:, 0, 1] / crop_px, size], dim=1)


@exact
def head_shape(landmarks: Tensor, crop_px: int) -> Tensor:
    """Faces [b 468 3] out of their pose: turned to the front, in inter-ocular distances from their rigid middle."""
    pose = head_pose(landmarks, crop_px)
    middle = landmarks[:, list(RIGID)].mean(dim=1, keepdim=True)
    return (landmarks - middle) @ _turn(pose) / (usual_eyes_px(crop_px) * pose[:, 5].exp())[:, None, None]


@exact
def place_head(shape: Tensor, pose: Tensor, crop_px: int) -> Tensor:
    """Shapes [b n 3] as `head_shape` has them in poses [b 6], in crop pixels; z from the rigid middle.

    The opposite of `head_shape` but for z, of which pictures tell the differences alone.
    """
    turned = shape @ _turn(pose).transpose(1, 2) * (usual_eyes_px(crop_px) * pose[:, 5].exp())[:, None, None]
    middle = torch.cat([pose[:, 3:5] * crop_px, torch.zeros_like(pose[:, :1])], dim=1)
    return turned + middle[:, None]


def _turn(pose: Tensor) -> Tensor:
    """Matrices [b 3 3] that turn columns: roll first, then pitch, then yaw."""
    (sy, sp, sr), (cy, cp, cr) = pose[:, :3].sin().unbind(1), pose[:, :3].cos().unbind(1)
    rows = (
        (cy * cr + sy * sp * sr, -cy * sr + sy * sp * cr, sy * cp),
        (cp * sr, cp * cr, -sp),
        (-sy * cr + cy * sp * sr, sy * sr + cy * sp * cr, cy * cp),
    )
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def degrees(pose: Tensor) -> Tensor:
    """The three turns [... 3] of poses [... 6] in degrees."""
    return pose[..., :3] * (180 / math.pi)
