"""All systems are shown the same corrupted clips, and nothing is read twice that need not be."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cals.data.utterances import UtteranceBatch
from cals.evaluation.recognition import reading
from cals.evaluation.recognition.conditions import Condition, WerConfig
from cals.evaluation.recognition.reading import ClipReader
from cals.evaluation.recognition.records import ClipRecord
from cals.evaluation.recognition.systems import Network, load_systems
from cals.models.avsr.network import STREAMS
from cals.types import F32

CONFIG: dict[str, Any] = {"kinds": ("babble", "dropout", "patch"), "snrs_db": (0.0, 10.0), "patches_px": (20.0, 45.0)}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Make networks "read" a word that identifies their input in each stream; return the calls."""
    calls: list[tuple[str, str]] = []

    def describe(network: Network, streams: str, batch: UtteranceBatch, _: object) -> tuple[str, dict[str, F32]]:
        text = {
            "audio": f"wav{zlib.crc32(batch.wav.numpy().tobytes())}",
            "video": f"mouths{zlib.crc32(batch.mouths.numpy().tobytes())}",
        }
        calls.append((network.folder.name, streams))
        scores = {name: np.linspace(0, 1, batch.mouths.shape[1], dtype=np.float32) for name in STREAMS}
        return " ".join(text[name] for name in STREAMS if streams in ("both", name)), scores

    monkeypatch.setattr(reading, "read_clip", describe)
    return calls


def read_all(spoken: Path, models: dict[str, Path], **changes: Any) -> tuple[tuple[Condition, ...], list[ClipRecord]]:
    config = WerConfig(**(CONFIG | changes))
    reader = ClipReader(spoken, spoken / "splits.json", load_systems(list(models.items())), config)
    return reader.conditions, [reader.read(task) for task in reader.tasks()]


def test_all_systems_are_shown_the_same(spoken: Path, models: dict[str, Path], shown: list[tuple[str, str]]) -> None:
    conditions, records = read_all(spoken, models)
    assert [record.clip for record in records] == ["a-0", "a-1", "b-0", "b-1"]
    for record in records:
        clean = record.readings["clean"]["scores"][0].split()
        for condition in conditions:
            found = {name: texts[0] for name, texts in record.readings[condition.name].items()}
            wav, mouths = found["scores"].split()
            assert found == {"audio": wav, "video": mouths, "plain": f"{wav} {mouths}", "scores": f"{wav} {mouths}"}
            assert (wav != clean[0]) == (condition.streams in ("audio", "both"))
            assert (mouths != clean[1]) == (condition.streams in ("video", "both"))
            trust = record.scores.get(condition.name, {}).get("scores", {})
            assert set(trust) == {name for name in STREAMS if condition.streams in ("both", name)}
        whole = [texts["scores"][0] for texts in record.readings.values()]
        assert len(set(whole)) == len(conditions)
    # "both: any" has the sound of "audio: any", and all conditions of both have the pictures of "video: any"
    of_clip = shown[: len(shown) // 4]
    assert of_clip.count(("audio", "audio")) == len(["clean", "any", "babble 0", "babble 10", "dropout", "0", "10"])
    assert of_clip.count(("video", "video")) == len(["clean", "any", "patch 20", "patch 45"])
    assert of_clip.count(("plain", "both")) == len(conditions)


def test_a_clip_is_corrupted_alike_however_many_are_read(
    spoken: Path, models: dict[str, Path], shown: list[tuple[str, str]]
) -> None:
    _, records = read_all(spoken, models)
    _, first = read_all(spoken, {"scores": models["scores"]}, clips=1, parts=("val_unseen",), seeds=(0, 1))
    (record,) = first
    same = next(other for other in records if other.clip == record.clip)
    for condition, systems in record.readings.items():
        old, new = systems["scores"]
        assert [old] == same.readings[condition]["scores"]
        assert (old != new) == (condition != "clean")


def test_bursts_of_one_kind_lie_at_the_same_places(
    spoken: Path, models: dict[str, Path], shown: list[tuple[str, str]]
) -> None:
    _, records = read_all(spoken, {"scores": models["scores"]}, clips=1)
    for record in records:
        bursts = {name: systems["scores"] for name, systems in record.scores.items()}
        soft, loud = (bursts[f"audio: babble {snr} dB"]["audio"][0] for snr in (0, 10))
        assert soft.bursts == loud.bursts == bursts["audio: dropout"]["audio"][0].bursts
        scores, corrupted = soft.arrays()
        frames = len(scores)
        assert corrupted.sum() == sum(end - start for start, end in soft.bursts)
        assert 0 < corrupted.sum() < frames
        again = ClipRecord.read(record.document())
        assert again == record
