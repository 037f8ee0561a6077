"""Head poses: estimation recovers an applied pose, and removal inverts it."""

import numpy as np
import pytest
import torch

import drawn_face
from cals.face.align import RIGID_SHAPE, estimate_pose
from cals.face.landmarks import RIGID
from cals.models.head import POSE_NAMES, apply_head_pose, estimate_head_pose, remove_head_pose, to_degrees


def faces(count: int = 1) -> torch.Tensor:
    """Build the drawn face with the eyes and nose bridge of a mean face."""
    points = drawn_face.points(4.0)
    points[list(RIGID)] = 40 * np.asarray(RIGID_SHAPE) + (64, 34, 0)
    return torch.from_numpy(points).expand(count, -1, -1).clone()


POSES = torch.tensor(
    [
        [0.0, 0.0, 0.0, 0.5, 0.3, 0.0],
        [0.4, 0.0, 0.0, 0.5, 0.3, 0.0],
        [0.0, -0.3, 0.0, 0.5, 0.3, 0.0],
        [0.0, 0.0, 0.2, 0.5, 0.3, 0.0],
        [0.3, 0.2, -0.1, 0.45, 0.33, 0.05],
    ]
)


@pytest.mark.parametrize("crop_px", [128, 224])
def test_a_pose_that_is_put_in_is_read_again(crop_px: int) -> None:
    shape = remove_head_pose(faces() * crop_px / 128, crop_px).expand(len(POSES), -1, -1)
    found = estimate_head_pose(apply_head_pose(shape, POSES, crop_px), crop_px)
    torch.testing.assert_close(found, POSES, atol=2e-4, rtol=0)


def test_its_own_pose_leaves_a_face_as_it_is() -> None:
    turned = apply_head_pose(remove_head_pose(faces(), 128).expand(5, -1, -1), POSES, 128)
    again = apply_head_pose(remove_head_pose(turned, 128), estimate_head_pose(turned, 128), 128)
    torch.testing.assert_close(again[..., :2], turned[..., :2], atol=2e-3, rtol=0)
    torch.testing.assert_close(remove_head_pose(turned, 128), remove_head_pose(faces(5), 128), atol=1e-3, rtol=0)


def test_signs_and_units_are_those_that_are_said() -> None:
    frontal = estimate_head_pose(faces(), 128)[0]
    assert to_degrees(frontal).abs().max() < 1
    assert frontal[5].abs() < 0.01
    nose = {}
    for name, pose in (("yaw", [0.3, 0, 0]), ("pitch", [0, 0.3, 0]), ("roll", [0, 0, 0.3])):
        at = torch.tensor([[*pose, *frontal[3:].tolist()]])
        nose[name] = apply_head_pose(remove_head_pose(faces(), 128), at, 128)[0, 4, :2] - faces()[0, 4, :2]
        assert to_degrees(estimate_head_pose(apply_head_pose(remove_head_pose(faces(), 128), at, 128), 128))[
            0, POSE_NAMES.index(name)
        ] == pytest.approx(17.19, abs=0.05)
    assert nose["yaw"][0] < -1  # the tip, nearest to the camera, goes to the picture's left
    assert abs(float(nose["yaw"][1])) < 1
    assert nose["pitch"][1] > 1  # and down
    turned = apply_head_pose(remove_head_pose(faces(), 128), torch.tensor([[0, 0, 0.3, *frontal[3:].tolist()]]), 128)
    assert estimate_pose(turned[0].numpy())[1] == pytest.approx(0.3, abs=0.01)  # as the aligner measures it
