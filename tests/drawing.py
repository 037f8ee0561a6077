"""Small media files drawn at test time: moving pictures, clicks and tones whose content and times are known."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

CONTAINERS = {".mp4": "mp4", ".m4a": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".ts": "mpegts"}
CONTAINERS |= {".avi": "avi", ".mpg": "mpeg", ".mp3": "mp3", ".wav": "wav", ".flac": "flac", ".ogg": "ogg"}
CONTAINERS |= {".apng": "apng", ".aiff": "aiff", ".au": "au", ".caf": "caf", ".w64": "w64"}
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1", 16: "16 channels"}


def picture(index: int, size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    """Draw RGB [h w 3] number `index`: soft colours, a moving bright square, and the index in grey blocks on top."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    rgb = np.stack(
        [90 + 70 * np.sin(x / 9 + index / 5), 110 + 60 * np.cos(y / 11), 120 + 50 * np.sin((x + y) / 13)], -1
    )
    left = (5 * index) % max(1, width - 8)
    rgb[height // 2 : height // 2 + 8, left : left + 8] = (230, 200, 60)
    for bit in range(8):
        rgb[:6, bit * width // 8 : (bit + 1) * width // 8] = 220 if index >> bit & 1 else 40
    return np.clip(rgb, 0, 255).astype(np.uint8)


def index_of(rgb: NDArray[np.uint8]) -> int:
    """Read the index (modulo 256) that `picture` drew."""
    width = rgb.shape[1]
    centres = [(2 * bit + 1) * width // 16 for bit in range(8)]
    return sum((rgb[1:5, x - 1 : x + 2].mean() > 130) << bit for bit, x in enumerate(centres))


def click_track(seconds: float, rate_hz: int, clicks_s: Sequence[float], channels: int = 1) -> NDArray[np.float32]:
    """Make soft noise [channels n] with one loud sample at each of `clicks_s`."""
    rng = np.random.default_rng(7)
    wave = rng.normal(0, 0.002, (channels, round(seconds * rate_hz))).astype(np.float32)
    for click_s in clicks_s:
        wave[:, round(click_s * rate_hz)] = 0.9
    return wave


def tones(seconds: float, rate_hz: int, channels: int = 1) -> NDArray[np.float32]:
    """Make speech-like wandering tones [channels n], which correlate with themselves at lag 0 only."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * np.cumsum(300 + 180 * np.sin(2 * np.pi * 1.7 * t) + 90 * np.sin(2 * np.pi * 0.63 * t)) / rate_hz
    loud = 0.3 + 0.2 * np.sin(2 * np.pi * 2.3 * t)
    rows = [loud * np.sin(phase * (1 + row / 7)) for row in range(channels)]
    return np.stack(rows).astype(np.float32)


def lag_samples(first: NDArray[Any], second: NDArray[Any]) -> int:
    """Measure by how many samples `second` lags `first`, at the peak of their correlation."""
    size = 1 << int(np.ceil(np.log2(len(first) + len(second))))
    spectrum = np.conj(np.fft.rfft(first, size)) * np.fft.rfft(second, size)
    peak = int(np.argmax(np.fft.irfft(spectrum, size)))
    return peak - size if peak > size // 2 else peak


def write_video(
    path: Path,
    *,
    rate: Fraction | int = 25,
    frames: int | Iterable[NDArray[np.uint8]] = 25,
    size: tuple[int, int] = (64, 48),
    pix_fmt: str = "yuv420p",
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    time_base: Fraction | None = None,
    times: Sequence[int] | None = None,
    sound: NDArray[np.float32] | None = None,
    sound_rate_hz: int = 48_000,
    sound_codec: str = "aac",
    sound_layout: str | None = None,
    container_options: Mapping[str, str] | None = None,
    set_up: Callable[[Any], None] | None = None,
    full_range: bool = False,
    sound_first: bool = False,
) -> Path:
    """Encode `frames` (a number of `picture`s, or RGB pictures) with PyAV; `times` are ticks of `time_base`.

    `sound` [channels n] starts with the first picture; its stream is the second one unless `sound_first`. `set_up`
    may change the video stream before encoding.
    """
    rate = Fraction(rate)
    tick = time_base or 1 / rate
    images = [picture(i, size) for i in range(frames)] if isinstance(frames, int) else list(frames)
    with av.open(
        str(path), "w", format=CONTAINERS[path.suffix], container_options=dict(container_options or {})
    ) as out:
        audio = None
        layout = sound_layout or ("" if sound is None else LAYOUTS[sound.shape[0]])
        if sound_first:
            audio = out.add_stream(sound_codec, rate=sound_rate_hz, layout=layout)
        video = out.add_stream(codec, rate=rate, options=dict(options or {}))
        video.width, video.height, video.pix_fmt = size[0], size[1], pix_fmt
        video.codec_context.time_base = tick
        if full_range:
            video.codec_context.color_range = 2
        if set_up is not None:
            set_up(video)
        if sound is not None and not sound_first:
            audio = out.add_stream(sound_codec, rate=sound_rate_hz, layout=layout)
        for index, image in enumerate(images):
            shown = av.VideoFrame.from_ndarray(image, "rgb24").reformat(
                format=pix_fmt, dst_color_range=2 if full_range else 1, src_color_range=2
            )
            shown.pts = times[index] if times is not None else round(index / rate / tick)
            shown.time_base = tick
            out.mux(video.encode(shown))
        out.mux(video.encode(None))
        if audio is not None and sound is not None:
            encode_sound(out, audio, sound, sound_rate_hz)
    return path


def write_audio(
    path: Path, sound: NDArray[np.float32], rate_hz: int = 48_000, codec: str = "aac", layout: str | None = None
) -> Path:
    """Encode `sound` [channels n] alone."""
    with av.open(str(path), "w", format=CONTAINERS[path.suffix]) as out:
        stream = out.add_stream(codec, rate=rate_hz, layout=layout or LAYOUTS[sound.shape[0]])
        encode_sound(out, stream, sound, rate_hz)
    return path


def write_tracks(path: Path, tracks: Sequence[tuple[NDArray[np.float32], Mapping[str, str]]]) -> Path:
    """Write a second of video with several sound tracks at 48 kHz, each with its tags."""
    with av.open(str(path), "w", format=CONTAINERS[path.suffix]) as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        streams = [out.add_stream("aac", rate=48_000, layout=LAYOUTS[sound.shape[0]]) for sound, _ in tracks]
        for stream, (_, tags) in zip(streams, tracks, strict=True):
            stream.metadata.update(tags)
        for index in range(25):
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture(index), "rgb24").reformat(format="yuv420p")))
        out.mux(video.encode(None))
        for stream, (sound, _) in zip(streams, tracks, strict=True):
            encode_sound(out, stream, sound, 48_000)
    return path


def write_wav(path: Path, sound: NDArray[np.float32], rate_hz: int = 16_000, codec: str = "pcm_f32le") -> Path:
    """Write `sound` [n] or [channels n] as wav; NaN and infinity are kept in the default float format."""
    return write_audio(path, np.atleast_2d(sound), rate_hz, codec)


def encode_sound(out: Any, stream: Any, sound: NDArray[np.float32], rate_hz: int) -> None:
    resampler = av.AudioResampler(format=stream.format.name, layout=stream.layout.name, rate=rate_hz)
    step = stream.codec_context.frame_size or 1024
    for start in range(0, sound.shape[1], step):
        # Packed: planar frames of 8 channels or more crash PyAV.
        block = np.ascontiguousarray(sound[:, start : start + step].T, dtype=np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, "flt", stream.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
        for part in resampler.resample(frame):
            out.mux(stream.encode(part))
    out.mux(stream.encode(None))


def strip_default_duration(path: Path) -> Path:
    """Remove the default frame duration from a Matroska file; browsers and webcam tools do not write it."""
    data = path.read_bytes()
    at = data.index(bytes.fromhex("23e383"))  # the id of DefaultDuration
    size = 3 + 1 + (data[at + 3] & 0x7F)
    path.write_bytes(data[:at] + bytes([0xEC, 0x80 + size - 2]) + bytes(size - 2) + data[at + size :])  # Void
    return path


def read_without_manifest(path: Path) -> bytes:
    """Read an mp4 without its boxes of user types, where the signed manifest is: its salts differ from job to job."""
    data, kept, position = path.read_bytes(), b"", 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        assert 8 <= size <= len(data) - position, f"expected a box at {position}"
        if data[position + 4 : position + 8] != b"uuid":
            kept += data[position : position + size]
        position += size
    return kept
