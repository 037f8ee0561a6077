"""Broken files of many kinds into the reader: it may refuse them, but not hang, crash or raise anything else.

Files are read in processes of their own, so that a crash is seen, with limits on processor time and memory.
Run: python benchmarks/fuzz_media.py --files 10000 [--minutes 5] [--seed 0]
"""

import argparse
import math
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import cv2
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from drawing import picture, tones, write_audio, write_video, write_wav

CPU_LIMIT_S = 60
"""Processor time for a batch, which takes a few seconds: beyond it one of its files hangs."""
WALL_LIMIT_S = 600
"""Beyond it something waits forever; no less, since other work may slow the machine."""
BATCH = 24
BOUND_BYTES = 6 << 30

CHILD = """
import itertools, logging, resource, sys
from fractions import Fraction
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)
logging.disable(logging.CRITICAL)
from cals.errors import CalsError
from cals.media import VideoReader, fit_length, load_mono, probe
def video(path, keep_going):
    with VideoReader(path, keep_going=keep_going) as reader:
        for frame in itertools.islice(reader, 400):
            frame.luma(16, 16)
            frame.rgb()
def bounced(path):
    for frame in itertools.islice(fit_length(path, "bounce", Fraction(6), keep_going=True), 400):
        frame.luma(16, 16)
uses = (lambda p: video(p, False), lambda p: video(p, True), bounced, probe, lambda p: load_mono(p, keep_going=True))
for path in sys.argv[3:]:
    for number, use in enumerate(uses):
        print("at", path, number, flush=True)
        try:
            use(path)
            print("read", flush=True)
        except CalsError as error:
            print("refused" if len(str(error).splitlines()) == 1 else "WORDY", flush=True)
        except BaseException as error:
            print("ODD", type(error).__name__, str(error)[:200].replace(chr(10), " "), flush=True)
"""


def draw_sources(folder: Path) -> list[Path]:
    """Small whole files of every container and codec worth breaking."""
    sound = tones(1.6, 48_000, 2)
    kinds = {
        "a.mp4": {},
        "fast.mp4": {"container_options": {"movflags": "+faststart"}},
        "frag.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
        "a.mov": {"codec": "mpeg4"},
        "a.mkv": {},
        "hevc.mkv": {"codec": "libx265", "options": {"x265-params": "keyint=10:log-level=none"}},
        "a.webm": {
            "codec": "libvpx-vp9",
            "options": {"g": "10", "deadline": "realtime", "cpu-used": "8"},
            "sound_codec": "libopus",
        },
        "a.avi": {"codec": "mpeg4", "sound_codec": "libmp3lame"},
        "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "sound_codec": "pcm_s16le"},
        "a.mpg": {"codec": "mpeg2video", "sound_codec": "mp2", "rate": 25},
        "a.ts": {},
        "ffv1.mkv": {"codec": "ffv1", "pix_fmt": "yuv444p", "sound_codec": "flac"},
        "clear.webm": {
            "codec": "libvpx-vp9",
            "pix_fmt": "yuva420p",
            "options": {"g": "10", "deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0"},
            "sound_codec": "libopus",
            "set_up": lambda stream: stream.metadata.update(alpha_mode="1"),
        },
        "clear.mov": {"codec": "prores_ks", "pix_fmt": "yuva444p10le", "options": {"profile": "4444"}},
    }
    files = []
    for name, options in kinds.items():
        options.setdefault("options", {"g": "10"})
        files.append(
            write_video(
                folder / name, rate=options.pop("rate", Fraction(30000, 1001)), frames=45, sound=sound, **options
            )
        )
    for name, codec in (
        ("a.m4a", "aac"),
        ("a.mp3", "libmp3lame"),
        ("a.wav", "pcm_s16le"),
        ("a.flac", "flac"),
        ("a.ogg", "libopus"),
    ):
        files.append(write_audio(folder / name, sound, codec=codec))
    files.append(write_wav(folder / "surround.wav", tones(0.4, 48_000, 8), 48_000))
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".tiff"):
        files.append(folder / f"photo{suffix}")
        cv2.imwrite(str(files[-1]), picture(1, (160, 120)))
    images = [Image.fromarray(picture(i, (160, 120))) for i in range(6)]
    for name in ("still.gif", "still.avif"):
        images[0].save(folder / name)
        files.append(folder / name)
    for name in ("moving.gif", "moving.avif", "moving.png"):
        images[0].save(folder / name, save_all=True, append_images=images[1:], duration=100)
        files.append(folder / name)
    return files


