from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cals.training.sheet import DIFFERENCE_GAIN, write_training_sheet


def test_rows_and_columns_are_where_they_belong(tmp_path: Path) -> None:
    size, gap = 128, 4
    shades = torch.tensor([0.2, 0.6, 1.0])[:, None, None, None].expand(3, 3, size, size)
    target = shades.clone()
    generated = target - 0.1
    generated[:, 2] = target[:, 2]  # blue agrees
    write_training_sheet(tmp_path / "sheet.png", 1 - shades, target, generated)
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "sheet.png")), cv2.COLOR_BGR2RGB) / 255
    assert sheet.shape == (4 * (size + gap) + gap, 3 * (size + gap) + gap, 3)

    def cell(row: int, column: int) -> np.ndarray:
        y, x = (gap + index * (size + gap) for index in (row, column))
        return sheet[y + size // 2 : y + size, x : x + size].mean(axis=(0, 1))

    difference = [DIFFERENCE_GAIN * 0.1] * 2 + [0.0]
    for column, shade in enumerate((0.2, 0.6, 1.0)):
        rows = [[1 - shade] * 3, [shade] * 3, [shade - 0.1, shade - 0.1, shade], difference]
        for row, expected in enumerate(rows):
            assert cell(row, column) == pytest.approx(expected, abs=0.004)
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


def test_stacks_of_other_shapes_are_refused(tmp_path: Path) -> None:
    pictures = torch.zeros(2, 3, 8, 8)
    with pytest.raises(ValueError, match="three stacks of one shape"):
        write_training_sheet(tmp_path / "sheet.png", pictures, pictures[:1], pictures)
