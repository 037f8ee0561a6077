"""Cost of every stage but the network: ms a frame, frames/s and peak memory, by picture size and length.

    python benchmarks/pipeline.py [--seconds 30 600] [--sizes 640x360 1280x720 1920x1080] [--runtime litert]

Every row runs in a process of its own, so that its peak memory is its own. Stages are timed where the main thread
waits for them; decoding and encoding go on in the background, so `all` is less than their sum would be alone.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scenes import repeat_scene, write_scene

SCENE_S = 30
STAGES = ("decode", "track", "align", "paste", "encode")


class Stopwatch:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - start


def run(video: Path, out: Path, runtime: str) -> dict[str, float]:
    """The whole way of one video, every face pasted back unchanged."""
    from cals import hub
    from cals.face.align import Aligner, sample_crop
    from cals.face.detector import BlazeFaceMesh, FaceModels
    from cals.face.mask import build_lower_face_mask
    from cals.face.paste import paste
    from cals.face.tracker import FaceTracker
    from cals.media.reader import VideoReader
    from cals.media.writer import VideoWriter

    tracker = FaceTracker(BlazeFaceMesh(FaceModels(*hub.read_face_models()), runtime=runtime))
    aligner, watch, frames, faces = Aligner(), Stopwatch(), 0, 0
    start = time.perf_counter()
    with VideoReader(video) as reader, VideoWriter(out, reader.format, force=True) as writer:
        while True:
            with watch("decode"):
                frame = next(reader, None)
            if frame is None:
                break
            frames += 1
            with watch("track"):
                face = tracker.update(frame, frame.time_s, frame.index)
            if face.valid:
                faces += 1
                with watch("align"):
                    transform = aligner.update(face)
                    pixels = sample_crop(frame, transform)
                    mask = build_lower_face_mask(
                        transform.map_landmarks(face.landmarks), transform, frame.width, frame.height
                    )
                with watch("paste"):
                    frame = frame.with_patch(paste(frame, transform, pixels, pixels, mask))
            with watch("encode"):
                writer.write(frame)
    wall_s = time.perf_counter() - start
    row = {stage: 1000 * watch.seconds[stage] / frames for stage in STAGES}
    row |= {"all": 1000 * wall_s / frames, "frames/s": frames / wall_s, "faces": faces / frames}
    return row | {"peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    """Print one row a size and length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", nargs="+", type=int, default=[30, 600])
    parser.add_argument("--sizes", nargs="+", default=["640x360", "1280x720", "1920x1080"])
    parser.add_argument("--runtime", default="auto", choices=["auto", "cv2", "litert"])
    parser.add_argument("--worker", nargs=2, metavar=("IN", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(run(Path(options.worker[0]), Path(options.worker[1]), options.runtime)))
        return
    columns = [*STAGES, "all", "frames/s", "faces", "peak MB"]
    print("size       length  " + "".join(f"{name:>10}" for name in columns) + "   (stages and all in ms a frame)")
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            width, height = map(int, size.split("x"))
            scene = Path(folder) / f"{size}.mp4"
            write_scene(scene, width, height, min(SCENE_S, *options.seconds))
            for seconds in options.seconds:
                video = Path(folder) / f"{size}-{seconds}.mp4"
                repeat_scene(scene, video, max(1, seconds // SCENE_S))
                command = [sys.executable, __file__, "--runtime", options.runtime]
                command += ["--worker", str(video), str(Path(folder) / "out.mp4")]
                row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                print(f"{size:<10} {seconds:>4} s  " + "".join(f"{row[name]:>10.2f}" for name in columns), flush=True)
                video.unlink()


if __name__ == "__main__":
    main()
