"""Means over clips, and the targets beside them."""

import math

import pytest

from cals.evaluation.table import average_scores, format_score_tables, format_target_table, list_targets

GOOD = {
    "real": {"found": 1.0},
    "self": {"opening": 0.95, "span": 1.0, "lmd": 1.0, "psnr_lips": 30.0},
    "cross": {"opening": 0.9, "leak": 0.02},
    "copy": {"opening": 0.0, "lmd": 2.5, "psnr_lips": 25.0},
}
BAD = {
    "real": {"found": 0.0},
    "self": {"opening": 0.65, "span": math.nan, "lmd": 2.0, "psnr_lips": 26.0},
    "copy": {"opening": 0.0, "lmd": 2.5, "psnr_lips": 25.0},
}


def test_means_and_what_is_compared_with_the_copy() -> None:
    result = average_scores([("val_seen", GOOD), ("val_seen", BAD), ("other", BAD)])
    assert result["val_seen"]["self"] == pytest.approx(
        {
            "clips": 2,
            "opening": 0.8,
            "span": 1.0,
            "lmd": 1.5,
            "lmd_over_copy": 0.6,
            "psnr_lips": 28.0,
            "psnr_lips_over_copy": 3.0,
        }
    )
    assert result["val_seen"]["cross"]["clips"] == 1
    assert "lmd_over_copy" not in result["val_seen"]["copy"]
    assert "span" not in result["other"]["self"]  # not a number in any clip


def test_targets_are_held_against_their_part() -> None:
    result = average_scores([("val_seen", GOOD), ("val_unseen", BAD), ("other", GOOD)])
    met = {(t.label, part): t.is_met(part, reached) for t, part, reached in list_targets(result)}
    assert {part for _, part in met} == {"val_seen", "val_unseen"}
    assert met["opening correlation, self-driven", "val_seen"]
    assert not met["opening correlation, self-driven", "val_unseen"]
    assert met["LMD as a share of copy's", "val_seen"]  # 0.4
    assert not met["LMD as a share of copy's", "val_unseen"]  # 0.8
    assert not met["lip PSNR over copy's, dB", "val_unseen"]  # 1.0
    assert not met["real clips found in step", "val_unseen"]


def test_tables_line_up() -> None:
    result = average_scores([("val_seen", GOOD)])
    motion, picture = format_score_tables(result).split("\n\n")
    for text in (motion, picture, format_target_table(result)):
        assert len({len(line) for line in text.splitlines()}) == 1
    assert "| val_seen | cross  | 1     | 0.900" in motion
    assert "real" in motion
    assert "real" not in picture  # nothing is said of it there
    assert "| opening correlation, self-driven  | val_seen | >= 0.9       | 0.950   | yes |" in format_target_table(
        result
    )


def test_parts_without_targets_have_no_table_of_them() -> None:
    assert format_target_table(average_scores([("other", GOOD)])) == ""
