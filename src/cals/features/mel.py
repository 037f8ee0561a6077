"""Log-mel spectrograms; the only STFT in the package."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from cals.arrays import Array, convert_like, get_namespace, is_tensor
from cals.errors import ConfigError
from cals.timing import AVTiming
from cals.types import F32


@dataclass(frozen=True, kw_only=True)
class MelConfig:
    """Parameters of the spectrogram.

    Published: 16 kHz, window 400, hop 160. The rest follows related work or is our choice (paper section 1).
    """

    timing: AVTiming = field(default_factory=AVTiming)
    window: int = 400
    bins: int = 80
    low_hz: float = 0.0
    high_hz: float = 8000.0
    floor_db: float = -100.0
    """Level of digital silence; the power is clamped there before the logarithm."""

    def __post_init__(self) -> None:
        if self.window < self.timing.hop or (self.window - self.timing.hop) % 2:
            raise ConfigError(
                f"mel: expected a window of the hop ({self.timing.hop}) plus an even number, found {self.window}"
            )
        if not 0 <= self.low_hz < self.high_hz <= self.timing.sample_rate_hz / 2:
            raise ConfigError(
                f"mel: expected 0 <= low < high <= half the sample rate, found {self.low_hz}..{self.high_hz}"
            )

    @property
    def margin(self) -> int:
        """Samples by which a window exceeds its hop on either side, so that every mel frame is centred on its hop."""
        return (self.window - self.timing.hop) // 2


def compute_log_mel(wav: Array, config: MelConfig) -> Array:
    """Compute the log-mel power in dB, [b n] -> [b m f] with m = ceil(n / hop); silence is assumed beyond the ends.

    Mel frame j is centred on samples [j hop, (j + 1) hop), so k mel frames belong to a video frame exactly.
    """
    samples = wav.shape[-1]
    hops = -(-samples // config.timing.hop)
    right_padding = hops * config.timing.hop - samples + config.margin
    pads = (config.margin, right_padding)
    padded = get_namespace(wav).nn.functional.pad(wav, pads) if is_tensor(wav) else np.pad(wav, ((0, 0), pads))
    return _compute_without_padding(padded, config)


def iterate_log_mel(blocks: Iterable[F32], config: MelConfig, convert: Callable[[F32], Array]) -> Iterator[Array]:
    """Compute `compute_log_mel` of a stream: blocks of mono sound [n] in, blocks [m f] out, without seams.

    `convert` makes an array of the kind that it is computed in: `torch.from_numpy` or `np.asarray`.
    """
    hop, margin = config.timing.hop, config.margin
    buffer = np.zeros(margin, np.float32)
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        hops = (len(buffer) - 2 * margin) // hop
        if hops > 0:
            yield _compute_without_padding(convert(buffer[None, : hops * hop + 2 * margin]), config)[0]
            buffer = buffer[hops * hop :]
    hops = -(-(len(buffer) - margin) // hop)
    if hops > 0:
        tail = np.zeros(hops * hop + 2 * margin, np.float32)
        tail[: len(buffer)] = buffer
        yield _compute_without_padding(convert(tail[None]), config)[0]


def _compute_without_padding(wav: Array, config: MelConfig) -> Array:
    xp, bank = get_namespace(wav), convert_like(build_slaney_filterbank(config), wav)
    if is_tensor(wav):
        window = xp.hann_window(config.window, device=wav.device, dtype=wav.dtype)
        spectrum = xp.stft(wav, config.window, config.timing.hop, window=window, center=False, return_complex=True)
        bank = bank.to(wav)
    else:
        window = np.hanning(config.window + 1)[:-1].astype(wav.dtype)  # periodic, as that of an STFT
        frames = np.lib.stride_tricks.sliding_window_view(wav, config.window, axis=1)[:, :: config.timing.hop]
        spectrum = np.fft.rfft(frames * window).astype(np.complex64).swapaxes(1, 2)
    power = xp.square(spectrum.real) + xp.square(spectrum.imag)  # [b k m]
    mel = xp.einsum("bkm,kf->bmf", power, bank)
    return 10.0 * xp.log10(mel.clip(10.0 ** (config.floor_db / 10.0)))


@lru_cache(maxsize=8)
def build_slaney_filterbank(config: MelConfig) -> F32:
    """Build triangular equal-area filters on Slaney's mel scale, [window // 2 + 1, bins] (Auditory Toolbox, 1998)."""
    edges_hz = _mel_to_hz(
        np.linspace(float(_hz_to_mel(config.low_hz)), float(_hz_to_mel(config.high_hz)), config.bins + 2)
    )
    bins_hz = np.arange(config.window // 2 + 1) * (config.timing.sample_rate_hz / config.window)
    low, centre, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz[:, None] - low) / (centre - low)
    falling = (high - bins_hz[:, None]) / (high - centre)
    bank = np.clip(np.minimum(rising, falling), 0.0, None) * (2.0 / (high - low))
    return np.asarray(bank, np.float32)


_LINEAR_HZ = 200.0 / 3.0  # below 1 kHz a mel is this many Hz
_BREAK_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0  # above it, 27 mels span a factor of 6.4


def _hz_to_mel(hz: float | np.ndarray) -> np.ndarray:
    hz = np.asarray(hz, np.float64)
    above = _BREAK_HZ / _LINEAR_HZ + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _LINEAR_HZ, above)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    break_mel = _BREAK_HZ / _LINEAR_HZ
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, break_mel) - break_mel))
    return np.where(mel < break_mel, mel * _LINEAR_HZ, above)
