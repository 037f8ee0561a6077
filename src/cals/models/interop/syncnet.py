"""The original SyncNet (Chung and Zisserman, 2016), by which LSE-D and LSE-C are published: `syncnet_v2.model`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cals.errors import CheckpointError
from cals.types import CropTransform

FRAMES, CROP_PX, FPS, MFCC_WINDOWS, EMBEDDING = 5, 224, 25, 20, 1024
"""A window: frames of 224 px at 25 a second and the MFCC of 0.2 s."""

_FACE_BOX = (18.0, -1.0, 109.0, 108.0)
"""Where the tight box of the mesh, which stands for a detector's, lies in an aligned crop of 128: left, top, right,
bottom, the mean over GRID's 14 speakers (deviations 1 to 3 px)."""
_MARGIN = 0.4
"""The crop reaches so many half boxes further to the left, the right and (twice that) below, and no further above."""
_COUNTER = "num_batches_tracked"
"""Files of an old torch lack these counters of the batch norms, which only training reads."""
_THIS = "name the public file syncnet_v2.model"

Size = int | tuple[int, ...]
Level = tuple[int, Size, Size, Size, nn.Module | None]
"""Channels, kernel, stride and padding of a convolution, and what follows its norm and ReLU."""


def _stack(conv: type[nn.Module], norm: type[nn.Module], channels: int, levels: Sequence[Level]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for out, kernel, stride, padding, pool in levels:
        layers += [conv(channels, out, kernel, stride, padding), norm(out), nn.ReLU()]
        layers += [] if pool is None else [pool]
        channels = out
    return nn.Sequential(*layers)


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, EMBEDDING))


class SyncNet(nn.Module):
    """Both streams, under the names that the public weights have."""

    def __init__(self) -> None:
        super().__init__()
        heard: list[Level] = [
            (64, 3, 1, 1, nn.Identity()),  # a pool of one cell, which counts in the layers' numbers
            (192, 3, 1, 1, nn.MaxPool2d(3, (1, 2))),
            (384, 3, 1, 1, None),
            (256, 3, 1, 1, None),
            (256, 3, 1, 1, nn.MaxPool2d(3, 2)),
            (512, (5, 4), 1, 0, None),
        ]
        seen: list[Level] = [
            (96, (FRAMES, 7, 7), (1, 2, 2), 0, nn.MaxPool3d((1, 3, 3), (1, 2, 2))),
            (256, (1, 5, 5), (1, 2, 2), (0, 1, 1), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))),
            (256, (1, 3, 3), 1, (0, 1, 1), None),
            (256, (1, 3, 3), 1, (0, 1, 1), None),
            (256, (1, 3, 3), 1, (0, 1, 1), nn.MaxPool3d((1, 3, 3), (1, 2, 2))),
            (512, (1, 6, 6), 1, 0, None),
        ]
        self.netcnnaud, self.netfcaud = _stack(nn.Conv2d, nn.BatchNorm2d, 1, heard), _head()
        self.netcnnlip, self.netfclip = _stack(nn.Conv3d, nn.BatchNorm3d, 3, seen), _head()

    def audio(self, mfcc: Tensor) -> Tensor:
        """Windows of MFCC [b 20 13] -> [b 1024]."""
        return self.netfcaud(self.netcnnaud(mfcc.transpose(1, 2)[:, None]).flatten(1))

    def visual(self, windows: Tensor) -> Tensor:
        """Windows of RGB crops, uint8 [b 5 224 224 3] -> [b 1024]; the network knows them as BGR, 0..255."""
        pixels = windows.flip(-1).permute(0, 4, 1, 2, 3).to(next(self.netfclip.parameters()))
        return self.netfclip(self.netcnnlip(pixels).flatten(1))


def syncnet_crop(aligned: CropTransform) -> CropTransform:
    """The upright crop of 224 px around a face whose aligned crop this is: as the public scripts cut around a box.

    Size and place are those of the aligned crop, which are smooth over time, and not of a detector of theirs.
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
    """The network with the weights of a public file, frozen; strict but for the counters of old files.

    Raises CheckpointError that says what was expected and found. Nothing in the file is executed.
    """
    model = SyncNet()
    expected, found = model.state_dict(), _read(path)
    missing = [name for name in expected if name not in found and not name.endswith(_COUNTER)]
    unknown = [name for name in found if name not in expected]
    if missing or unknown:
        raise CheckpointError(
            f"{path}: expected the {len(expected)} weights of SyncNet, found {_some('none of', missing)}"
            f"{' and ' if missing and unknown else ''}{_some('also', unknown)}; {_THIS}"
        )
    for name, value in found.items():
        if value.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: expected {name} of {tuple(expected[name].shape)}, found {tuple(value.shape)}; {_THIS}"
            )
    model.load_state_dict(expected | found)
    return model.eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # files of other kinds make the unpickler fail in every way there is
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: expected the weights of SyncNet, found none ({reason}); {_THIS}") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(f"{path}: expected names with tensors, found {type(found).__name__}; {_THIS}")
    return found


def _some(word: str, names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{word} {', '.join(names[:3])}{more}" if names else ""
