"""Four drawn clips whose words are known and one whose are not, and recognisers of every kind."""

import dataclasses
from pathlib import Path

import pytest

from drawn_words import build_spoken_sample
from evaluation.recognition.recognisers import save_recogniser, write_corpus


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of a and two of b; nobody knows what c says."""
    samples = [build_spoken_sample(key, seed, count=4) for seed, key in enumerate(("a-0", "a-1", "b-0", "b-1"))]
    stranger = dataclasses.replace(samples[0], key="c-0")
    samples.append(dataclasses.replace(stranger, facts=stranger.facts | {"clip": "c-0", "words": None, "text": None}))
    splits = {"val_seen": ["a-0", "a-1"], "val_unseen": ["b-0", "b-1"], "mute": ["c-0"]}
    return write_corpus(tmp_path_factory.mktemp("spoken"), samples, splits)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoint folders by name."""
    root = tmp_path_factory.mktemp("models")
    return {
        "audio": save_recogniser(root / "audio", 1, streams="audio"),
        "video": save_recogniser(root / "video", 2, streams="video"),
        "plain": save_recogniser(root / "plain", 3, scoring=False),
        "scores": save_recogniser(root / "scores", 4),
    }
