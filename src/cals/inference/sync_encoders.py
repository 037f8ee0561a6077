"""The two kinds of sync encoders of `SyncScorer`, behind one protocol: our own, and the original SyncNet."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from cals import hub
from cals.checkpoint import compute_weights_sha256, load_checkpoint
from cals.face.align import CROP_SIZE_PX, sample_crop
from cals.features.mel import iterate_log_mel
from cals.inference.frame_tracker import TrackedFrame, View
from cals.metrics.lse import Edges
from cals.models.factory import build_frozen
from cals.models.interop import mfcc, syncnet
from cals.models.sync import SyncModel
from cals.types import F32, U8


class SyncEncoders(Protocol):
    """Encoders of windows of `frames` frames and of the sound that belongs to them."""

    name: str
    """Name of the encoders in results."""
    fps: int
    frames: int
    """Length of a window, an odd number; a window belongs to its middle frame."""
    crop_px: int
    """Side of the aligned crops."""
    sample_rate_hz: int
    edges: Edges
    """What happens to frames near the ends of the sound."""
    first_audio_frame: int
    """Frame of the first embedding of `audio`."""

    def extract_crop(self, item: TrackedFrame, view: View) -> U8:
        """Return the pixels [h w 3] of a frame with a face that go into a window."""
        ...

    def visual(self, windows: U8) -> Tensor:
        """Embed windows [b frames h w 3] -> [b d]."""
        ...

    def audio(self, sound: Iterable[F32]) -> Iterator[Tensor]:
        """Yield blocks [n d] of embeddings, one a frame, of blocks [n] of mono sound."""
        ...


class CalsEncoders:
    """Encoders of `cals train sync`: lower halves of aligned crops and log-mel; the sound is silent beyond its ends."""

    edges: Edges = "drop"
    first_audio_frame = 0

    def __init__(self, model: SyncModel, name: str, device: str = "cpu") -> None:
        self.name, self._model, self._device = name, model.to(device), device
        timing, self.crop_px, self.frames = model.config.mel.timing, model.config.crop_px, model.config.frames
        self.fps, self.sample_rate_hz = timing.fps, timing.sample_rate_hz

    def extract_crop(self, item: TrackedFrame, view: View) -> U8:
        return view.crop[self.crop_px // 2 :]

    def visual(self, windows: U8) -> Tensor:
        pixels = torch.from_numpy(windows).to(self._device).permute(0, 1, 4, 2, 3).float() / 255
        with torch.inference_mode():
            embeddings: Tensor = self._model.visual(pixels)
        return embeddings.cpu()

    def audio(self, sound: Iterable[F32]) -> Iterator[Tensor]:
        config, step = self._model.config, self._model.config.mel.timing.mels_per_frame
        blocks = iterate_log_mel(sound, config.mel, torch.from_numpy)
        side = self.frames // 2 * step
        for windows in slide_windows(blocks, config.mel_frames, step, side, config.mel.floor_db):
            with torch.inference_mode():  # left before the yield: its state is the thread's
                embeddings = self._model.audio(windows.to(self._device)).cpu()
            yield embeddings


class OriginalSyncNet:
    """`syncnet_v2.model`: upright crops of 224 px and MFCC, windows wholly inside; as published at the ends (zeros)."""

    name = "SyncNet"
    edges: Edges = "zeros"
    fps, frames, crop_px = syncnet.FPS, syncnet.FRAMES, CROP_SIZE_PX
    sample_rate_hz, first_audio_frame = mfcc.RATE_HZ, syncnet.FRAMES // 2

    def __init__(self, model: syncnet.SyncNet, device: str = "cpu") -> None:
        self._model, self._device = model.to(device), device

    def extract_crop(self, item: TrackedFrame, view: View) -> U8:
        return sample_crop(item.frame, syncnet.compute_syncnet_crop(view.transform))

    def visual(self, windows: U8) -> Tensor:
        with torch.inference_mode():
            return self._model.visual(torch.from_numpy(windows).to(self._device)).cpu()

    def audio(self, sound: Iterable[F32]) -> Iterator[Tensor]:
        blocks = (torch.from_numpy(block) for block in mfcc.iterate_mfcc(sound))
        step = mfcc.RATE_HZ // mfcc.HOP // syncnet.FPS
        for windows in slide_windows(blocks, syncnet.MFCC_WINDOWS, step):
            with torch.inference_mode():  # left before the yield: its state is the thread's
                embeddings = self._model.audio(windows.to(self._device)).cpu()
            yield embeddings


def load_encoders(folder: Path | None = None, device: str = "cpu") -> CalsEncoders:
    """Load the encoders of a checkpoint folder, by default those that ship beside the default model."""
    shipped = hub.MODELS[hub.DEFAULT_MODEL].folder
    if folder is None and shipped is not None:
        folder, name = shipped / "sync", f"sync encoders of {hub.DEFAULT_MODEL}"
    elif folder is not None:
        name = f"sync encoders {folder.resolve().parent.name}/{folder.resolve().name}"
    else:
        raise ValueError("hub: the default model ships with sync encoders")
    model = build_frozen(SyncModel, load_checkpoint(folder))
    return CalsEncoders(model, f"{name} ({compute_weights_sha256(folder)[:12]})", device)


def slide_windows(
    blocks: Iterable[Tensor], size: int, step: int, side: int | None = None, fill: float = 0.0
) -> Iterator[Tensor]:
    """Yield windows [n size f] every `step` rows of a stream of blocks [m f], across block borders too.

    Without `side` only windows wholly inside. With it, `side` rows of `fill` go before the stream, and as many after
    it as every step needs for its window.
    """
    buffer: Tensor | None = None
    rows = 0
    for block in blocks:
        if buffer is None:
            buffer = torch.full((side or 0, block.shape[1]), fill)
        buffer, rows = torch.cat([buffer, block]), rows + len(block)
        yield from (complete := _unfold_windows(buffer, size, step))
        buffer = buffer[step * sum(map(len, complete)) :]
    if buffer is not None and side is not None:
        padding_rows = -rows % step + size - step - side
        buffer = torch.cat([buffer, torch.full((padding_rows, buffer.shape[1]), fill)])
        yield from _unfold_windows(buffer, size, step)


def _unfold_windows(rows: Tensor, size: int, step: int) -> list[Tensor]:
    """Return all windows that lie inside as one block [n size f], or an empty list."""
    return [rows.unfold(0, size, step).transpose(1, 2)] if len(rows) >= size else []


def stack_windows(windows: list[list[U8]]) -> U8:
    """Stack windows of crops into the input of `visual`, [b frames h w 3]."""
    return np.stack([np.stack(window) for window in windows])
