"""`cals wer` from end to end with random recognisers: the table, what is read on, and errors."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cals.checkpoint import Checkpoint, save_checkpoint
from cals.cli import main
from cals.errors import CheckpointError, ConfigError, DataError
from cals.evaluation.recognition import wer
from cals.evaluation.recognition.conditions import WerConfig
from cals.evaluation.recognition.reading import ClipReader, Task
from cals.evaluation.recognition.records import ClipRecord
from cals.evaluation.recognition.systems import name_models
from cals.evaluation.recognition.wer import WerJob, measure_word_errors
from cals.models.avsr.beam import BeamConfig
from evaluation.recognition.recognisers import save_recogniser

pytestmark = pytest.mark.slow

BEAM = BeamConfig(beam=2, language_weight=0.0)
CONDITIONS = [
    *("clean", "audio: any", "audio: white 0 dB", "video: any"),
    *("video: patch 20 px", "video: patch 32 px", "video: patch 45 px", "both: any", "both: any 0 dB"),
]
NAMES = ["audio", "video", "plain", "scores"]


@pytest.fixture(scope="module")
def arguments(spoken: Path, models: dict[str, Path]) -> list[str]:
    found = ["wer", str(spoken), "--splits", str(spoken / "splits.json"), "--beam", "2", "--language-weight", "0"]
    for name, folder in models.items():
        found += ["--model", f"{name}={folder}"]
    return [*found, "--clips", "1", "--kinds", "white", "patch", "--snrs-db", "0"]


def job_of(spoken: Path, *folders: Path, **changes: Any) -> WerJob:
    models = tuple((folder.name, folder) for folder in folders)
    config = WerConfig(**({"beam": BEAM, "corruption": "both", "snrs_db": (0.0,)} | changes))
    return WerJob(corpus=spoken, models=models, config=config, splits=spoken / "splits.json")


def count_errors(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein's distance by its definition."""
    if not reference or not hypothesis:
        return len(reference) + len(hypothesis)
    if reference[0] == hypothesis[0]:
        return count_errors(reference[1:], hypothesis[1:])
    return 1 + min(
        count_errors(a, b)
        for a, b in ((reference[1:], hypothesis), (reference, hypothesis[1:]), (reference[1:], hypothesis[1:]))
    )


