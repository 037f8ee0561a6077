"""When an offset is believed, and how it is told."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cals.data.manifest import ClipSource
from cals.errors import DataError
from cals.evaluation import clip_offset
from cals.evaluation.clip_offset import choose_offset, find_offset, read_offsets
from cals.evaluation.drives import RealClip, read_clip
from cals.face.detector import FaceDetector
from cals.inference.sync_distances import SyncDistances
from cals.inference.sync_encoders import load_encoders


@pytest.fixture(scope="module")
def clip(raw: Path, detector: FaceDetector) -> RealClip:
    return read_clip(ClipSource(name="one", speaker="anna", video=raw / "anna" / "one.mp4"), detector, 0.5)


@pytest.mark.parametrize(
    ("thirds", "late", "why"),
    [
        ([-2, -2, -2], 2, "found: 2, 2, 2 in its thirds"),
        ([3, 3, 4], -3, "found: -3, -3, -4 in its thirds"),
        ([-2, -2, 1], 0, "not sure: 2 in all"),
        ([15, 15, 15], 0, "not sure: -15 in all"),
        ([], 0, "too short"),
    ],
)
def test_thirds_have_to_agree(
    clip: RealClip, monkeypatch: pytest.MonkeyPatch, thirds: list[int], late: int, why: str
) -> None:
    rng = np.random.default_rng(2)

    def measure(*_: object) -> Iterator[SyncDistances]:
        distances = [rng.uniform(1.1, 1.2, 31).astype(np.float32) for _ in range(20 * len(thirds))]
        for number, row in enumerate(distances):
            row[15 + thirds[number // 20]] = 0.8
        yield SyncDistances(frame_indices=list(range(len(distances))), distances=distances)

    monkeypatch.setattr(clip_offset, "measure_shifts", measure)
    result = find_offset(clip, load_encoders())
    assert result.late_frames == late
    assert why in result.why


def test_what_is_told_is_believed(clip: RealClip, tmp_path: Path) -> None:
    (tmp_path / "told.json").write_text('{"one": -1.5}')
    told = read_offsets(tmp_path / "told.json", ["one", "two"])
    assert told == {"one": -1.5}
    result = choose_offset(clip, load_encoders(), told["one"])
    assert (result.delay_s, result.why) == (pytest.approx(-0.06), "told")


@pytest.mark.parametrize("text", ['{"three": 1}', '{"one": 26}', '{"one": "late"}', "[1]", "no"])
def test_strange_offsets_are_errors(tmp_path: Path, text: str) -> None:
    (tmp_path / "told.json").write_text(text)
    with pytest.raises(DataError, match="told.json: expected"):
        read_offsets(tmp_path / "told.json", ["one", "two"])
