"""Every file of a folder through `cals generate`, as a user would: what breaks, hangs, or comes out wrong.

A file with pictures is the face, one with sound alone the speech; `--face` and `--audio` are the missing half. Every
file is looked at and run in processes of their own, with a time limit. One line a file, and the bad ones again at the
end; exit 1 if there are any.
Run: python benchmarks/cases.py DIR [--limit-s 300] [--only NAME ...]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

EXAMPLES = Path(__file__).parents[1] / "examples"
SOUND_SUFFIXES = (".wav", ".mp3", ".m4a", ".ogg", ".opus", ".flac", ".amr", ".aac")
COVERS = Disposition.attached_pic | Disposition.timed_thumbnails
PROBE_LIMIT_S = 60
PHOTO_PX, PHOTO_RATE = 4096, 25.0
TOLERANCE_S = 0.1
"""How far the length of picture and sound may be from the speech's."""
RATE_SHARE = 0.15
"""How far the output's frame rate may be from the face's; a variable rate has no more than a usual one."""


@dataclass
class Facts:
    """What a file holds, as far as PyAV can tell without `cals`."""

    size: tuple[int, int] | None = None
    frames: int = 0
    rate: float = 0.0
    """By the median step, which holes do not change."""
    seconds: float = 0.0
    """From the first picture until the last one ends."""
    sound_s: float = 0.0
    loudness: float = 0.0
    """Root mean square of the loudest block, where 1 is full scale."""


@dataclass
class Result:
    """One run: what was seen of it and what is wrong with that."""

    name: str
    status: int | None
    wall_s: float
    peak_mb: float
    lines: list[str]
    probe: str = ""
    faults: list[str] = field(default_factory=list)

    def row(self) -> str:
        said = f"{len(self.lines)}: {self.lines[-1][:160]}" if self.lines else "0"
        status = "-" if self.status is None else str(self.status)
        faults = ", ".join(self.faults) or "ok"
        cells = [
            ascii(self.name)[1:-1][:40],
            status,
            f"{self.wall_s:.1f}",
            f"{self.peak_mb:.0f}",
            said,
            self.probe,
            faults,
        ]
        return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


HEAD = "| file | exit | s | MB | lines on stderr: the last | output | verdict |\n|---|---|---|---|---|---|---|"


def probe(path: Path) -> Facts:
    """Count pictures and sound by decoding all of them."""
    facts = Facts()
    with av.open(f"file:{path}") as container:
        moving = [stream for stream in container.streams.video if not stream.disposition & COVERS]
        video = max(moving, key=lambda stream: stream.frames, default=None)
        audio = next(iter(container.streams.audio), None)
        times: list[float] = []
        for stream in (video, audio):
            if stream is None:
                continue
            container.seek(0) if times else None
            packets = [packet for packet in container.demux(stream) if packet.size]
            for packet in [*packets, None]:
                for frame in stream.decode(packet):
                    if stream is audio:
                        facts.sound_s += frame.samples / frame.sample_rate
                        facts.loudness = max(facts.loudness, _loudness(frame))
                        continue
                    facts.frames += 1
                    # The last pictures come without the time base that `frame.time` needs.
                    times.append(float((frame.pts or 0) * stream.time_base))
                    facts.size = facts.size or _upright(frame)
                    facts.seconds = times[-1] - times[0] + float((frame.duration or 0) * stream.time_base)
        if len(times) > 1 and times[-1] > times[0]:
            facts.rate = 1 / max(1e-6, float(np.median(np.diff(times))))
    return facts


def _loudness(block: av.AudioFrame) -> float:
    samples = block.to_ndarray()
    if samples.dtype.kind != "f":
        middle = 128 if samples.dtype.kind == "u" else 0
        samples = (samples.astype(np.float64) - middle) / float(1 << (8 * samples.dtype.itemsize - 1))
    return float(np.sqrt((samples.astype(np.float64) ** 2).mean()))


def _upright(frame: av.VideoFrame) -> tuple[int, int]:
    try:
        turned = frame.rotation % 180
    except ValueError:  # side data that PyAV has no name for
        turned = 0
    return (frame.height, frame.width) if turned else (frame.width, frame.height)


def _as_photo(path: Path) -> tuple[int, int] | None:
    """The size of a still image as it is to be seen, by Pillow; None for what moves or is no image to it."""
    try:
        from PIL import Image, ImageOps

        Image.MAX_IMAGE_PIXELS = None
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1 and image.format != "WEBP":
                return None
            width, height = ImageOps.exif_transpose(image).size
    except (ImportError, OSError, ValueError):
        return None
    scale = min(1.0, PHOTO_PX / max(width, height))
    return round(width * scale), round(height * scale)


def probe_as_face(path: Path) -> Facts:
    """`probe`, where a still image is one picture of what players show of it, as `cals` takes it."""
    facts = probe(path)
    photo = _as_photo(path)
    if photo is not None:
        facts.size, facts.frames, facts.rate = photo, 1, PHOTO_RATE
    return facts


