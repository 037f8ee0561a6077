"""How well reliability scores tell corrupted frames."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cals.metrics.accuracy import ranking_auc
from cals.metrics.bootstrap import F64, draws


class ReliabilityScores:
    """Scores of frames whose corruption is known, collected over batches."""

    def __init__(self) -> None:
        self._scores: dict[str, list[NDArray[np.float32]]] = {}
        self._truth: dict[str, list[NDArray[np.bool_]]] = {}

    def add(self, scores: Mapping[str, Tensor], truth: Sequence[Mapping[str, NDArray[np.bool_]]]) -> None:
        """Take in scores [b t c] by stream, and for each row which of its frames [t] are corrupted."""
        for stream, values in scores.items():
            for row, of_row in zip(values.float().mean(dim=-1).cpu().numpy(), truth, strict=True):
                flags = of_row[stream]
                self._scores.setdefault(stream, []).append(row[: len(flags)])
                self._truth.setdefault(stream, []).append(flags)

    def aucs(self) -> dict[str, float]:
        """By stream, how often a corrupted frame is trusted less than another one; NaN where none is corrupted."""
        return {
            stream: ranking_auc(1 - np.concatenate(scores), np.concatenate(self._truth[stream]))
            for stream, scores in self._scores.items()
        }


def auc_replicates(clips: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]], seed: int = 0) -> F64:
    """Bootstrap over clips of how often a corrupted frame is trusted less than another one: [r], as `estimate` takes.

    Clips are their frames' scores [t] and which [t] are corrupted; frames are ranked among those of all clips. A draw
    in which no frame is corrupted, or all are, is NaN.
    """
    below = [scores[corrupted] for scores, corrupted in clips]
    above = [np.sort(scores[~corrupted]) for scores, corrupted in clips]
    wins = np.zeros((len(clips), len(clips)))
    for j, clean in enumerate(above):
        for i, low in enumerate(below):
            ranks = np.searchsorted(clean, low, side="left") + np.searchsorted(clean, low, side="right")
            wins[i, j] = len(clean) * len(low) - ranks.sum() / 2
    counts = draws(len(clips), seed)
    pairs = (counts @ np.array([len(low) for low in below])) * (counts @ np.array([len(clean) for clean in above]))
    return np.where(pairs > 0, ((counts @ wins) * counts).sum(axis=1) / np.where(pairs > 0, pairs, 1), np.nan)
