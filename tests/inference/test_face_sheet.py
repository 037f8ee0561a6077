"""Contact sheets: evenly spaced, bounded in memory, faces in their place, whole or not at all."""

import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from cals.cli import main
from cals.errors import ConfigError, MediaError, NoFaceError
from cals.face.draw import render_contact_sheet
from cals.inference.sheet import CELL_PX, FaceRow, crop_face, write_sheet
from cals.media.frame import Frame
from cals.types import F32, U8, TrackedFace
from drawing import write_video

EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTO, CLIP = EXAMPLES / "astronaut.jpg", EXAMPLES / "grid-s20.mp4"
NOBODY = np.zeros((0, 3), np.float32)


def draw_frames(count: int, rate: int = 25) -> Iterator[Frame]:
    rgb = np.full((48, 64, 3), 90, np.uint8)
    for i in range(count):
        picture = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")
        yield Frame(picture, i, Fraction(i, rate), Fraction(1, rate))


def build_face(frame: Frame, landmarks: F32 = NOBODY) -> TrackedFace:
    return TrackedFace(frame.index, frame.time_s, len(landmarks) > 0, 0, False, 1.0, None, landmarks)


def build_row(count: int, columns: int) -> FaceRow:
    row = FaceRow(columns)
    for frame in draw_frames(count):
        row.add(frame, build_face(frame))
    return row


@pytest.mark.parametrize("count", [10, 75, 80, 81, 168, 1000, 2561])
def test_frames_are_evenly_spaced_over_any_length(count: int) -> None:
    _, labels = build_row(count, 10).build_cells()
    times_s = [float(label.split()[0]) for label in labels]
    length_s = count / 25
    middles = (np.arange(10) + 0.5) * length_s / 10
    assert np.abs(np.array(times_s) - middles).max() <= length_s / 10 / 4 + 0.025  # a quarter of a column, or a frame
    assert len(set(times_s)) == 10


def test_memory_does_not_grow_with_the_stream() -> None:
    def measure_peak(count: int) -> int:
        tracemalloc.start()
        build_row(count, 4)
        measure_peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return measure_peak

    assert measure_peak(640) < 1.1 * measure_peak(64)


def test_a_short_video_leaves_columns_white() -> None:
    pictures, labels = build_row(3, 5).build_cells("a-very-long-name")
    assert labels == ["a-very-long- 0.00 s no face", "0.04 s no face", "0.08 s no face", "", ""]
    assert [picture.min() == 255 for picture in pictures] == [False] * 3 + [True] * 2
    assert all(picture.shape == (CELL_PX, CELL_PX, 3) for picture in pictures)


def test_a_frame_without_a_face_is_shown_whole() -> None:
    frame = next(draw_frames(1))
    cell = crop_face(frame, build_face(frame))
    assert np.abs(cell[28:-28].astype(int) - 90).max() <= 2
    assert cell[:26].min() == 255
    assert cell[-26:].min() == 255


def cut_cells(sheet: U8, columns: int, row: int) -> list[U8]:
    """Return the cells of one row, without the gaps between."""
    step = CELL_PX + 4
    return [sheet[4 + row * step :, 4 + i * step :][:CELL_PX, :CELL_PX] for i in range(columns)]


def test_a_row_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "two.png"
    main(["sheet", str(PHOTO), str(CLIP), "--out", str(out), "--columns", "4"])
    assert str(out) in capsys.readouterr().out
    sheet = np.asarray(cv2.imread(str(out)))[..., ::-1]
    assert sheet.shape == render_contact_sheet([np.zeros((CELL_PX, CELL_PX, 3), np.uint8)] * 8, 4).shape
    photo, *blank = cut_cells(sheet, 4, 0)
    assert all(cell.min() == 255 for cell in blank)
    for cell in [photo, *cut_cells(sheet, 4, 1)]:
        eyes, cheeks = cell[70:86, 66:150].astype(int), cell[100:116, 66:150].astype(int)
        assert eyes.mean() < cheeks.mean() - 15  # upright, the eyes where they belong
    clip = cut_cells(sheet, 4, 1)
    mouth = slice(134, 184), slice(76, 140)
    assert max(np.abs(a[mouth].astype(int) - clip[0][mouth]).mean() for a in clip[1:]) > 3  # she speaks


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    write_video(tmp_path / "nobody.mp4", frames=4)
    out = tmp_path / "sheet.png"
    with pytest.raises(NoFaceError, match=r"nobody\.mp4"):
        write_sheet([PHOTO, tmp_path / "nobody.mp4"], out)
    assert [path.name for path in tmp_path.iterdir()] == ["nobody.mp4"]
    out.write_bytes(b"mine")
    with pytest.raises(MediaError, match="force"):
        write_sheet([PHOTO], out)
    assert out.read_bytes() == b"mine"
    write_sheet([PHOTO], out, force=True)
    assert out.read_bytes()[:4] == b"\x89PNG"


def test_bad_usage_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ending in .png"):
        write_sheet([PHOTO], tmp_path / "sheet.jpg")
    with pytest.raises(ConfigError, match="one or more videos"):
        write_sheet([], tmp_path / "sheet.png")
    with pytest.raises(ConfigError, match="columns: expected 1 or more"):
        write_sheet([PHOTO], tmp_path / "sheet.png", columns=0)
    assert not list(tmp_path.iterdir())
