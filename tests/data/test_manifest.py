from pathlib import Path

import pytest

from cals.data.manifest import ClipSource
from cals.data.prepare import PrepareConfig, prepare
from cals.data.sources import folder
from cals.errors import DataError


def test_long_names_have_keys_that_fit_a_file() -> None:
    names = ["語" * 90 + end for end in ("a", "b")]
    keys = {ClipSource(name=name, speaker="s", video=Path("x.mp4")).key for name in names}
    assert len(keys) == 2
    assert max(len(key.encode()) for key in keys) <= 200


@pytest.mark.parametrize(
    ("one", "other"), [("s1/talk.mov", "s1/talk.mp4"), ("a.b.mp4", "a_b.mp4"), ("a/b-c.mp4", "a-b/c.mp4")]
)
def test_clips_of_one_key_are_refused_before_work_starts(tmp_path: Path, one: str, other: str) -> None:
    for name in (one, other):
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / name).touch()
    with pytest.raises(DataError, match="rename one") as caught:
        prepare(folder.list_clips(tmp_path / "raw"), tmp_path / "out", PrepareConfig())
    assert str(tmp_path / "raw" / one) in str(caught.value)
    assert str(tmp_path / "raw" / other) in str(caught.value)
    assert not (tmp_path / "out").exists()
