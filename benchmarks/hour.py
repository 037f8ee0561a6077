"""An hour of 1080p through `cals generate`: is memory flat, and are the times of pictures and sound exact?

    python benchmarks/hour.py [--minutes 60] [--scene VIDEO] [--log hour.jsonl]

The video is a photographed face, or the pictures of VIDEO forwards and backwards, at 1920 x 1080 and 25 frames/s,
repeated without encoding again; the speech is repeated likewise. Memory is read from /proc twice a second, so this
needs Linux.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from memory import read_memory_mb
from scenes import SPEECH, enlarge_scene, repeat_scene, write_scene

SIZE, RATE, SCENE_S = (1920, 1080), Fraction(25), 30
SAMPLE_RATE = 16_000


def write_speech(path: Path, source: Path, seconds: float) -> None:
    """The sound of a file, repeated until it is so long."""
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
    with av.open(str(source)) as container:
        parts = [part.to_ndarray()[0] for f in container.decode(audio=0) for part in resampler.resample(f)]
    sound = np.resize(np.concatenate(parts), int(seconds * SAMPLE_RATE))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        for block in np.array_split(sound, max(1, len(sound) // (10 * SAMPLE_RATE))):
            frame = av.AudioFrame.from_ndarray(block[None], "s16", "mono")
            frame.sample_rate = SAMPLE_RATE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def watch_memory(process: subprocess.Popen[bytes], log: Path, period_s: float = 0.5) -> float:
    """Resident megabytes at most; a line a minute in `log`."""
    start, peak, next_line = time.monotonic(), 0.0, 0.0
    with log.open("w") as lines:
        while process.poll() is None:
            memory_mb, highest_mb = read_memory_mb(process.pid)
            peak = max(peak, highest_mb)
            if time.monotonic() - start >= next_line:
                line = {"s": round(time.monotonic() - start), "mb": int(memory_mb), "peak_mb": int(peak)}
                lines.write(json.dumps(line) + "\n")
                lines.flush()
                next_line += 60
            time.sleep(period_s)
    return peak


def measure_times(path: Path) -> dict[str, float]:
    """Frames, the most that one is off its time k / 25 s, and the ends of pictures and sound; packets only."""
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        pictures, sound_end = [], Fraction(0)
        for packet in container.demux(video, sound):
            if packet.pts is None:
                continue
            if packet.stream is video:
                pictures.append(packet.pts * video.time_base)
            else:
                sound_end = max(sound_end, (packet.pts + packet.duration) * sound.time_base)
    worst = max(abs(at - index / RATE) for index, at in enumerate(sorted(pictures)))
    return {
        "frames": len(pictures),
        "worst_ms": 1000 * float(worst),
        "pictures_s": float(len(pictures) / RATE),
        "sound_s": float(sound_end),
    }


def main() -> None:
    """Make the files, generate, print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--scene", type=Path, help="a video of a face, with sound; default: a photographed face")
    parser.add_argument("--log", type=Path, default=Path("hour.jsonl"), help="memory by the minute")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        scene, video, speech, out = (folder / name for name in ("scene.mp4", "hour.mp4", "hour.wav", "out.mp4"))
        if options.scene:
            enlarge_scene(options.scene, scene, *SIZE, SCENE_S, RATE)
        else:
            write_scene(scene, *SIZE, SCENE_S, RATE)
        repeat_scene(scene, video, max(1, round(options.minutes * 60 / SCENE_S)))
        write_speech(speech, options.scene or SPEECH, options.minutes * 60)
        command = [sys.executable, "-m", "cals", "generate", "--face", str(video), "--audio", str(speech)]
        command += ["--out", str(out)]
        start = time.monotonic()
        process = subprocess.Popen(command)
        peak = watch_memory(process, options.log)
        if process.returncode:
            sys.exit(process.returncode)
        print(json.dumps({"wall_s": time.monotonic() - start, "peak_mb": int(peak), **measure_times(out)}, indent=1))


if __name__ == "__main__":
    main()
