"""A recogniser with random weights and what it reads, shared by the tests of `Transcriber`."""

from pathlib import Path
from typing import Any

import pytest
from photo_clip import draw_clip

from cals import Transcriber
from cals.models.avsr.network import AVSR, Encoding
from recognizer import save_recognizer


@pytest.fixture(scope="session")
def recognizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_recognizer(tmp_path_factory.mktemp("avsr") / "debug")


@pytest.fixture(scope="session")
def transcriber(recognizer_folder: Path) -> Transcriber:
    return Transcriber(recognizer_folder)


@pytest.fixture(scope="session")
def photo_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture
def encoder_calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the network is given, call by call."""
    calls: list[dict[str, Any]] = []
    encode = AVSR.encode

    def spy(self: AVSR, wav: Any, mouths: Any, valid: Any, trusted: Any) -> Encoding:
        calls.append({"wav": wav, "mouths": mouths, "valid": valid, "trusted": trusted})
        return encode(self, wav, mouths, valid, trusted)

    monkeypatch.setattr(AVSR, "encode", spy)
    return calls
