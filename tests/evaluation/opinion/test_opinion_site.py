"""A study made of real files: it is blind down to the bytes, and what cannot be shown is refused in one line."""

import json
import shutil
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from opinion_studies import answer_all, attentive, name_rater

from cals.cli import main
from cals.errors import CalsError, ConfigError, DataError, MediaError
from cals.evaluation.opinion.design import DesignConfig
from cals.evaluation.opinion.site import DATA, PAGE, make_study
from cals.evaluation.opinion.study import read_study
from cals.media import VideoReader, load_mono
from drawing import index_of, lag_samples, tones, write_video

METHODS = ("real", "wavywobble", "zigzagger")
CLIPS = ("anna/first-clip", "anna/second-clip", "bert-alone")
SEED = 1122334455667788
CONFIG = DesignConfig(catch=1, practice=2, raters=12)


def sound_of(number: int) -> np.ndarray:
    return tones(2.0, 16_000)[:, number * 8000 : number * 8000 + 6400]


def write_methods(root: Path, suffixes: tuple[str, ...] = (".mp4", ".mkv", ".mp4")) -> list[tuple[str, Path]]:
    """Three clips by three methods; each method's files tell its name in a tag, and one has another pixel format."""
    for place, (method, suffix) in enumerate(zip(METHODS, suffixes, strict=True)):
        for number, clip in enumerate(CLIPS):
            path = root / method / f"{clip}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)

            def tell(video: object, method: str = method) -> None:
                video.container.metadata.update({"title": method, "comment": f"made by {method}"})  # type: ignore[attr-defined]

            write_video(
                path,
                frames=10,
                pix_fmt="yuv444p" if place == 1 else "yuv420p",
                sound=sound_of(number),
                sound_rate_hz=16_000,
                set_up=tell,
            )
    return [(method, root / method) for method in METHODS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    return write_methods(tmp_path_factory.mktemp("methods"))


@pytest.fixture(scope="module")
def study_folder(folders: list[tuple[str, Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "study"
    make_study(folders, out, CONFIG, seed=SEED)
    return out


def test_nothing_that_is_served_names_a_method_or_a_clip(study_folder: Path, folders: list[tuple[str, Path]]) -> None:
    assert any(b"made by zigzagger" in path.read_bytes() for path in folders[2][1].rglob("*.mp4"))
    words = [*METHODS[1:], *CLIPS, "first-clip", "anna", "bert", str(SEED)]
    served = [path for path in (study_folder / "site").rglob("*") if path.is_file()]
    videos = [path for path in served if path.suffix == ".mp4"]
    assert len(videos) == 9 + 2 + 2
    assert {path.name for path in served} - {path.name for path in videos} == {*PAGE, DATA}
    for path in served:
        text = path.read_bytes().lower()
        assert [word for word in words if word.encode() in text or word in path.name] == []
    assert len({path.stat().st_mtime_ns for path in videos}) == 1
    key = read_study(study_folder).stimuli
    sizes = {(key[path.stem].clip, path.stat().st_size) for path in videos}
    assert len(sizes) == len(CLIPS)  # all versions of a clip have one size
    data = (study_folder / "site" / "study.js").read_text()
    page = json.loads(data.removeprefix("const STUDY = ").removesuffix(";\n"))
    assert set(page) == {"id", "practice", "questions", "scale", "videos", "plans"}
    assert sorted(page["videos"]) == page["videos"] == [path.stem for path in sorted(videos)]


def test_videos_are_what_the_key_says(study_folder: Path) -> None:
    study = read_study(study_folder)
    assert study.methods == METHODS
    assert study.clips == CLIPS
    for name, one in study.stimuli.items():
        video = study_folder / "site" / "videos" / f"{name}.mp4"
        with VideoReader(video) as reader:
            frames = list(reader)
            assert reader.format.pix_fmt == "yuv420p"
        assert [index_of(frame.rgb()) for frame in frames] == list(range(10))
        assert [frame.time_s for frame in frames] == [Fraction(i, 25) for i in range(10)]
        audio, expected = load_mono(video), sound_of(CLIPS.index(one.sound))[0]
        assert abs(lag_samples(expected[:6000], audio[:6000])) <= 2
        others = [sound_of(number)[0] for number, clip in enumerate(CLIPS) if clip != one.sound]
        assert all(likeness(audio, expected) > likeness(audio, other) for other in others)


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    size = min(len(first), len(second), 6000)
    return float(np.corrcoef(first[:size], second[:size])[0, 1])


def test_the_same_seed_makes_the_same_study(folders: list[tuple[str, Path]], tmp_path: Path) -> None:
    small = DesignConfig(clips=1, catch=0, practice=0, raters=2)
    same = [make_study(folders, tmp_path / f"same{i}", small, seed=SEED) for i in range(2)]
    assert same[0] == same[1] == read_study(tmp_path / "same0")
    (real, (one, one_folder), (two, two_folder)) = folders
    swapped = make_study([real, (one, two_folder), (two, one_folder)], tmp_path / "swapped", small, seed=SEED)
    other = make_study(folders, tmp_path / "other", replace(small, practice=1), seed=SEED)
    assert len({same[0].id, swapped.id, other.id}) == 3  # answers of one do not count in another
    assert not set(same[0].names) & set(swapped.names)
    drawn = [make_study(folders, tmp_path / f"drawn{i}", DesignConfig(clips=1, catch=0, practice=0)) for i in range(2)]
    assert drawn[0].seed != drawn[1].seed
    assert drawn[0].clips == drawn[1].clips
    assert len(drawn[0].stimuli) == 3


def test_a_place_that_is_taken_is_kept(folders: list[tuple[str, Path]], tmp_path: Path) -> None:
    config = DesignConfig(clips=1, catch=0, practice=0, raters=1)
    out = tmp_path / "study"
    out.mkdir()
    (out / "precious").write_text("mine")
    for force in (False, True):
        with pytest.raises(ConfigError, match="name another --out"):
            make_study(folders, out, config, force=force)
    shutil.rmtree(out)
    first = make_study(folders, out, config)
    with pytest.raises(ConfigError, match="--force"):
        make_study(folders, out, config)
    second = make_study(folders, out, config, force=True)
    assert first.id != second.id == read_study(out).id
    (out / "answers" / "0123456789abcdef.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="without answers"):
        make_study(folders, out, config, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def break_folders(whole: list[tuple[str, Path]], root: Path, how: str) -> list[tuple[str, Path]]:
    folders = [(name, Path(shutil.copytree(folder, root / name))) for name, folder in whole]
    clip = root / "zigzagger" / f"{CLIPS[1]}.mp4"
    if how == "missing":
        clip.unlink()
    elif how == "extra":
        shutil.copy(clip, clip.with_name("third.mp4"))
    elif how == "twice":
        shutil.copy(clip, clip.with_suffix(".m4v"))
    elif how == "garbage":
        clip.write_bytes(b"no video at all" * 99)
    elif how == "cut":
        clip.write_bytes(clip.read_bytes()[:-400])
    elif how == "silent":
        write_video(clip, frames=10)
    elif how == "same":
        folders[2] = folders[1]
    return folders


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ("missing", DataError, "zigzagger: expected the clips of .*real, a video each, found no anna/second-clip"),
        ("extra", DataError, "besides them anna/third"),
        ("twice", DataError, "second-clip.m4v and second-clip.mp4"),
        ("garbage", MediaError, "second-clip.mp4: expected"),
        ("cut", MediaError, "second-clip.mp4: expected"),
        ("silent", MediaError, "with sound"),
        ("same", ConfigError, "each name once"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    folders: list[tuple[str, Path]], tmp_path: Path, how: str, error: type[CalsError], says: str
) -> None:
    folders = break_folders(folders, tmp_path / "in", how)
    out = tmp_path / "out" / "study"
    with pytest.raises(error, match=says):
        make_study(folders, out, CONFIG)
    assert not out.exists()
    assert not list(out.parent.glob(".*"))
    if how == "same":
        with pytest.raises(ConfigError, match="found none"):
            make_study([], out, CONFIG)


def test_the_command_makes_and_reports(
    folders: list[tuple[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    named = [f"{method}={folder}" for method, folder in folders]
    make = ["study", "make", "--methods", *named, "--out", str(out)]
    main([*make, "--clips", "1", "--catch", "1", "--practice", "1", "--seed", "3"])
    assert "1 clips by real, wavywobble, zigzagger; 6 videos a rater" in capsys.readouterr().out
    study = read_study(out)
    assert (study.seed, len(study.clips)) == (3, 1)
    for arguments, says in ((make, "--force"), (["study", "report", str(out)], "one rater at least")):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        told = capsys.readouterr().err
        assert end.value.code == 1
        assert told.count("\n") == 1
        assert says in told
    answers = answer_all(study, 0, attentive(lambda one: 4))
    text = "".join(json.dumps(asdict(answer)) + "\n" for answer in answers)
    (out / "answers" / f"{name_rater(0)}.jsonl").write_text(text)
    main(["study", "report", str(out)])
    assert "Raters counted: 1;" in capsys.readouterr().out
    assert {path.name for path in out.glob("report.*")} == {"report.json", "report.md", "report.png"}
