"""A file takes its name when it is whole, never over what was not meant, and leaves nothing of killed runs."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cals.files import AtomicFile, recover_folder, replace_atomically, replace_folder_atomically, suggest_path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_of_two_that_write_one_name_the_first_wins(tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    first, second = AtomicFile(out, replace=False), AtomicFile(out, replace=False)
    first.partial.write_text("first")
    second.partial.write_text("second")
    first.commit()
    with pytest.raises(FileExistsError):
        second.commit()
    second.discard()
    assert out.read_text() == "first"
    assert names_in(tmp_path) == ["out.txt"]


def test_only_one_of_many_threads_wins(tmp_path: Path) -> None:
    won = []

    def write(index: int) -> None:
        try:
            with replace_atomically(tmp_path / "out.txt", replace=False) as partial:
                partial.write_text(str(index))
            won.append(index)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=write, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(index) for index in won] == [(tmp_path / "out.txt").read_text()]
    assert names_in(tmp_path) == ["out.txt"]


def test_file_systems_without_links_keep_what_is_there_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with replace_atomically(tmp_path / "a.txt", replace=False) as partial:
        partial.write_text("a")
    assert (tmp_path / "a.txt").read_text() == "a"
    file = AtomicFile(tmp_path / "a.txt", replace=False)
    with pytest.raises(FileExistsError):
        file.commit()
    file.discard()
    assert names_in(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_is_written(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    if exists:
        (folder / "target.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(Path("elsewhere") / "target.txt")
    with replace_atomically(tmp_path / "link.txt") as partial:
        assert partial.parent == folder
        partial.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (folder / "target.txt").read_text() == "new"
    assert names_in(folder) == ["target.txt"]


def test_a_dangling_link_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "link.txt").symlink_to("nowhere.txt")
    file = AtomicFile(tmp_path / "link.txt", replace=False)
    with pytest.raises(FileExistsError):
        file.commit()
    file.discard()
    assert names_in(tmp_path) == ["link.txt"]


@pytest.mark.parametrize("name", ["x" * 251 + ".mp4", "ü" * 125 + ".mp4", "🙂" * 62 + ".mp4", "a\nb[*].mp4"])
def test_any_name_that_the_system_takes(tmp_path: Path, name: str) -> None:
    with replace_atomically(tmp_path / name, replace=False) as partial:
        assert len(os.fsencode(partial.name)) < 143
    assert names_in(tmp_path) == [name]


def test_what_a_killed_run_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    left = f"import os; from pathlib import Path; from cals.files import AtomicFile; AtomicFile(Path({str(out)!r})); "
    subprocess.run([sys.executable, "-c", left + "os.kill(os.getpid(), 9)"], check=False)
    assert len(names_in(tmp_path)) == 1
    (tmp_path / ".out.txt.mine.partial").touch()
    (tmp_path / ".other.txt.01234567.partial").touch()
    living = AtomicFile(out)
    with replace_atomically(out) as partial:
        assert set(names_in(tmp_path)) == {
            ".out.txt.mine.partial",
            ".other.txt.01234567.partial",
            living.partial.name,
            partial.name,
        }
    living.discard()


@pytest.mark.parametrize(
    ("name", "part"), [("-", "standard input"), ("https://a.b/c.mp4", "download"), ("C:/a.mp4", ""), ("a:b.mp4", "")]
)
def test_hints(name: str, part: str) -> None:
    hint = suggest_path(Path(name))
    assert part in hint
    assert bool(hint) == bool(part)


def fill_and_die(folder: Path, instant: str) -> None:
    """Replace a folder in a process that is killed: while it fills the new one, or between both renames."""
    script = f"""
import os, sys
from pathlib import Path
from cals import files
folder, die = Path({str(folder)!r}), lambda *_: os.kill(os.getpid(), 9)
rename = Path.replace
def replace(self, target):
    rename(self, target)
    die() if {instant!r} == "between" else None
Path.replace = replace
with files.replace_folder_atomically(folder) as partial:
    (partial / "a.txt").write_text("new")
    die() if {instant!r} == "filling" else None
"""
    subprocess.run([sys.executable, "-c", script], check=False)


@pytest.mark.parametrize("instant", ["filling", "between"])
def test_a_folder_survives_the_death_of_who_replaces_it(tmp_path: Path, instant: str) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "a.txt").write_text("old")
    fill_and_die(folder, instant)
    assert len(names_in(tmp_path)) == 2
    assert folder.exists() == (instant == "filling")
    recover_folder(folder)
    assert (folder / "a.txt").read_text() == "old"
    with replace_folder_atomically(folder) as partial:
        (partial / "a.txt").write_text("new")
    assert (folder / "a.txt").read_text() == "new"
    assert names_in(tmp_path) == ["state"]


def test_a_folder_that_a_living_process_fills_stays(tmp_path: Path) -> None:
    with replace_folder_atomically(tmp_path / "state") as first:
        with replace_folder_atomically(tmp_path / "state") as second:
            assert first != second
        assert first.is_dir()
    assert names_in(tmp_path) == ["state"]
