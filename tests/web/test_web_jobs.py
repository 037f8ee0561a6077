"""Jobs in threads: progress, cancelling, errors; and the sessions that hold them and their files."""

import threading
from pathlib import Path

import pytest

from cals.errors import MediaError
from cals.types import ProgressCallback
from cals.web.jobs import Job, JobCancelledError, Progress
from cals.web.sessions import Sessions


def work_until_cancelled(started: threading.Event, ended: threading.Event, progress: ProgressCallback) -> None:
    try:
        while True:
            progress(1, 10)
            started.set()
    finally:
        ended.set()


def test_a_job_returns_its_result_or_error() -> None:
    job = Job(lambda progress: progress(3, 4) or 7)
    assert job.get_result() == 7
    assert list(job.iterate_progress()) == []  # it has ended

    def fail(progress: ProgressCallback) -> None:
        raise MediaError("broken")

    with pytest.raises(MediaError, match="broken"):
        Job(fail).get_result()


def test_progress_has_a_share_and_time_left() -> None:
    assert Progress(done=0, total=None, elapsed_s=0).share is None
    progress = Progress(done=25, total=100, elapsed_s=10)
    assert progress.share == 0.25
    assert progress.left_s == pytest.approx(30)
    assert Progress(done=120, total=100, elapsed_s=10).share == 1  # totals are estimates


def test_cancelling_ends_the_work() -> None:
    started, ended = threading.Event(), threading.Event()
    job = Job(lambda progress: work_until_cancelled(started, ended, progress))
    assert started.wait(10)
    job.cancel()
    with pytest.raises(JobCancelledError):
        job.get_result()
    assert ended.is_set()


def test_closing_the_iterator_cancels() -> None:
    started, ended = threading.Event(), threading.Event()
    job = Job(lambda progress: work_until_cancelled(started, ended, progress))
    steps = job.iterate_progress()
    assert next(steps).share in (None, 0.1)
    steps.close()
    assert ended.wait(10)


def test_a_session_takes_only_uploads(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "root")
    (tmp_path / "root" / "upload").mkdir(parents=True)
    upload, other = tmp_path / "root" / "upload" / "face.mp4", tmp_path / "secret.mp4"
    for path in (upload, other):
        path.write_bytes(b"x")
    (tmp_path / "root" / "link.mp4").symlink_to(other)
    session = sessions.get("a")
    assert sessions.take(session, [str(upload)]) == [upload]
    for bad in (other, tmp_path / "root" / ".." / "secret.mp4", tmp_path / "root" / "link.mp4", "/etc/passwd", None):
        with pytest.raises(MediaError, match="expected an uploaded file"):
            sessions.take(session, [bad])


def test_files_go_with_the_last_page_that_uses_them(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    (tmp_path / "upload").mkdir()
    upload = tmp_path / "upload" / "face.mp4"
    upload.write_bytes(b"x")
    one, two = sessions.get("1"), sessions.get("2")
    folder = one.create_folder()
    assert folder.parent.parent == tmp_path
    for session in (one, two):
        sessions.take(session, [upload])
    started, ended = threading.Event(), threading.Event()
    one.begin(Job(lambda progress: work_until_cancelled(started, ended, progress)))
    sessions.close("1")
    assert ended.is_set()
    assert not folder.exists()
    assert upload.exists()
    sessions.close("1")
    sessions.close_all()
    assert list(tmp_path.iterdir()) == []
    assert sessions.get("1") is not one


def test_errors_have_no_paths_and_advice_for_the_page(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    error = MediaError(f"{tmp_path}/a1/my clip.mp4: expected a whole video; copy it again, or use --keep-going")
    text = sessions.describe_error(error)
    assert text.startswith("my clip.mp4: expected a whole video; copy it again, or choose 'Damaged files")
    assert str(tmp_path) not in sessions.describe_error(OSError(28, "No space", str(tmp_path / "x")))