def flip_bits(data: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 4, 30, 300))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def truncate(data: bytearray, rng: random.Random) -> bytearray:
    return data[: rng.randrange(1, len(data))]


def duplicate_part(data: bytearray, rng: random.Random) -> bytearray:
    start = rng.randrange(len(data))
    part = data[start : start + rng.randrange(1, 4000)]
    place = rng.randrange(len(data))
    return data[:place] + part * rng.randrange(1, 4) + data[place:]


def drop_part(data: bytearray, rng: random.Random) -> bytearray:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randrange(1, 4000) :]


def garble_head(data: bytearray, rng: random.Random) -> bytearray:
    start = rng.randrange(min(256, len(data)))
    for place in range(start, min(len(data), start + rng.randrange(1, 24))):
        data[place] = rng.choice((0, 255, rng.randrange(256)))
    return data


def garble_tail(data: bytearray, rng: random.Random) -> bytearray:
    # The index of an mp4 stands at its end.
    for _ in range(rng.choice((1, 3, 10))):
        data[rng.randrange(max(0, len(data) - 3000), len(data))] = rng.choice((0, 127, 255))
    return data


MUTATIONS = (flip_bits, truncate, duplicate_part, drop_part, garble_head, garble_tail)


def mutants(sources: list[Path], folder: Path, rng: random.Random, count: int) -> list[Path]:
    """`count` broken copies, named after source and mutation."""
    made = []
    for number in range(count):
        source, mutation = rng.choice(sources), rng.choice(MUTATIONS)
        path = folder / f"{number:03d}_{mutation.__name__}_{source.name}"
        path.write_bytes(bytes(mutation(bytearray(source.read_bytes()), rng)) or b"x")
        made.append(path)
    return made


def judge(paths: list[Path]) -> list[tuple[Path, str]]:
    """What became of each file: read, refused, or the trouble it made."""
    command = [sys.executable, "-c", CHILD, str(BOUND_BYTES), str(CPU_LIMIT_S), *map(str, paths)]
    trouble = ""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL)
        try:
            code = process.wait(timeout=WALL_LIMIT_S)
            trouble = "HANG" if -code in (signal.SIGXCPU, signal.SIGKILL) else f"CRASH {code}" if code else ""
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            trouble = "HANG"
        said.seek(0)
        lines = said.read().splitlines()
    verdicts, path = [], paths[0]
    for line in lines:
        if line.startswith("at "):
            path = Path(line.split(" ")[1])
        else:
            verdicts.append((path, line))
    if trouble:
        verdicts.append((path, f"{trouble} in {lines[-1] if lines else 'nothing'}"))
    return verdicts


def fuzz(minutes: float, files: int, seed: int, keep: Path | None = None) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Break and read so many files, or for that long; counts by (mutation, verdict), and every trouble in words."""
    rng = random.Random(seed)
    counts: Counter[tuple[str, str]] = Counter()
    troubles = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        sources = draw_sources(folder)
        (folder / "broken").mkdir()
        ends, done = time.monotonic() + 60 * minutes, 0
        while time.monotonic() < ends and done < files:
            paths = mutants(sources, folder / "broken", rng, min(BATCH, files - done))
            done += len(paths)
            for path, verdict in judge(paths):
                kind = verdict.split(" ")[0]
                counts[path.name.split("_", 1)[1].rsplit("_", 1)[0], kind] += 1
                if kind not in ("read", "refused"):
                    troubles.append(f"{path.name}: {verdict}")
                    if keep is not None:
                        (keep / f"{len(troubles):03d}_{path.name}").write_bytes(path.read_bytes())
            for path in paths:
                path.unlink()
            if done % (50 * BATCH) < BATCH:
                print(f"{done} files, {len(troubles)} troubles", file=sys.stderr)
    return counts, troubles


def main() -> None:
    """Fuzz for some minutes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that made trouble")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    counts, troubles = fuzz(options.minutes, options.files, options.seed, options.keep)
    print(f"{'mutation':16s} {'read':>7s} {'refused':>8s} {'trouble':>8s}")
    for name in sorted({mutation for mutation, _ in counts}):
        good, refused = counts[name, "read"], counts[name, "refused"]
        trouble = sum(n for (mutation, _), n in counts.items() if mutation == name) - good - refused
        print(f"{name:16s} {good:7d} {refused:8d} {trouble:8d}")
    print(f"{sum(counts.values())} readings, {len(troubles)} troubles")
    for line in troubles:
        print(line)
    sys.exit(bool(troubles))


if __name__ == "__main__":
    main()
