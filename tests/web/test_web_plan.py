"""Which file goes with which in a batch, and which sound with which face."""

from fractions import Fraction
from pathlib import Path
from typing import cast

import pytest

from cals.errors import ConfigError
from cals.types import Box
from cals.web.faces import FirstFaces

pytest.importorskip("gradio", reason="needs gradio: pip install 'cals[web]'")
from cals.web.batch_tab import plan_batch
from cals.web.dub_tab import assign_slots
from cals.web.engine import Engine


class _Recorder:
    """Takes the place of an engine; remembers nothing, since planning starts no work."""

    def speak(self) -> None: ...

    def dub_subtitles(self) -> None: ...


ENGINE = cast(Engine, _Recorder())


def plan(faces: str, sounds: str, subtitles: str | None = None, folder: Path = Path("out")) -> list[str]:
    files = [[Path(name) for name in names.split()] for names in (faces, sounds)]
    items = plan_batch(ENGINE, files[0], files[1], None if subtitles is None else Path(subtitles), folder)
    return [item.name for item in items]


def test_one_with_many_and_many_with_one() -> None:
    assert plan("a.mp4", "1.wav 2.wav") == ["a.mp4 says 1.wav", "a.mp4 says 2.wav"]
    assert plan("a.mp4 b.jpg", "1.wav") == ["a.mp4 says 1.wav", "b.jpg says 1.wav"]


def test_pairs_go_by_name() -> None:
    assert plan("anna.mp4 Ben.jpg", "ben.mp3 anna.wav") == ["anna.mp4 says anna.wav", "Ben.jpg says ben.mp3"]
    with pytest.raises(ConfigError, match="no speech called like b.mp4"):
        plan("a.mp4 b.mp4", "a.wav c.wav")
    with pytest.raises(ConfigError, match="more speeches"):
        plan("a.mp4 b.mp4", "a.wav b.wav c.wav")


def test_what_cannot_be_planned_is_told() -> None:
    with pytest.raises(ConfigError, match="First choose"):
        plan("", "a.wav")
    with pytest.raises(ConfigError, match="at most 50"):
        plan("a.mp4", " ".join(f"{number}.wav" for number in range(51)))
    with pytest.raises(ConfigError, match="one video; 2 were chosen"):
        plan("a.mp4 b.mp4", "1.wav", "lines.srt")


def test_voices_of_subtitles_lie_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "1.wav").write_bytes(b"x")
    out = tmp_path / "job"
    out.mkdir()
    items = plan_batch(ENGINE, [Path("a.mp4")], [tmp_path / "up" / "1.wav"], Path("lines.srt"), out)
    assert [item.name for item in items] == ["a.mp4 by lines.srt"]
    assert (out / "voices" / "1.wav").read_bytes() == b"x"


def test_sounds_stay_with_their_faces() -> None:
    assert assign_slots([None, None, None], ["Face 2"]) == ["Face 2", None, None]
    assert assign_slots(["Face 2", None, None], ["Face 1"]) == ["Face 1", None, None]  # the speech stays
    assert assign_slots(["Face 2", None, None], ["Face 1", "Face 2"]) == ["Face 2", "Face 1", None]
    assert assign_slots(["Face 2", "Face 1", None], ["Face 1"]) == [None, "Face 1", None]


def test_a_face_becomes_a_person() -> None:
    boxes = (Box(0, 0, 10, 20), Box(40, 10, 60, 30))
    faces = FirstFaces(
        path=Path("a.mp4"),
        is_photo=False,
        duration_s=None,
        time_s=Fraction(1, 3),
        size=(80, 40),
        boxes=boxes,
        still=Path("a"),
    )
    assert faces.names == ["Face 1", "Face 2"]
    assert faces.get_person("Face 2") == "50,20@0.333"
