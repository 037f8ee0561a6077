"""A clip of the photo whose mouth opens with the loudness of a tone."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

PHOTO = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
FRAMES = 40


def write_talking_clip(
    path: Path,
    late: int = 0,
    seed: int = 0,
    frames: int = FRAMES,
    gap: range = range(0),
    *,
    silent: bool = False,
    beside: bool = False,
) -> None:
    """Write a clip of the photo, its mouth stretched by the loudness of a tone `late` frames late; no face in `gap`.

    `silent` leaves the sound out; `beside` shows the photo as it is to the left of the talking one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    photo = cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB)[:320, 64:384]
    steps = np.random.default_rng(seed).normal(size=frames + 4)
    level = np.clip(np.convolve(steps, np.ones(5) / 5, mode="valid")[:frames] * 1.5 + 0.5, 0, 1)
    rows, columns = np.mgrid[0:320, 0:320].astype(np.float32)
    tone = 0.5 * np.sin(2 * np.pi * 220 * np.arange(640 * frames) / 16000)
    wav = tone * np.repeat(np.roll(level, late), 640)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "12"})
        video.width, video.height, video.pix_fmt = 640 if beside else 320, 320, "yuv420p"
        audio = None if silent else container.add_stream("aac", rate=16000, layout="mono")
        for i in range(frames):
            pull = 14 * level[i] * np.exp(-(((rows - 158) / 9) ** 2) - ((columns - 160) / 16) ** 2)
            image = cv2.remap(photo, columns, (rows - pull * (rows > 146)).astype(np.float32), cv2.INTER_LINEAR)
            image = np.full_like(image, 90) if i in gap else image
            image = np.hstack([photo, image]) if beside else image
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(video.encode(None))
        if audio is None:
            return
        frame = av.AudioFrame.from_ndarray(wav[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
