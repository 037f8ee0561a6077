"""How well reliability scores tell corrupted frames."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cals.metrics.accuracy import ranking_auc


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
