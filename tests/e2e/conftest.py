"""Models and inputs that end-to-end tests share."""

from pathlib import Path

import pytest
from generate_inputs import FACE, SHORT_FRAMES, SPEECH

from cals import CheckpointError, LipSync
from cals.cli import main
from cals.media.audio import load_mono
from drawing import write_wav


@pytest.fixture(scope="module")
def lips() -> LipSync:
    """The smallest model, for jobs whose mouths need not be good."""
    try:
        return LipSync("debug")
    except CheckpointError as error:
        pytest.skip(f"face models are not in the cache and cannot be fetched: {error}")


@pytest.fixture(scope="session")
def shipped() -> LipSync:
    """The model that ships."""
    return LipSync()


@pytest.fixture(scope="session")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo made to speak, through the command line, into a path with spaces and accents."""
    out = tmp_path_factory.mktemp("ein Ordner mit Müll") / "sprich, Freund.mp4"
    main(["generate", "--face", str(FACE), "--audio", str(SPEECH), "--out", str(out)])
    return out


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first second of the speech."""
    path = tmp_path_factory.mktemp("short") / "speech.wav"
    return write_wav(path, load_mono(SPEECH)[None, : 640 * SHORT_FRAMES])
