"""The words of an ablation say what its numbers do."""

import numpy as np
import pytest

from cals.evaluation.ablation.order import (
    MEASURES,
    TABLE_1,
    Scores,
    describe_order,
    estimate_difference,
    format_mean_table,
)


def scores(rows: dict[str, dict[str, float]], clips: int = 20, noise: float = 0.0) -> Scores:
    """Every clip with the rows' values, all shifted alike from clip to clip, and noise on top."""
    rng = np.random.default_rng(0)
    shifts = rng.normal(size=clips)
    return {
        "val_seen": {
            row: {
                name: {f"clip{i}": value + shifts[i] + noise * rng.normal() for i in range(clips)}
                for name, value in values.items()
            }
            for row, values in rows.items()
        }
    }


def test_the_published_order_agrees_with_itself() -> None:
    words = describe_order(scores(TABLE_1))
    assert len(words) == len(MEASURES)
    for sentence in words:
        assert "6 of 6 pairs as published" in sentence
        assert "other way round" not in sentence
    assert "Published, best first: a2l+d_av, a2l+d_av+d_vv, a2l, wav2lip. Ours: a2l+d_av, a2l+d_av+d_vv" in words[3]
    assert words[3].startswith("- LSE-D, val_seen, 20 clips.")  # less is better there


def test_one_pair_the_other_way_round_is_named() -> None:
    rows = {row: dict(values) for row, values in TABLE_1.items()}
    rows["wav2lip"]["lmd"] = 1.2  # better than a2l's 1.311, still worse than the others
    words = {sentence.split(",")[0]: sentence for sentence in describe_order(scores(rows))}
    assert "5 of 6 pairs as published" in words["- LMD"]
    assert "the other way round: a2l over wav2lip (+0.111 from wav2lip to a2l" in words["- LMD"]
    assert "6 of 6" in words["- PSNR"]


def test_what_noise_could_have_done_is_not_told_apart() -> None:
    words = describe_order(scores(TABLE_1, noise=100.0))
    assert any("not told apart" in sentence for sentence in words)
    assert all("6 of 6" in sentence for sentence in describe_order(scores(TABLE_1, clips=6)))
    assert all("No pair is told apart" in sentence for sentence in describe_order(scores(TABLE_1, clips=5)))
    equal = {row: {"ssim": 0.5} for row in TABLE_1}
    (sentence,) = describe_order(scores(equal))
    assert "0 of 6 pairs as published. not told apart: " in sentence


def test_rows_without_published_figures_are_shown_but_not_compared() -> None:
    result = scores(
        {"real": {"lse_d": 0.5}, "wav2lip": {"lse_d": 0.9}, "a2l": {"lse_d": 0.8}, "window": {"lse_d": 1.0}}
    )
    (sentence,) = describe_order(result)
    assert "1 of 1 pairs as published" in sentence
    assert "window" not in sentence
    lines = format_mean_table(result).splitlines()
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["real", "wav2lip", "a2l", "window"]
    assert lines[3].rstrip("| ").endswith("8.795")
    assert "5.895" in lines[3]
    assert "5.895" not in lines[5]


def test_the_interval_is_of_paired_differences() -> None:
    rng = np.random.default_rng(1)
    first = {f"c{i}": float(value) for i, value in enumerate(100 * rng.normal(size=200))}
    changes = 1 + 0.5 * rng.normal(size=200)
    second = {clip: value + float(change) for (clip, value), change in zip(first.items(), changes, strict=True)}
    low, high = estimate_difference(first, second | {"elsewhere": 1e9})
    half = 1.96 * changes.std() / np.sqrt(200)
    assert (low, high) == pytest.approx((changes.mean() - half, changes.mean() + half), abs=0.02)
