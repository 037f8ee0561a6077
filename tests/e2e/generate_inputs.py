"""Inputs of the tests of `cals generate`, and what they all look at."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cals.cli import main
from cals.media.reader import VideoReader

EXAMPLES = Path(__file__).parents[2] / "examples"
FACE, SPEECH = EXAMPLES / "astronaut.jpg", EXAMPLES / "speech.wav"
SHORT_FRAMES = 25
"""Frames that the first second of the speech drives."""


def read_times_s(path: Path) -> list[Fraction]:
    with VideoReader(path) as reader:
        return [frame.time_s for frame in reader]


def write_video_with_gap(path: Path, rate: Fraction, gap: range, frames: int) -> None:
    """Write a video of the drifting photo, with grey frames in `gap`."""
    with VideoReader(FACE) as photo:
        picture = next(photo).rgb()[:320, :400]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = 400, 320, "yuv420p"
        for i in range(frames):
            image = np.full_like(picture, 90) if i in gap else np.roll(picture, i // 4, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")))
        container.mux(stream.encode(None))


def run_failing(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 1) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err
