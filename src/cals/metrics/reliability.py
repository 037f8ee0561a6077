"""How well reliability scores detect corrupted frames."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cals.metrics.accuracy import ranking_auc
from cals.metrics.bootstrap import F64, sample_clip_counts


class ReliabilityScores:
    """Accumulates scores of frames with known corruption over batches."""

    def __init__(self) -> None:
        self._scores: dict[str, list[NDArray[np.float32]]] = {}
        self._truth: dict[str, list[NDArray[np.bool_]]] = {}

    def update(self, scores: Mapping[str, Tensor], truth: Sequence[Mapping[str, NDArray[np.bool_]]]) -> None:
        """Add scores [b t c] by stream, and for each row which of its frames [t] are corrupted."""
        for stream, values in scores.items():
            for row, row_truth in zip(values.float().mean(dim=-1).cpu().numpy(), truth, strict=True):
                corrupted = row_truth[stream]
                self._scores.setdefault(stream, []).append(row[: len(corrupted)])
                self._truth.setdefault(stream, []).append(corrupted)

    def compute(self) -> dict[str, float]:
        """Compute by stream how often a corrupted frame scores below a clean one; NaN where none is corrupted."""
        return {
            stream: ranking_auc(1 - np.concatenate(scores), np.concatenate(self._truth[stream]))
            for stream, scores in self._scores.items()
        }


def bootstrap_auc(clips: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]], seed: int = 0) -> F64:
    """Compute replicates [r], for `estimate_interval`, of how often a corrupted frame scores below a clean one.

    A clip is its frames' scores [t] and which of them are corrupted; frames are ranked among those of all clips. A
    resample in which no frame is corrupted, or all are, is NaN.
    """
    corrupted_scores = [scores[corrupted] for scores, corrupted in clips]
    clean_scores = [np.sort(scores[~corrupted]) for scores, corrupted in clips]
    wins = np.zeros((len(clips), len(clips)))
    for j, clean_clip in enumerate(clean_scores):
        for i, corrupted_clip in enumerate(corrupted_scores):
            ranks = np.searchsorted(clean_clip, corrupted_clip, side="left") + np.searchsorted(
                clean_clip, corrupted_clip, side="right"
            )
            wins[i, j] = len(clean_clip) * len(corrupted_clip) - ranks.sum() / 2
    counts = sample_clip_counts(len(clips), seed)
    pairs = (counts @ np.array([len(corrupted_clip) for corrupted_clip in corrupted_scores])) * (
        counts @ np.array([len(clean_clip) for clean_clip in clean_scores])
    )
    return np.where(pairs > 0, ((counts @ wins) * counts).sum(axis=1) / np.where(pairs > 0, pairs, 1), np.nan)