def probe_apart(path: Path) -> Facts | None:
    """`probe_as_face` in a process of its own; None where it fails or takes too long."""
    command = [sys.executable, __file__, "--probe", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_LIMIT_S, check=True)
    except (subprocess.SubprocessError, OSError):
        return None
    facts = Facts(**json.loads(done.stdout))
    facts.size = tuple(facts.size) if facts.size else None
    return facts


def run(command: list[str], limit_s: float) -> tuple[int | None, float, float, list[str]]:
    """Exit status (None: had to be killed), seconds, peak MB and lines on stderr of a command."""
    started = time.monotonic()
    environment = os.environ | {"COLUMNS": "1000", "TERM": "dumb"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env=environment
        )
        status = None
        while time.monotonic() - started < limit_s:
            pid, ended, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                status = os.waitstatus_to_exitcode(ended)
                break
            time.sleep(0.05)
        else:
            process.kill()
            _, _, usage = os.wait4(process.pid, 0)
        process.returncode = status or 0  # it is waited for already
        errors.seek(0)
        lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    return status, time.monotonic() - started, usage.ru_maxrss / 1024, lines


def try_file(path: Path, face: Path, audio: Path, limit_s: float) -> Result:
    """Run one file and compare what came out with what went in."""
    facts = probe_apart(path)
    is_speech = path.suffix.lower() in SOUND_SUFFIXES if facts is None else not facts.frames and facts.sound_s > 0
    used_face, used_audio = (face, path) if is_speech else (path, audio)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mp4"
        pair = ["--face", str(used_face), "--audio", str(used_audio), "--out", str(out)]
        result = Result(path.name, *run([sys.executable, "-m", "cals", "generate", *pair], limit_s))
        check_end(result, out)
        if result.status == 0:
            compare_output(result, probe_apart(out), probe_apart(used_face), probe_apart(used_audio))
    return result


def check_end(result: Result, out: Path) -> None:
    """Note how a run should not have ended, and what it should not have left beside `out`, alone in its folder."""
    text = "\n".join(result.lines)
    if result.status is None:
        result.faults.append("HANG")
    elif result.status < 0:
        result.faults.append(f"CRASH {-result.status}")
    elif "Traceback" in text or "should have foreseen" in text:
        result.faults.append("TRACE")
    if any(not line.startswith("cals: ") for line in result.lines) and result.status:
        result.faults.append("wordy error")
    left = [entry.name for entry in out.parent.iterdir() if entry != out]
    if left:
        result.faults.append(f"left {len(left)} file(s)")
    if result.status != 0 and out.exists():
        result.faults.append("an output in spite of an error")


def compare_output(result: Result, out: Facts | None, face: Facts | None, audio: Facts | None) -> None:
    """Note where the output is not as long, as fast, as large or as loud as what it is made of."""
    if out is None or not out.frames or out.size is None:
        result.faults.append("output cannot be read")
        return
    seconds = out.seconds
    result.probe = f"{out.size[0]}x{out.size[1]}, {out.frames} frames, {seconds:.2f} s, sound {out.sound_s:.2f} s"
    if face is not None and face.size is not None:
        # Odd sides are padded where chroma is thinned.
        if any(new not in (old, old + old % 2) for new, old in zip(out.size, face.size, strict=True)):
            result.faults.append(f"size, not {face.size[0]}x{face.size[1]}")
        if face.rate and out.rate and abs(out.rate / face.rate - 1) > RATE_SHARE:
            result.faults.append(f"{out.rate:.1f} frames/s, not {face.rate:.1f}")
    if audio is not None and audio.sound_s:
        step_s = max(1 / out.rate if out.rate else 0.0, TOLERANCE_S)
        if abs(seconds - audio.sound_s) > step_s:
            result.faults.append(f"{seconds:.2f} s, not {audio.sound_s:.2f}")
        if abs(out.sound_s - audio.sound_s) > step_s:
            result.faults.append(f"{out.sound_s:.2f} s of sound, not {audio.sound_s:.2f}")
        if audio.loudness > 0.01 and out.loudness < audio.loudness / 10:
            result.faults.append("sound lost")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--probe", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--face", type=Path, default=EXAMPLES / "astronaut.jpg")
    parser.add_argument("--audio", type=Path, default=EXAMPLES / "speech.wav")
    parser.add_argument("--limit-s", type=float, default=300)
    parser.add_argument("--only", nargs="*", help="names to try; all without")
    args = parser.parse_args()
    if args.probe is not None:
        print(json.dumps(vars(probe_as_face(args.probe))))
        return
    if args.folder is None:
        parser.error("expected a folder")
    names = [path for path in sorted(args.folder.iterdir()) if not path.is_dir()]
    chosen = [path for path in names if not args.only or path.name in args.only]
    print(HEAD, flush=True)
    bad = []
    for path in chosen:
        result = try_file(path, args.face, args.audio, args.limit_s)
        print(result.row(), flush=True)
        if result.faults:
            bad.append(result)
    print(f"\n{len(chosen)} files, {len(bad)} bad\n")
    if bad:
        print(HEAD, *(result.row() for result in bad), sep="\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