def test_the_table_is_complete(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    main([*arguments, "--out", str(out)])
    stdout = capsys.readouterr().out
    assert "## val_seen: 1 clips, 4 words" in stdout
    assert "grammar only: best guess" in stdout
    assert sorted(path.name for path in out.iterdir()) == ["wer.json", "wer.md", "wer.png"]
    document = json.loads((out / "wer.json").read_text())
    rates = {(one["part"], one["condition"], one["system"]): one for one in document["rates"]}
    parts = ["val_seen", "val_unseen", "all"]
    assert sorted(rates) == sorted((p, c, n) for p in parts for c in CONDITIONS for n in NAMES)
    for part in parts:
        clips = [clip for clip in document["clips"] if part in (clip["part"], "all")]
        for condition in CONDITIONS:
            for name in NAMES:
                texts = [(clip["said"].split(), clip["readings"][condition][name][0].split()) for clip in clips]
                errors = sum(count_errors(*pair) for pair in texts)
                found = rates[part, condition, name]
                assert found["wer"][0] == pytest.approx(errors / (4 * len(clips)), abs=1e-5)
                assert sum(found[edit] for edit in ("substitutions", "insertions", "deletions")) == errors
    titles = {one["title"] for one in document["differences"]}
    assert titles == {"plain - better single stream", "scores - better single stream", "scores - plain"}
    corrupted = {(one["condition"], one["stream"]) for one in document["reliability"]}
    assert {one["system"] for one in document["reliability"]} == {"scores"}
    assert corrupted == {(name, stream) for name in CONDITIONS for stream in ("audio", "video") if is_in(stream, name)}
    assert {one["most probable"] for one in document["grammar"]} == {"now red bin"}
    page = (out / "wer.md").read_text()
    assert all(f"| {name} " in page for name in CONDITIONS)
    with pytest.raises(SystemExit):
        main([*arguments, "--out", str(out)])
    assert "use --force" in capsys.readouterr().err


def is_in(stream: str, condition: str) -> bool:
    return condition.startswith((f"{stream}:", "both:"))


def test_a_run_that_goes_on_says_what_a_whole_one_says(
    spoken: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(spoken, models["scores"])
    measure_word_errors(job, tmp_path / "whole")
    read, calls = ClipReader.read, list[str]()

    def interrupt(reader: ClipReader, task: Task) -> ClipRecord:
        if len(calls) == 2:
            calls.append("interrupted")
            raise KeyboardInterrupt
        calls.append(task.key)
        return read(reader, task)

    monkeypatch.setattr(ClipReader, "read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        measure_word_errors(job, tmp_path / "parts")
    assert [path.name for path in (tmp_path / "parts").iterdir()] == [".wer.jsonl"]
    with pytest.raises(ConfigError, match="another"):
        measure_word_errors(replace(job, config=replace(job.config, seeds=(1,))), tmp_path / "parts")
    measure_word_errors(job, tmp_path / "parts")
    assert calls == ["a-0", "a-1", "interrupted", "b-0", "b-1"]
    for name in ("wer.json", "wer.md"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["wer.json", "wer.md"]


def test_a_worker_reads_what_the_command_reads(
    spoken: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(spoken, models["video"], clips=1)
    reader = job.build_reader()
    for name in ("signal.signal", "torch.set_num_threads"):
        monkeypatch.setattr(f"cals.evaluation.recognition.wer.{name}", lambda *_: None)
    monkeypatch.setattr(wer, "_reader", None)
    wer._start_worker(pickle.loads(pickle.dumps(job)), 2)
    task = reader.tasks()[1]
    assert wer._read_one(pickle.loads(pickle.dumps(task))) == reader.read(task)


def test_networks_of_one_name_are_averaged(spoken: Path, models: dict[str, Path], tmp_path: Path) -> None:
    other = save_recogniser(tmp_path / "other", 7, streams="video")
    job = job_of(spoken, models["video"], corruption="video", kinds=(), parts=("val_seen",), seeds=(3, 5))
    job = replace(job, models=(("lips", models["video"]), ("lips", other)))
    report = measure_word_errors(job, tmp_path / "out")
    (part,), (system,) = report.parts, report.systems
    by_itself = part.compute_network_rates("video: any", system)
    assert part.rate("video: any", "lips").value == pytest.approx(sum(by_itself) / 2)
    assert all(len(clip.readings["video: any"]["lips"]) == 4 for clip in report.clips)
    assert "Networks of one name" in report.format_tables()
    alone = measure_word_errors(replace(job, models=(("lips", other),)), tmp_path / "alone")
    assert alone.parts[0].rate("video: any", "lips").value == pytest.approx(by_itself[1])


def test_a_stream_can_be_withheld(spoken: Path, models: dict[str, Path], tmp_path: Path) -> None:
    job = job_of(spoken, models["plain"], withhold=True, corruption="none", clips=1)
    report = measure_word_errors(job, tmp_path / "out")
    assert [system.name for system in report.systems] == ["plain", "plain, audio only", "plain, video only"]
    (contrast,) = report.contrasts
    assert contrast.others == ("plain, audio only", "plain, video only")
    assert report.files == ("wer.json", "wer.md")  # nothing to draw


def test_errors_say_what_to_do(spoken: Path, models: dict[str, Path], tmp_path: Path) -> None:
    job = job_of(spoken, models["plain"])
    out = tmp_path / "out"

    def fails(error: type[Exception], match: str, changed: WerJob, **options: Any) -> None:
        with pytest.raises(error, match=match):
            measure_word_errors(changed, out, **options)
        assert not out.exists()

    fails(ConfigError, "one or more recognisers, found none", replace(job, models=()))
    fails(ConfigError, "each folder once", replace(job, models=(("a", models["plain"]), ("b", models["plain"]))))
    different = (("a", models["plain"]), ("a", models["audio"]))
    fails(ConfigError, "of one kind", replace(job, models=different))
    alike = (("a", models["plain"]), ("a, audio only", models["audio"]))
    fails(ConfigError, "each name once", replace(job, models=alike, config=replace(job.config, withhold=True)))
    fails(CheckpointError, "checkpoint", replace(job, models=(("a", tmp_path / "nothing"),)))
    save_checkpoint(tmp_path / "reader", Checkpoint(kind="reader", config={}, weights={}))
    fails(CheckpointError, "expected a recogniser", replace(job, models=(("a", tmp_path / "reader"),)))
    fails(DataError, "whose text is known", replace(job, config=replace(job.config, parts=("mute",))))
    fails(DataError, "the parts test", replace(job, config=replace(job.config, parts=("test",))))
    fails(DataError, "cals prepare", replace(job, corpus=tmp_path))
    fails(ConfigError, "give --videos", job, readability=tmp_path / "readability.json")
    fails(ConfigError, "--workers", job, workers=0)
    (tmp_path / "videos").mkdir()
    fails(DataError, "found none below", replace(job, videos=(("made", tmp_path / "videos"),)))
    deaf = replace(job, models=(("a", models["audio"]),), videos=(("made", tmp_path / "videos"),))
    fails(ConfigError, "a recogniser that sees", deaf)


def test_folders_of_one_name_are_networks_only_where_this_is_meant() -> None:
    assert name_models(["a=x/model", "a=y/model"]) == (("a", Path("x/model")), ("a", Path("y/model")))
    assert name_models(["x/model", "y/other"]) == (("model", Path("x/model")), ("other", Path("y/other")))
    with pytest.raises(ConfigError, match="NAME=FOLDER"):
        name_models(["x/model", "y/model"])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"corruption": "sound"}, "none, audio, video, both, all"),
        ({"kinds": ("babel",)}, "did you mean babble"),
        ({"seeds": (1, 1)}, "each once"),
        ({"snrs_db": ()}, "one strength or more"),
        ({"snrs_db": (100.0,)}, "snr_db"),
        ({"patches_px": (120.0,)}, "patch"),
    ],
)
def test_a_table_that_cannot_be_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        WerConfig(**changes)
