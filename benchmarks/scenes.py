"""Videos to measure on: a photographed face that moves, at any size and length, made on the spot."""

from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

import av
import cv2
import numpy as np

FACE = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
SPEECH = Path(__file__).parents[1] / "examples" / "speech.wav"


def write_scene(path: Path, width: int, height: int, seconds: float, rate: Fraction = Fraction(25)) -> None:
    """A face of a third of the height that drifts, turns and breathes over a noisy background."""
    face = cv2.cvtColor(cv2.imread(str(FACE)), cv2.COLOR_BGR2RGB)
    rng = np.random.default_rng(0)
    grain = [rng.normal(0, 2.0, (height, width, 1)).astype(np.float32) for _ in range(4)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(int(seconds * rate)):
            t = i / float(rate)
            scale = height / 512 * (1 + 0.03 * np.sin(1.1 * t))
            matrix = cv2.getRotationMatrix2D((225, 120), 4 * np.sin(0.9 * t), scale)
            matrix[:, 2] += (width / 2 - 225 + 0.02 * width * np.sin(0.7 * t), height * 0.4 - 120)
            image = cv2.warpAffine(face, matrix, (width, height), borderMode=cv2.BORDER_REFLECT).astype(np.float32)
            image = np.clip(image + grain[i % 4], 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))


def enlarge_scene(
    source: Path, path: Path, width: int, height: int, seconds: float, rate: Fraction = Fraction(25)
) -> None:
    """Frames of any video forwards and backwards, enlarged, as one scene in which nothing jumps."""
    with av.open(str(source)) as container:
        frames = [frame.reformat(width, height, "yuv420p") for frame in container.decode(video=0)]
    order = [*frames, *frames[-2:0:-1]]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index, frame in enumerate(islice(cycle(order), int(seconds * rate))):
            copy = av.VideoFrame.from_ndarray(frame.to_ndarray(), "yuv420p")
            copy.pts, copy.time_base = index, 1 / rate
            out.mux(stream.encode(copy))
        out.mux(stream.encode(None))


def repeat_scene(source: Path, path: Path, times: int) -> None:
    """The same packets `times` over, without encoding again."""
    with av.open(str(path), "w") as out:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(source)) as video:
                template = video.streams.video[0]
                stream = stream or out.add_stream_from_template(template)
                end = 0
                for packet in video.demux(template):
                    if packet.dts is None:
                        continue
                    end = max(end, packet.pts + packet.duration)
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    out.mux(packet)
            shift += end
