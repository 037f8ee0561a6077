"""`cals track --all`: who is in a video, what `--person` takes for each, and when they are visible."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from cals.cli import main
from cals.errors import ConfigError, NoFaceError
from cals.face.draw_people import get_colour
from cals.inference.people import COLUMNS, PersonSummary, track_people
from cals.inference.sheet import CELL_PX
from cals.inference.track import track_video
from cals.media import VideoReader
from drawing import write_video

EXAMPLES = Path(__file__).parents[2] / "examples"


RATE = 6


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[PersonSummary], Path]:
    """List the people of a video: the astronaut on the right, and her mirror image on the left from 1 s to 2 s of 3."""
    folder = tmp_path_factory.mktemp("people")
    rgb = cv2.imread(str(EXAMPLES / "astronaut.jpg"))[:256, 96:352, ::-1]
    empty, mirrored = np.full_like(rgb, 90), rgb[:, ::-1]
    frames = [np.hstack([mirrored if RATE <= i < 2 * RATE else empty, rgb]) for i in range(3 * RATE)]
    video = write_video(folder / "two.mp4", rate=RATE, frames=frames, size=(512, 256), options={"crf": "15"})
    return track_people(video, folder / "who.json", folder / "who.png"), folder


def test_people_are_listed_with_their_times(listed: tuple[list[PersonSummary], Path]) -> None:
    found, folder = listed
    document = json.loads((folder / "who.json").read_text())
    assert document == {"video": "two.mp4", "people": [person.document() for person in found]}
    people = document["people"]
    assert [(person["number"], person["same_as"]) for person in people] == [(1, None), (2, "1"), (None, None)]
    assert [people[0]["frames"], people[0]["visible_s"], people[2]["visible_s"]] == [3 * RATE, [[0, 3]], [[1, 2]]]
    x, y = (float(part) for part in people[2]["point"].split("@")[0].split(","))
    assert abs(x - 128) < 15
    assert abs(y - 120) < 25
    assert [person.line() for person in found] == [
        f"1, or {people[0]['point']}: 0.00-3.00 s",
        "2: the same as 1",
        f"{people[2]['point']}: 1.00-2.00 s",
    ]


def test_the_point_selects_the_same_person(listed: tuple[list[PersonSummary], Path]) -> None:
    found, folder = listed
    track_video(folder / "two.mp4", folder / "track.json", folder / "track.png", person=found[-1].name)
    frames = json.loads((folder / "track.json").read_text())["frames"]
    shown = [frame["index"] for frame in frames if frame["valid"]]
    assert shown == list(range(RATE, 2 * RATE))
    assert all(frames[index]["box"][2] < 256 for index in shown)


def test_the_sheet_shows_names_faces_and_times(listed: tuple[list[PersonSummary], Path]) -> None:
    sheet = cv2.imread(str(listed[1] / "who.png"))[..., ::-1]
    width = COLUMNS * (CELL_PX + 4) + 4
    row = CELL_PX + 8 + 40
    assert sheet.shape == (width // 2 + 2 * row, width, 3)
    picture, rows = sheet[: -2 * row], [sheet[-2 * row : -row], sheet[-row:]]
    for i, half in enumerate((picture[:, width // 2 :], picture[:, : width // 2])):
        assert (np.abs(half.astype(int) - get_colour(i)).max(axis=2) < 10).sum() > 500  # a box
    bars = [np.flatnonzero((bar[35] == get_colour(i)).all(axis=1)) / width for i, bar in enumerate(rows)]
    assert [(bar.min().round(2), bar.max().round(2)) for bar in bars] == [(0, 1), (0.33, 0.67)]
    assert rows[0][60:].std() > 30


def test_after_a_cut_somebody_else_is_told_apart(tmp_path: Path) -> None:
    astronaut = cv2.imread(str(EXAMPLES / "astronaut.jpg"))[:288, 64:424, ::-1]
    with VideoReader(EXAMPLES / "grid-s20.mp4") as reader:
        speaker = next(iter(reader)).rgb()
    shots = [astronaut] * RATE + [speaker] * RATE + [astronaut] * RATE
    video = write_video(tmp_path / "cuts.mp4", rate=RATE, frames=shots, size=(360, 288), options={"crf": "15"})
    first, second = track_people(video, tmp_path / "who.json", tmp_path / "who.png")
    assert (first.number, first.intervals_s, first.others_s) == (1, [(0, 1), (2, 3)], [(1, 2)])
    assert (second.number, second.intervals_s, second.others_s) == (None, [(1, 2)], [(2, 3)])
    assert second.point.endswith("@1")
    assert first.line().endswith(": 0.00-1.00, 2.00-3.00 s; somebody else at 1.00-2.00 s")


def test_the_command_prints_what_person_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "who.json"
    main(["track", str(EXAMPLES / "astronaut.jpg"), "--all", "--out", str(out)])
    lines = capsys.readouterr().out.splitlines()
    point = json.loads(out.read_text())["people"][0]["point"]
    assert lines == [f"{out}, {tmp_path / 'who.png'}: 1 person(s)", f"  --person 1, or {point}: 0.00-0.04 s"]


def test_a_video_without_people_and_bad_usage_write_nothing(tmp_path: Path) -> None:
    nobody = write_video(tmp_path / "nobody.mp4", frames=3)
    with pytest.raises(NoFaceError, match="found no face in any frame"):
        track_people(nobody, tmp_path / "a.json", tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"ending in \.png"):
        track_people(nobody, tmp_path / "a.json", tmp_path / "a.jpg")
    with pytest.raises(SystemExit):
        main(["track", str(nobody), "--all", "--person", "2", "--out", str(tmp_path / "a.json")])
    assert [path.name for path in tmp_path.iterdir()] == ["nobody.mp4"]
