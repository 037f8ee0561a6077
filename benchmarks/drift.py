"""One hour of picture and sound through reader and writer: does the click stay on the flash?

Draws a tiny 30000/1001 video with a white frame every minute and a separate wav with a click at the same
moments, copies picture and sound into one file, and measures both again in the copy.
Run: python benchmarks/drift.py [--minutes 60] [--suffix .mp4]
"""

import argparse
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from cals.media import VideoReader, VideoWriter, mono_blocks

RATE = Fraction(30000, 1001)
SOUND_HZ = 16_000
SIZE = (64, 48)


def flash_frames(minutes: int) -> list[int]:
    """The frames nearest to the middle of each minute."""
    return [round((60 * minute + 30) * RATE) for minute in range(minutes)]


def draw_video(path: Path, minutes: int) -> None:
    """Grey frames, white where a flash is planted."""
    flashes = set(flash_frames(minutes))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "crf": "30"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index in range(round(60 * minutes * RATE)):
            level = 235 if index in flashes else 60
            frame = av.VideoFrame.from_ndarray(np.full((SIZE[1] * 3 // 2, SIZE[0]), level, np.uint8), "yuv420p")
            frame.pts, frame.time_base = index, 1 / RATE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def draw_sound(path: Path, minutes: int) -> None:
    """Silence with a click at the start of each flash."""
    wave = np.zeros(60 * minutes * SOUND_HZ, np.float32)
    for index in flash_frames(minutes):
        wave[round(index / RATE * SOUND_HZ)] = 0.9
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=SOUND_HZ, layout="mono")
        for start in range(0, len(wave), SOUND_HZ):
            block = (wave[None, start : start + SOUND_HZ] * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(block, "s16", "mono")
            frame.sample_rate, frame.pts = SOUND_HZ, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def flashes_in(path: Path) -> list[float]:
    """Times in seconds of the white frames."""
    with VideoReader(path) as reader:
        return [float(frame.time_s) for frame in reader if frame.luma(8, 8).mean() > 150]


def clicks_in(path: Path) -> list[float]:
    """Times in seconds of the loudest sample around each click, one a minute."""
    found, position, minute = [], 0, 0
    loudest, at = 0.0, 0
    for block in mono_blocks(path, 48_000):
        peak = int(np.argmax(np.abs(block)))
        if position // (60 * 48_000) > minute:
            found.append(at / 48_000)
            loudest, minute = 0.0, minute + 1
        if abs(block[peak]) > loudest:
            loudest, at = float(abs(block[peak])), position + peak
        position += len(block)
    return [*found, at / 48_000]


def main() -> None:
    """Draw, copy, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--suffix", default=".mp4")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video, sound, copy = (Path(folder) / name for name in ("in.mp4", "in.wav", f"copy{options.suffix}"))
        draw_video(video, options.minutes)
        draw_sound(sound, options.minutes)
        began = time.perf_counter()
        with VideoReader(video) as reader, VideoWriter(copy, reader.format, audio=sound) as writer:
            for frame in reader:
                writer.write(frame)
        took = time.perf_counter() - began
        flashes, clicks = flashes_in(copy), clicks_in(copy)
    print(f"{len(flashes)} flashes, {len(clicks)} clicks, copied in {took:.0f} s")
    print("minute  flash s       click s       click - flash, ms")
    for minute, (flash, click) in enumerate(zip(flashes, clicks, strict=True)):
        print(f"{minute:6d}  {flash:12.5f}  {click:12.5f}  {1000 * (click - flash):+8.3f}")
    worst = max(abs(click - flash) for flash, click in zip(flashes, clicks, strict=True))
    verdict = "less" if worst < 1 / RATE else "NOT LESS"
    print(f"worst {1000 * worst:.3f} ms, {verdict} than one frame ({1000 / float(RATE):.2f} ms)")


if __name__ == "__main__":
    main()
