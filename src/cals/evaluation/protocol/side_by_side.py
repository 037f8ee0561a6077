"""Side-by-side clips of an evaluation: the real face and every method's, with the driving sound."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from cals.evaluation.drives import RealClip
from cals.media.frame import Frame, from_planes
from cals.media.reader import VideoFormat, VideoReader
from cals.media.writer import VideoWriter
from cals.options import EncodeOptions
from cals.types import U8, Box

SIDE_PX, BAR_PX = 240, 28
LENGTH_S, FPS = 6, 25
_BOX_SCALE = 1.8
"""Side of the square around the face, over the longer side of the face's box."""
_FINE_CRF, _CRF = 12, 23
_INK, _PAPER = (32, 32, 32), (245, 245, 245)
_BT601, _LIMITED = 6, 1
"""H.273 codes of what cv2 makes of RGB."""


def write_view(path: Path, clip: RealClip, frames: Sequence[Frame]) -> None:
    """Write a video of the square around the face in `frames`, for `join_views` to put beside others."""
    count = max(int(min(clip.end_s, LENGTH_S) * FPS), 1)
    index = np.searchsorted(clip.starts_s, (np.arange(count) + 0.5) / FPS, side="right") - 1
    box, real = _find_square(clip), clip.frames[0].frame
    is_same_size = (frames[0].width, frames[0].height) == (real.width, real.height)
    pictures = (_fit_square(frames[i].rgb(box if is_same_size else None)) for i in index)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, pictures, (SIDE_PX, SIDE_PX), _FINE_CRF, None)


def join_views(path: Path, views: Mapping[str, Path], sound: Path) -> None:
    """Join views side by side under their names, as H.264 in 4:2:0 that browsers play, with the sound."""

    def pictures() -> Iterator[U8]:
        bar = np.concatenate([_draw_label(name) for name in views], axis=1)
        with ExitStack() as files:
            readers = [files.enter_context(VideoReader(view)) for view in views.values()]
            for frames in zip(*readers, strict=False):
                yield np.concatenate([bar, np.concatenate([frame.rgb() for frame in frames], axis=1)])

    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, pictures(), (SIDE_PX * len(views), SIDE_PX + BAR_PX), _CRF, sound)


def _find_square(clip: RealClip) -> Box:
    """Find a square that holds the face in all frames, within the picture."""
    picture = clip.frames[0].frame
    boxes = np.array([item.face.box for item in clip.frames if item.face.box is not None], dtype=np.float64)
    x, y = np.median((boxes[:, :2] + boxes[:, 2:]) / 2, axis=0)
    length = _BOX_SCALE * float(np.median((boxes[:, 2:] - boxes[:, :2]).max(axis=1)))
    side = int(min(length, picture.width, picture.height))
    left = int(np.clip(x - side / 2, 0, picture.width - side))
    top = int(np.clip(y - side / 2, 0, picture.height - side))
    return Box(left, top, left + side, top + side)


def _fit_square(rgb: U8) -> U8:
    """Scale a picture and centre it in a square of `SIDE_PX`."""
    scale = SIDE_PX / max(rgb.shape[:2])
    height, width = (max(round(scale * size), 1) for size in rgb.shape[:2])
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    square = np.full((SIDE_PX, SIDE_PX, 3), _PAPER, np.uint8)
    top, left = (SIDE_PX - height) // 2, (SIDE_PX - width) // 2
    square[top : top + height, left : left + width] = small
    return square


def _draw_label(name: str) -> U8:
    bar = np.full((BAR_PX, SIDE_PX, 3), _PAPER, np.uint8)
    cv2.putText(bar, name[:26], (8, BAR_PX - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    return bar


def _write(path: Path, pictures: Iterable[U8], size: tuple[int, int], crf: int, sound: Path | None) -> None:
    video_format = VideoFormat(
        width=size[0],
        height=size[1],
        pix_fmt="yuv420p",
        time_base=Fraction(1, FPS),
        rate=Fraction(FPS),
        colorspace=_BT601,
        color_range=_LIMITED,
    )
    tags = {"comment": "Made by cals evaluate: apart from 'real', the mouths in this video were generated."}
    with VideoWriter(
        path, video_format, audio=sound, encode=EncodeOptions(codec="h264", crf=crf), force=True, metadata=tags
    ) as writer:
        for index, rgb in enumerate(pictures):
            writer.write(_build_frame(rgb, index))


def _build_frame(rgb: U8, index: int) -> Frame:
    height, width = rgb.shape[:2]
    flat = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2YUV_I420).reshape(-1)
    luma, chroma = width * height, width * height // 4
    y, u, v = np.split(flat, [luma, luma + chroma])
    half = (height // 2, width // 2)
    picture = from_planes((y.reshape(height, width), u.reshape(half), v.reshape(half)), "yuv420p")  # type: ignore[arg-type]
    return Frame(picture, index, Fraction(index, FPS), Fraction(1, FPS))
