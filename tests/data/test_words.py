"""Words as frames: their windows against a slow reference, and what training draws of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cals.data.augment import FaceAugment
from cals.data.segments import encode_crops
from cals.data.shards import Sample, write_shard
from cals.data.words import (
    TimedWord,
    WordStore,
    build_word_windows,
    collate_words,
    crop_mouth,
    quantize_words,
    sample_words,
)
from cals.errors import DataError

CUT, BLANK, FRAMES = (68, 116, 28, 100), -1, 30
STILL = FaceAugment(
    turn_deg=0, scale=0, aspect=0, shift=0, bumps=0, gain=0, colour=0, gamma=0, flip=False, blur=0, noise=0, jpeg=0
)


def write_corpus(folder: Path, words_of: dict[str, object]) -> Path:
    """Clips whose frame t is as bright as 8 t."""
    crops = [np.full((128, 128, 3), 8 * t, np.uint8) for t in range(FRAMES)]
    samples = []
    for key, words in words_of.items():
        facts = {"clip": f"s/{key}", "speaker": "s", "frames": FRAMES, "words": words}
        landmarks = np.zeros((FRAMES, 468, 3), np.float16)
        samples.append(
            Sample(
                key=key, crops=encode_crops(crops, 25), wav=np.zeros(640, np.float32), landmarks=landmarks, facts=facts
            )
        )
    write_shard(folder / "shard-00000.tar", samples)
    lines = [json.dumps({"key": s.key, "shard": "shard-00000.tar"} | s.facts) for s in samples]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    words = [[0.2, 0.4, "bin"], [0.4, 0.64, "blue"], [0.64, 0.68, "uh"], [0.9, 1.0, "at"]]
    return write_corpus(tmp_path, {"one": words, "none": None, "two": [[0.4, 0.8, "now"]]})


def store(corpus: Path, names: set[str] | None = None) -> WordStore:
    return WordStore(corpus, names, cut=CUT, fps=25, vocabulary=frozenset({"bin", "blue", "at", "now"}))


def test_times_become_the_nearest_frames_and_two_at_least() -> None:
    words = [(0.71, 0.9, "bin"), (1.08, 1.09, "at"), (2.9, 3.1, "late")]
    assert quantize_words(words, 75, 25) == (TimedWord(18, 22, "bin"), TimedWord(27, 29, "at"))


def test_windows_hold_the_word_and_its_context() -> None:
    words = [TimedWord(1, 4, "bin"), TimedWord(6, 12, "blue"), TimedWord(13, 15, "at")]
    index, own = build_word_windows(words, 16, 3, BLANK)
    for row, mask, word in zip(index, own, words, strict=True):
        expected = [t for t in range(word.start - 3, word.end + 3) if 0 <= t < 16]
        assert [t for t in row.tolist() if t != BLANK] == expected
        assert row[mask].tolist() == list(range(word.start, word.end))


def test_clips_are_joined_with_their_own_frames() -> None:
    mouths = [np.full((length, 4, 4, 3), 10 * n, np.uint8) + np.arange(length, dtype=np.uint8)[:, None, None, None]
              for n, length in ((1, 6), (9, 8))]  # fmt: skip
    words = [[TimedWord(1, 3, "bin")], [TimedWord(0, 5, "blue"), TimedWord(5, 8, "at")]]
    batch = collate_words(list(zip(mouths, words, strict=True)), 1, BLANK)
    assert batch.texts == ("bin", "blue", "at")
    values = [
        batch.mouths[row[mask]][:, 0, 0, 0].tolist() for row, mask in zip(batch.index, batch.word_mask, strict=True)
    ]
    assert values == [[11, 12], [90, 91, 92, 93, 94], [95, 96, 97]]
    windows = [batch.mouths[row[row != BLANK]][:, 0, 0, 0].tolist() for row in batch.index]
    assert windows == [[10, 11, 12, 13], [90, 91, 92, 93, 94, 95], [94, 95, 96, 97]]


def test_the_store_keeps_words_it_knows_and_the_mouth_alone(corpus: Path) -> None:
    word_store = store(corpus)
    assert (len(word_store), word_store.count, word_store.skipped) == (2, 4, 1)
    clip = word_store[0]
    assert clip.words == (TimedWord(5, 10, "bin"), TimedWord(10, 16, "blue"), TimedWord(22, 25, "at"))
    assert clip.mouth.shape == (FRAMES, 48, 72, 3)
    assert abs(int(clip.mouth[20].mean()) - 160) <= 3
    assert word_store[0] is clip
    assert len(word_store) == 2
    assert len(store(corpus, {"s/none"})) == 0
    with pytest.raises(DataError, match="run `cals prepare`"):
        store(corpus / "nowhere")


def test_the_cut_is_a_copy() -> None:
    crops = np.arange(2 * 128 * 128 * 3, dtype=np.int64).astype(np.uint8).reshape(2, 128, 128, 3)
    mouth = crop_mouth(crops, CUT)
    assert (mouth == crops[:, 68:116, 28:100]).all()
    assert mouth.base is None


@pytest.mark.parametrize("jitter", [0, 1])
def test_what_is_drawn_is_where_it_was(corpus: Path, jitter: int) -> None:
    word_store, times = store(corpus), {"bin": (5, 10), "blue": (10, 16), "at": (22, 25), "now": (10, 20)}
    shifts = set()
    for seed in range(12):
        batch = sample_words(
            word_store, np.random.default_rng(seed), STILL, clips=2, jitter=jitter, context=2, blank=BLANK
        )
        assert sorted(batch.texts) == ["at", "bin", "blue", "now"]
        for text, row, mask in zip(batch.texts, batch.index, batch.word_mask, strict=True):
            frames = (batch.mouths[row[mask]].float().mean(dim=(1, 2, 3)) / 8).round().int().tolist()
            assert frames == list(range(frames[0], frames[-1] + 1))
            first, last = times[text]
            assert abs(frames[0] - first) <= jitter
            assert abs(frames[-1] + 1 - last) <= jitter
            shifts |= {frames[0] - first, frames[-1] + 1 - last}
    assert shifts == set(range(-jitter, jitter + 1))


def test_drawing_is_repeatable_and_changes_pictures(corpus: Path) -> None:
    word_store = store(corpus)
    batches = [
        sample_words(word_store, np.random.default_rng(seed), FaceAugment(), clips=1, jitter=1, context=3, blank=BLANK)
        for seed in (4, 4, 5)
    ]
    assert torch.equal(batches[0].mouths, batches[1].mouths)
    assert torch.equal(batches[0].index, batches[1].index)
    assert batches[2].mouths.shape != batches[0].mouths.shape or not torch.equal(batches[2].mouths, batches[0].mouths)
