"""Head pose as six numbers: its estimation from landmarks, its removal and its application."""

import math

import torch
from torch import Tensor

from cals.arrays import disable_autocast
from cals.face.align import CROP_SIZE_PX, EYE_DISTANCE_PX, RIGID_SHAPE
from cals.face.landmarks import RIGID
from cals.models.geometry import estimate_similarity

POSE_NAMES = ("yaw", "pitch", "roll", "x", "y", "size")
"""Rotations in radians, and the centroid of the rigid points as a share of the crop's side.

`size` is the logarithm of the face's size relative to that of an aligned face.

In aligned crops the last four are residuals: the alignment removes them, with a small lag."""


def compute_eye_distance_px(crop_px: int) -> float:
    """Compute the inter-ocular distance of an aligned face in crops of that size."""
    return EYE_DISTANCE_PX * crop_px / CROP_SIZE_PX


@disable_autocast
def estimate_head_pose(landmarks: Tensor, crop_px: int) -> Tensor:
    """Estimate poses [b 6] of faces [b 468 3] in crop pixels by fitting the rigid points of a mean face."""
    points = landmarks[:, list(RIGID)].float()
    shape = torch.as_tensor(RIGID_SHAPE, dtype=points.dtype, device=points.device).expand_as(points)
    mask = torch.ones(len(RIGID), dtype=torch.bool, device=points.device)
    scale, rotation, centroid, _ = estimate_similarity(shape, points, mask)
    # `rotation` applies to rows from the right: it is the transpose of the matrix that rotates columns
    pitch = torch.asin((-rotation[:, 2, 1]).clamp(-1, 1))
    yaw, roll = torch.atan2(rotation[:, 2, 0], rotation[:, 2, 2]), torch.atan2(rotation[:, 0, 1], rotation[:, 1, 1])
    size = torch.log(scale / compute_eye_distance_px(crop_px))
    return torch.stack([yaw, pitch, roll, centroid[:, 0, 0] / crop_px, centroid[:, 0, 1] / crop_px, size], dim=1)


@disable_autocast
def remove_head_pose(landmarks: Tensor, crop_px: int) -> Tensor:
    """Remove the pose of faces [b 468 3]: frontal, in inter-ocular distances from the centroid of the rigid points."""
    pose = estimate_head_pose(landmarks, crop_px)
    centroid = landmarks[:, list(RIGID)].mean(dim=1, keepdim=True)
    return (
        (landmarks - centroid)
        @ _build_rotation(pose)
        / (compute_eye_distance_px(crop_px) * pose[:, 5].exp())[:, None, None]
    )


@disable_autocast
def apply_head_pose(shape: Tensor, pose: Tensor, crop_px: int) -> Tensor:
    """Apply poses [b 6] to shapes [b n 3] of `remove_head_pose`; returns crop pixels, z relative to the rigid centroid.

    The inverse of `remove_head_pose` but for z, of which images give differences alone.
    """
    rotated = (
        shape
        @ _build_rotation(pose).transpose(1, 2)
        * (compute_eye_distance_px(crop_px) * pose[:, 5].exp())[:, None, None]
    )
    centroid = torch.cat([pose[:, 3:5] * crop_px, torch.zeros_like(pose[:, :1])], dim=1)
    return rotated + centroid[:, None]


def _build_rotation(pose: Tensor) -> Tensor:
    """Build matrices [b 3 3] that rotate columns: roll first, then pitch, then yaw."""
    (sy, sp, sr), (cy, cp, cr) = pose[:, :3].sin().unbind(1), pose[:, :3].cos().unbind(1)
    rows = (
        (cy * cr + sy * sp * sr, -cy * sr + sy * sp * cr, sy * cp),
        (cp * sr, cp * cr, -sp),
        (-sy * cr + cy * sp * sr, sy * sr + cy * sp * cr, cy * cp),
    )
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def to_degrees(pose: Tensor) -> Tensor:
    """Return the three rotations [... 3] of poses [... 6] in degrees."""
    return pose[..., :3] * (180 / math.pi)
