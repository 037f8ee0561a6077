"""The two kinds of sync encoders `SyncScorer` can judge by, behind one face: ours, and the original SyncNet."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from cals import hub
from cals.checkpoint import load_checkpoint, weights_sha256
from cals.face.align import CROP_SIZE_PX, crop
from cals.features.mel import mel_blocks
from cals.inference.tracked import TrackedFrame, View
from cals.metrics.lse import Edges
from cals.models.interop import mfcc, syncnet
from cals.models.sync import SyncModel, sync_from_checkpoint
from cals.types import F32, U8


class SyncEncoders(Protocol):
    """Embeddings of windows of `frames` frames and of the sound that belongs to them."""

    name: str
    """What results say they were judged by."""
    fps: int
    frames: int
    """Length of a window; an odd number, its middle one gives it its place."""
    crop_px: int
    """What aligned crops are to be made."""
    sample_rate_hz: int
    edges: Edges
    """What becomes of frames near the ends of the sound."""
    first_heard: int
    """Frame to which the first embedding of `audio` belongs."""

    def look(self, item: TrackedFrame, view: View) -> U8:
        """What a window keeps of a frame with a face, [h w 3]."""
        ...

    def visual(self, windows: U8) -> Tensor:
        """Windows [b frames h w 3] -> embeddings [b d]."""
        ...

    def audio(self, sound: Iterable[F32]) -> Iterator[Tensor]:
        """Blocks [n d] of embeddings, one a frame, of blocks [n] of mono sound."""
        ...


class OwnEncoders:
    """What `cals train sync` makes: lower halves of aligned crops and log-mel; beyond its ends the sound is silent."""

    edges: Edges = "drop"
    first_heard = 0

    def __init__(self, model: SyncModel, name: str, device: str = "cpu") -> None:
        self.name, self._model, self._device = name, model.to(device), device
        timing, self.crop_px, self.frames = model.config.mel.timing, model.config.crop_px, model.config.frames
        self.fps, self.sample_rate_hz = timing.fps, timing.sample_rate_hz

    def look(self, item: TrackedFrame, view: View) -> U8:
        return view.crop[self.crop_px // 2 :]

    def visual(self, windows: U8) -> Tensor:
        pixels = torch.from_numpy(windows).to(self._device).permute(0, 1, 4, 2, 3).float() / 255
        with torch.inference_mode():
            found: Tensor = self._model.visual(pixels)
        return found.cpu()

    def audio(self, sound: Iterable[F32]) -> Iterator[Tensor]:
        config, step = self._model.config, self._model.config.mel.timing.mels_per_frame
        blocks = mel_blocks(sound, config.mel)
        side = self.frames // 2 * step
        for windows in sliding(blocks, config.mels, step, side, config.mel.floor_db):
            with torch.inference_mode():
                yield self._model.audio(windows.to(self._device)).cpu()


class OriginalSyncNet:
    """`syncnet_v2.model`: upright crops of 224 px and MFCC, windows wholly inside; as published at the ends (zeros)."""

    name = "SyncNet"
    edges: Edges = "zeros"
    fps, frames, crop_px = syncnet.FPS, syncnet.FRAMES, CROP_SIZE_PX
    sample_rate_hz, first_heard = mfcc.RATE_HZ, syncnet.FRAMES // 2

    def __init__(self, model: syncnet.SyncNet, device: str = "cpu") -> None:
        self._model, self._device = model.to(device), device

    def look(self, item: TrackedFrame, view: View) -> U8:
        return crop(item.frame, syncnet.syncnet_crop(view.transform))

    def visual(self, windows: U8) -> Tensor:
        with torch.inference_mode():
            return self._model.visual(torch.from_numpy(windows).to(self._device)).cpu()

    def audio(self, sound: Iterable[F32]) -> Iterator[Tensor]:
        blocks = (torch.from_numpy(block) for block in mfcc.mfcc_blocks(sound))
        step = mfcc.RATE_HZ // mfcc.HOP // syncnet.FPS
        for windows in sliding(blocks, syncnet.MFCC_WINDOWS, step):
            with torch.inference_mode():
                yield self._model.audio(windows.to(self._device)).cpu()


def own_encoders(folder: Path | None = None, device: str = "cpu") -> OwnEncoders:
    """The encoders of a checkpoint folder, by default those that ship beside the default model."""
    shipped = hub.MODELS[hub.DEFAULT_MODEL].folder
    if folder is None and shipped is not None:
        folder, name = shipped / "sync", f"sync encoders of {hub.DEFAULT_MODEL}"
    elif folder is not None:
        name = f"sync encoders {folder.resolve().parent.name}/{folder.resolve().name}"
    else:
        raise ValueError("hub: the default model ships with sync encoders")
    model = sync_from_checkpoint(load_checkpoint(folder))
    return OwnEncoders(model, f"{name} ({weights_sha256(folder)[:12]})", device)


def sliding(
    blocks: Iterable[Tensor], size: int, step: int, side: int | None = None, fill: float = 0.0
) -> Iterator[Tensor]:
    """Windows [n size f] every `step` rows of a stream of blocks [m f], joined without a seam.

    Only those wholly inside, or with `side` rows of `fill` before and as many after as give every step its window.
    """
    held: Tensor | None = None
    rows = 0
    for block in blocks:
        if held is None:
            held = torch.full((side or 0, block.shape[1]), fill)
        held, rows = torch.cat([held, block]), rows + len(block)
        yield from (ready := _windows(held, size, step))
        held = held[step * sum(map(len, ready)) :]
    if held is not None and side is not None:
        after = -rows % step + size - step - side
        held = torch.cat([held, torch.full((after, held.shape[1]), fill)])
        yield from _windows(held, size, step)


def _windows(rows: Tensor, size: int, step: int) -> list[Tensor]:
    """All windows that lie inside, in one block [n size f], or none."""
    return [rows.unfold(0, size, step).transpose(1, 2)] if len(rows) >= size else []


def stacked(windows: list[list[U8]]) -> U8:
    """Windows of looks as `visual` takes them, [b frames h w 3]."""
    return np.stack([np.stack(window) for window in windows])
