"""The original SyncNet (Chung and Zisserman, 2016), which defines LSE-D and LSE-C: `syncnet_v2.model`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cals.errors import CheckpointError
from cals.types import CropTransform

FRAMES, CROP_PX, FPS, MFCC_WINDOWS, EMBEDDING = 5, 224, 25, 20, 1024
"""Sizes of a window: frames of 224 px at 25 per second, and the MFCC of 0.2 s."""

_FACE_BOX = (18.0, -1.0, 109.0, 108.0)
"""Tight box of the mesh in an aligned crop of 128 px, in place of a detector's box: left, top, right, bottom.

The mean over GRID's 14 speakers (standard deviations 1 to 3 px)."""
_MARGIN = 0.4
"""Margin of the crop in half boxes on the left and right; twice that below, and none above."""
_COUNTER_SUFFIX = "num_batches_tracked"
"""Batch norm counters that files of an old torch lack; only training uses them."""
_ADVICE = "name the public file syncnet_v2.model"

Size = int | tuple[int, ...]
Level = tuple[int, Size, Size, Size, nn.Module | None]
"""Channels, kernel, stride and padding of a convolution, and what follows its norm and ReLU."""


def _build_stack(conv: type[nn.Module], norm: type[nn.Module], channels: int, levels: Sequence[Level]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for out, kernel, stride, padding, pool in levels:
        layers += [conv(channels, out, kernel, stride, padding), norm(out), nn.ReLU()]
        layers += [] if pool is None else [pool]
        channels = out
    return nn.Sequential(*layers)


def _build_head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, EMBEDDING))


class SyncNet(nn.Module):
    """Both streams; attributes are named as in the public weights."""

    def __init__(self) -> None:
        super().__init__()
        audio: list[Level] = [
            (64, 3, 1, 1, nn.Identity()),  # a pool of one cell, which takes a number in the public layer names
            (192, 3, 1, 1, nn.MaxPool2d(3, (1, 2))),
            (384, 3, 1, 1, None),
            (256, 3, 1, 1, None),
            (256, 3, 1, 1, nn.MaxPool2d(3, 2)),
            (512, (5, 4), 1, 0, None),
        ]
        visual: list[Level] = [
            (96, (FRAMES, 7, 7), (1, 2, 2), 0, nn.MaxPool3d((1, 3, 3), (1, 2, 2))),
            (256, (1, 5, 5), (1, 2, 2), (0, 1, 1), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))),
            (256, (1, 3, 3), 1, (0, 1, 1), None),
            (256, (1, 3, 3), 1, (0, 1, 1), None),
            (256, (1, 3, 3), 1, (0, 1, 1), nn.MaxPool3d((1, 3, 3), (1, 2, 2))),
            (512, (1, 6, 6), 1, 0, None),
        ]
        self.netcnnaud, self.netfcaud = _build_stack(nn.Conv2d, nn.BatchNorm2d, 1, audio), _build_head()
        self.netcnnlip, self.netfclip = _build_stack(nn.Conv3d, nn.BatchNorm3d, 3, visual), _build_head()

    def audio(self, mfcc: Tensor) -> Tensor:
        """Encode windows of MFCC [b 20 13] -> [b 1024]."""
        return self.netfcaud(self.netcnnaud(mfcc.transpose(1, 2)[:, None]).flatten(1))

    def visual(self, windows: Tensor) -> Tensor:
        """Encode windows of RGB crops, uint8 [b 5 224 224 3] -> [b 1024]; the network itself takes BGR, 0..255."""
        pixels = windows.flip(-1).permute(0, 4, 1, 2, 3).to(next(self.netfclip.parameters()))
        return self.netfclip(self.netcnnlip(pixels).flatten(1))


def compute_syncnet_crop(aligned: CropTransform) -> CropTransform:
    """Compute the upright crop of 224 px that the public scripts cut around a box, from the face's aligned crop.

    Size and position follow the aligned crop, which is smooth over time, instead of a detector's boxes.
    """
    corners = np.array(_FACE_BOX).reshape(2, 2) * (aligned.size_px / 128)
    left, top, right, bottom = corners.ravel()
    box_px = max(right - left, bottom - top) / aligned.scale
    middle = aligned.to_frame(corners.mean(axis=0, keepdims=True))[0]
    side = (1 + _MARGIN) * box_px
    upper_left = middle - (side / 2, box_px / 2)
    zoom = CROP_PX / side
    matrix = np.array([[zoom, 0.0, -zoom * upper_left[0]], [0.0, zoom, -zoom * upper_left[1]]])
    return CropTransform(matrix=matrix, size_px=CROP_PX)


def load_syncnet(path: Path) -> SyncNet:
    """Load the network with the weights of a public file, frozen; strict but for the counters of old files.

    Raises CheckpointError for any other content. Nothing in the file is executed.
    """
    model = SyncNet()
    expected, weights = model.state_dict(), _read_weights(path)
    missing = [name for name in expected if name not in weights and not name.endswith(_COUNTER_SUFFIX)]
    unknown = [name for name in weights if name not in expected]
    if missing or unknown:
        raise CheckpointError(
            f"{path}: expected the {len(expected)} weights of SyncNet, found {_list_some('none of', missing)}"
            f"{' and ' if missing and unknown else ''}{_list_some('also', unknown)}; {_ADVICE}"
        )
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: expected {name} of {tuple(expected[name].shape)}, found {tuple(value.shape)}; {_ADVICE}"
            )
    model.load_state_dict(expected | weights)
    return model.eval().requires_grad_(False)


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises any type of exception for files of other formats
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: expected the weights of SyncNet, found none ({reason}); {_ADVICE}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path}: expected names with tensors, found {type(content).__name__}; {_ADVICE}")
    return content


def _list_some(word: str, names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{word} {', '.join(names[:3])}{more}" if names else ""
