"""The list of pairs: drawn by lot, the same every time, written down and read again."""

import json
from pathlib import Path

import numpy as np
import pytest

from cals.errors import ConfigError, DataError
from cals.evaluation.protocol.pairs import PAIRS, PairList, PairsConfig, draw_pairs, read_pairs, write_pairs
from cals.media.audio import load_mono


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """Twelve clips of three speakers, whose files nobody opens."""
    for speaker in ("anna", "bert", "carl"):
        (tmp_path / "corpus" / speaker).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "corpus" / speaker / f"{number}.mp4").touch()
    return tmp_path / "corpus"


def ids(pairs: PairList) -> set[str]:
    return {pair.id for pair in pairs.pairs}


def test_every_face_says_its_own_sound_and_a_strangers(names: Path) -> None:
    pairs = draw_pairs(names, None, PairsConfig()).pairs
    own = {pair.face: pair.heard for pair in pairs if pair.kind == "self"}
    across = {pair.face: pair.heard for pair in pairs if pair.kind == "cross"}
    assert len(own) == len(across) == 12
    assert all(face == audio for face, audio in own.items())
    assert all(face.split("/")[0] != audio.split("/")[0] for face, audio in across.items())
    assert len(set(across.values())) > 3
    assert {pair.part for pair in pairs} == {"all"}


def test_the_lot_is_the_seeds_and_grows_with_the_number(names: Path) -> None:
    few, more = (draw_pairs(names, None, PairsConfig(clips=count)) for count in (3, 5))
    assert len(few.pairs) == 6
    assert ids(few) < ids(more)
    assert ids(few) == ids(draw_pairs(names, None, PairsConfig(clips=3)))
    assert ids(few) != ids(draw_pairs(names, None, PairsConfig(clips=3, seed=1)))


def test_one_speaker_says_another_clip_and_one_clip_nothing_else(names: Path, tmp_path: Path) -> None:
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"two": ["anna/0", "anna/1"], "one": ["bert/2"]}))
    pairs = draw_pairs(names, splits, PairsConfig(parts=("two", "one"))).pairs
    across = {(pair.part, pair.face, pair.heard) for pair in pairs if pair.kind == "cross"}
    assert across == {("two", "anna/0", "anna/1"), ("two", "anna/1", "anna/0")}
    assert [pair.id for pair in pairs if pair.part == "one"] == ["self-bert-2"]


def test_a_written_list_is_the_same_list(raw: Path, tmp_path: Path) -> None:
    drawn = draw_pairs(raw, None, PairsConfig(clips=2, seconds=2, seed=3))
    assert write_pairs(drawn, raw, tmp_path) == {}
    again = read_pairs(tmp_path / PAIRS, raw)
    assert again == drawn
    pair = next(pair for pair in drawn.pairs if pair.kind == "cross")
    wav = load_mono(tmp_path / pair.sound)
    assert wav == pytest.approx(load_mono(raw / f"{pair.heard}.mp4")[: 2 * 16_000], abs=1e-4)
    assert np.abs(wav).max() > 0.1
    assert write_pairs(again, raw, tmp_path) == {}  # and it may be given again


def test_another_list_is_not_written_over(raw: Path, tmp_path: Path) -> None:
    write_pairs(draw_pairs(raw, None, PairsConfig(clips=1)), raw, tmp_path)
    other = draw_pairs(raw, None, PairsConfig(clips=1, seconds=5))
    with pytest.raises(DataError, match="found another"):
        write_pairs(other, raw, tmp_path)
    write_pairs(other, raw, tmp_path, force=True)
    assert read_pairs(tmp_path / PAIRS, raw) == other


def test_a_list_of_other_videos_is_refused(raw: Path, names: Path, tmp_path: Path) -> None:
    write_pairs(draw_pairs(raw, None, PairsConfig(clips=1)), raw, tmp_path)
    with pytest.raises(DataError, match="expected the clips that"):
        read_pairs(tmp_path / PAIRS, names)
    for text in ("{", "[]", '{"pairs": [{"id": "a"}], "seconds": 1, "seed": 0}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(DataError, match="expected a list of pairs"):
            read_pairs(tmp_path / "bad.json", raw)


def test_ids_that_are_no_file_names_are_refused(raw: Path, tmp_path: Path) -> None:
    text = draw_pairs(raw, None, PairsConfig(clips=1)).to_json()
    for name in ("../self", "/etc/self", ""):
        document = json.loads(text)
        document["pairs"][0]["id"] = name
        (tmp_path / "bad.json").write_text(json.dumps(document))
        with pytest.raises(DataError, match="without slashes"):
            read_pairs(tmp_path / "bad.json", raw)


def test_unheard_sound_leaves_its_pair_out(raw: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus" / "x"
    corpus.mkdir(parents=True)
    (corpus / "a.mp4").write_bytes((raw / "anna" / "one.mp4").read_bytes())
    (corpus / "broken.mp4").write_bytes(b"no video")
    drawn = draw_pairs(corpus.parent, None, PairsConfig())
    without = write_pairs(drawn, corpus.parent, tmp_path / "out")
    assert set(without) == {"self-x-broken", "cross-x-a-by-x-broken"}
    assert (tmp_path / "out" / "sounds" / "cross-x-broken-by-x-a.wav").is_file()


def test_wrong_numbers_are_refused() -> None:
    for wrong in ({"clips": 0}, {"seconds": 1}, {"parts": ()}, {"parts": ("a", "a")}, {"seconds": float("nan")}):
        with pytest.raises(ConfigError):
            PairsConfig(**wrong)  # type: ignore[arg-type]
