"""Odd inputs of users through `cals generate`: each gives the right video and says the right lines, or none of either.

What other tests show from end to end is not repeated here: several sound tracks, choppy videos and files cut short
(`tests/e2e/test_generate_media.py`), an output that exists (`test_generate_refused.py`), misspelt commands, names
that start with a dash and `--version` (`tests/cli/test_main.py`).
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pytest
import recipes
from case_run import CaseRun, call, run_case
from recipes import BLACK_FRAMES, BYSTANDER_COLUMNS, COVERED, FRAMES, GRID, HIDDEN, PHOTO, SIZE

from cals.media.reader import VideoReader
from cals.types import U8

pytestmark = pytest.mark.slow

NO_MOUTH = r"no mouth was drawn, every frame is as it was: 25 "
VIDEO_LENGTH = ("--length", "video")


@dataclass(frozen=True, kw_only=True)
class Case:
    """An odd input, and what comes of it beside a second of speech or the person's clip."""

    make: Callable[[Path], Path]
    frames: int = FRAMES
    rate: float = 25
    size: tuple[int, int] = SIZE
    lines: tuple[str, ...] = ()
    """What each line on stderr ends with or contains."""
    passed: dict[str, int] = field(default_factory=dict)
    """Frames that keep their pixels, by reason; all others are generated."""
    options: tuple[str, ...] = ()


FACES = [
    Case(make=recipes.sound_is_stream_0),
    Case(make=recipes.webcam_without_default_duration, options=VIDEO_LENGTH),
    Case(make=recipes.turned_phone),
    Case(
        make=recipes.joined_recordings_of_two_sizes,
        frames=2 * FRAMES,
        lines=(
            "joined.ts: pictures go from 360x288 to 240x192; scaled to the first size",
            "joined.ts: no usable time stamp at 1 of its pictures; gave new ones",
        ),
        options=VIDEO_LENGTH,
    ),
    Case(
        make=recipes.interlaced,
        lines=("the video is interlaced: the output is flagged so too, and mouths are drawn whole",),
    ),
    Case(make=recipes.microphone_before_mouth, passed={"covered": 25}, lines=(NO_MOUTH + "covered",)),
    Case(make=recipes.upside_down),
    Case(
        make=recipes.mouth_at_the_edge,
        passed={"cut by the picture's edge": 25},
        lines=(NO_MOUTH + "cut by the picture's edge",),
    ),
    Case(make=recipes.face_of_20_px, passed={"too small": 25}, lines=(NO_MOUTH + "too small",)),
    Case(make=recipes.still_avif),
    Case(make=recipes.still_gif),
    Case(make=recipes.palette_gif),
    Case(make=recipes.opaque_png_turned_by_exif),
    Case(make=recipes.clear_png_turned_by_exif),
    Case(make=recipes.heic_turned_by_exif),
    Case(make=recipes.moving_png_turned_by_exif, frames=10, rate=10),
    Case(make=recipes.motion_photo),
    Case(
        make=recipes.damaged_jpeg,
        lines=("damaged.jpg: the image is damaged (Corrupt JPEG data: ",),
    ),
    Case(
        make=recipes.photo_of_5000_px,
        size=(4096, 236),
        lines=("banner.png: 5000x288 px become 4096x236: --size 5000 would keep them",),
    ),
]
SOUNDS = [
    Case(make=recipes.recording_without_its_length),
    Case(
        make=recipes.stereo_with_one_side_inverted,
        lines=("inverted.wav: its channels cancel each other (one is inverted); hearing FL alone",),
    ),
    Case(make=recipes.phone_call_with_empty_frames),
]


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each line on stderr in one piece."""
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for inputs."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A place for the output, in an empty folder."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "out.mp4"


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of speech."""
    return recipes.speech(tmp_path_factory.mktemp("speech"))


def read_frames(path: Path) -> list[U8]:
    with VideoReader(path) as reader:
        return [frame.rgb() for frame in reader]


def check_case(case: Case, run: CaseRun) -> None:
    assert run.status == 0
    assert run.output is not None
    assert run.report is not None
    assert (run.output.frames, run.output.size) == (case.frames, case.size)
    assert run.output.rate == pytest.approx(case.rate, rel=0.03)
    assert run.report["passed_through"] == case.passed
    assert run.report["generated"] == case.frames - sum(case.passed.values())
    assert run.report["speech_s"] > 0.5
    assert len(run.lines) == len(case.lines), run.lines
    for line, part in zip(run.lines, case.lines, strict=True):
        assert line.startswith("WARNING")
        assert part in line


@pytest.mark.parametrize("case", FACES, ids=lambda case: case.make.__name__)
def test_a_face(case: Case, folder: Path, out: Path, speech: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if case.make is recipes.heic_turned_by_exif:
        pytest.importorskip("pillow_heif")
    path = case.make(folder)
    check_case(case, run_case(path, speech, out, capfd, *case.options))
    first = read_frames(out)[0].astype(int)
    if case.make is recipes.clear_png_turned_by_exif:
        assert first[:, -36:].min() > 250  # clear parts of photos lie over white
    elif case.size == SIZE and not case.passed:
        seen = recipes.load_person()[0].astype(int)
        seen = seen[::-1, ::-1] if case.make is recipes.upside_down else seen
        assert np.abs(first - seen)[:, :300].mean() < 6  # upright, and the same person
    if case.make is recipes.interlaced:
        with av.open(str(out)) as container:
            assert next(container.decode(video=0)).interlaced_frame


@pytest.mark.parametrize("case", SOUNDS, ids=lambda case: case.make.__name__)
def test_a_sound(case: Case, folder: Path, out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = run_case(GRID, case.make(folder), out, capfd)
    check_case(case, run)
    assert run.output is not None
    assert run.output.loudness > 0.1


def test_the_person_is_returned_to_after_a_second(
    folder: Path, out: Path, speech: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    video = recipes.person_hidden_beside_a_bystander(folder)
    run = run_case(video, speech, out, capfd, *VIDEO_LENGTH)
    assert run.lines == []
    spans = run.list_spans()
    assert [status for status, _ in spans] == ["generated", "no face", "generated"]
    assert spans[0][1] == HIDDEN.start
    assert 0 <= spans[1][1] - len(HIDDEN) <= 3  # a face is searched for now and then
    changes = [
        np.abs(after.astype(int) - before)[:, BYSTANDER_COLUMNS].max(initial=0)
        for before, after in zip(read_frames(video), read_frames(out), strict=True)
    ]
    assert max(changes) < 40  # the encoder's alone


def test_a_fade_from_black_begins_with_no_face(
    folder: Path, out: Path, speech: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = run_case(recipes.fade_from_black(folder), speech, out, capfd, *VIDEO_LENGTH)
    assert run.lines == []
    (dark, dark_frames), (seen, seen_frames) = run.list_spans()
    assert (dark, seen, dark_frames + seen_frames) == ("no face", "generated", 50)
    assert BLACK_FRAMES < dark_frames < BLACK_FRAMES + 8


def test_a_hand_before_the_mouth_is_left_there(
    folder: Path, out: Path, speech: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    video = recipes.hand_before_mouth(folder)
    run = run_case(video, speech, out, capfd, *VIDEO_LENGTH)
    assert run.lines == []
    covered = [i for i, status in enumerate(run.get_statuses()) if status != "generated"]
    assert set(run.get_statuses()) == {"generated", "covered"}
    assert set(covered) >= set(COVERED[1:-1])
    assert len(covered) <= len(COVERED) + 6
    (x, y), middle = recipes.MOUTH, COVERED[len(COVERED) // 2]
    before, after = (read_frames(path)[middle][y - 20 : y + 20, x - 40 : x + 20].astype(int) for path in (video, out))
    assert np.abs(after - before).mean() < 4


def test_a_drawn_face_is_none(folder: Path, out: Path, speech: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = run_case(recipes.drawn_face(folder), speech, out, capfd)
    assert run.status == 1
    assert len(run.lines) == 1
    assert "cartoon.mp4: expected a face, found none in any frame; use a picture" in run.lines[0]


def test_a_frozen_video_does_not_swing(folder: Path, out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    video = recipes.frozen(folder)
    tracked = out.with_name("faces.json")
    assert call(["track", str(video), "--out", str(tracked)]) == 0
    landmarks = np.array([frame["landmarks"] for frame in json.loads(tracked.read_text())["frames"]])
    assert len(landmarks) == 50
    assert np.ptp(landmarks[10:], axis=0).max() < 0.05
    for path in out.parent.iterdir():
        path.unlink()
    run = run_case(video, recipes.silence(folder), out, capfd, *VIDEO_LENGTH)
    assert run.get_statuses() == ["generated"] * 50
    assert run.lines == [run.lines[0]]
    assert "no speech was found" in run.lines[0]
    frames = read_frames(out)
    assert np.abs(frames[-1].astype(int) - frames[20]).mean() < 1  # nor does a mouth at rest


@pytest.mark.parametrize(
    ("source", "name", "is_kept"),
    [("vp9.webm", "out.webm", True), ("prores.mov", "out.mov", True), ("vp9.webm", "out.mp4", False)],
)
def test_transparency_is_kept_or_its_loss_is_said(
    source: str, name: str, is_kept: bool, folder: Path, out: Path, speech: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    codec = {"vp9.webm": ("libvpx-vp9", "yuva420p"), "prores.mov": ("prores_ks", "yuva444p10le")}[source]
    run = run_case(recipes.write_transparent(folder / source, *codec), speech, out.with_name(name), capfd)
    assert run.get_statuses() == ["generated"] * FRAMES
    with VideoReader(run.out) as reader:
        alpha = [frame.picture.to_ndarray(format="rgba")[..., 3] for frame in reader]
    assert len(alpha) == FRAMES
    for plane in (alpha[0], alpha[-1]):
        assert plane[190, 170] == 255
        assert (plane[4, 4] < 4) is np.bool_(is_kept)
    lines = [] if is_kept else ["transparency is not kept, clear parts show the colours stored there"]
    assert len(run.lines) == len(lines)
    assert all(part in line for part, line in zip(lines, run.lines, strict=True))


def test_subtitles_and_chapters_come_along(
    folder: Path, out: Path, speech: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = run_case(recipes.film_with_subtitles_and_chapters(folder), speech, out, capfd)
    assert (run.status, run.lines) == (0, [])
    assert run.get_statuses() == ["generated"] * FRAMES
    with av.open(str(out)) as container:
        assert [stream.type for stream in container.streams][:3] == ["video", "audio", "subtitle"]
        text = container.streams.subtitles[0]
        assert text.language == "eng"
        lines = [line.ass for packet in container.demux(text) if packet.size for line in packet.decode()]
        assert [line.rsplit(b",", 1)[1].strip() for line in lines] == [b"Good", b"evening"]
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["One", "Two"]


def test_a_file_that_appears_meanwhile_stays(out: Path, speech: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def appear() -> None:
        """Write the output's name as soon as the run has passed its first check of it."""
        for _ in range(6000):
            if any(out.parent.iterdir()):
                break
            time.sleep(0.005)
        out.write_bytes(b"precious")

    other = threading.Thread(target=appear)
    other.start()
    code = call(["generate", "--face", str(PHOTO), "--audio", str(speech), "--out", str(out)])
    other.join()
    lines = capfd.readouterr().err.splitlines()
    assert code == 1
    assert len(lines) == 1
    assert "wrote meanwhile" in lines[0]
    assert "--force" in lines[0]
    assert out.read_bytes() == b"precious"
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_link_is_written_through(folder: Path, out: Path, speech: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target = folder / "real.mp4"
    target.write_bytes(b"old")
    out.symlink_to(target)
    arguments = ["generate", "--face", str(PHOTO), "--audio", str(speech), "--out", str(out)]
    assert call(arguments) == 1
    assert "use --force" in capfd.readouterr().err
    assert target.read_bytes() == b"old"
    run = run_case(PHOTO, speech, out, capfd, "--force")
    assert run.lines == []
    assert out.is_symlink()
    assert len(read_frames(target)) == FRAMES
    assert [path.name for path in folder.iterdir()] == ["real.mp4"]


@pytest.mark.parametrize("name", ["x" * 240 + ".mp4", "ü" * 110 + ".mp4"])
def test_names_of_more_than_200_bytes(name: str, out: Path, speech: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = run_case(PHOTO, speech, out.with_name(name), capfd)
    assert (run.status, run.lines) == (0, [])
    assert run.closing.startswith(f"{run.out}: 25 frames generated, 0 passed through")


@pytest.mark.parametrize("option", ["--face", "--audio"])
@pytest.mark.parametrize(("name", "hint"), [("-", "standard input"), ("https://host/a.mp4", "download it")])
def test_names_that_are_no_files(
    option: str, name: str, hint: str, out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = {"--face": str(PHOTO), "--audio": str(recipes.SPEECH)} | {option: name}
    run = run_case(files["--face"], files["--audio"], out, capfd)
    assert run.status == 1
    assert len(run.lines) == 1
    assert hint in run.lines[0]
