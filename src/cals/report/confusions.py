"""Confusion matrices as a picture: a square per method, its rows the spoken words."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from cals.metrics.accuracy import count_confusions
from cals.types import U8

CELL_PX, LABEL_PX, GAP_PX = 12, 52, 24
_INK, _LINE = (40, 40, 40), (190, 190, 190)


def draw_confusions(words: Mapping[str, Sequence[tuple[str, str]]], groups: Sequence[Sequence[str]]) -> U8:
    """Draw one square per method side by side; darker is a larger share of the row.

    `words` are method -> predicted and spoken word; `groups`, the vocabulary, are divided by lines.
    """
    return np.concatenate([_draw_square(method, pairs, groups) for method, pairs in words.items()], axis=1)


def _draw_square(method: str, words: Sequence[tuple[str, str]], groups: Sequence[Sequence[str]]) -> U8:
    index = {word: i for i, word in enumerate(word for group in groups for word in group)}
    pred = np.array([index[word] for word, _ in words], dtype=np.int64)
    target = np.array([index[word] for _, word in words], dtype=np.int64)
    counts = count_confusions(pred, target, len(index))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = CELL_PX * len(index)
    heat = cv2.applyColorMap(np.rint(255 * (1 - shares)).astype(np.uint8), cv2.COLORMAP_BONE)
    sheet = np.full((GAP_PX + side + GAP_PX, LABEL_PX + side + GAP_PX, 3), 255, np.uint8)
    square = sheet[GAP_PX : GAP_PX + side, LABEL_PX : LABEL_PX + side]
    square[:] = cv2.resize(heat, (side, side), interpolation=cv2.INTER_NEAREST)
    edge = 0
    for group in groups:
        cv2.rectangle(square, (edge, edge), (edge + CELL_PX * len(group) - 1,) * 2, _LINE, 1)
        edge += CELL_PX * len(group)
    title = f"{method}: {np.mean(pred == target):.0%} of {len(words)} words" if len(words) else f"{method}: no words"
    _draw_text(sheet, title, (LABEL_PX, GAP_PX - 8), 0.5)
    for word, i in index.items():
        _draw_text(sheet, word, (4, GAP_PX + CELL_PX * (i + 1) - 3), 0.33)
    return sheet


def _draw_text(sheet: U8, text: str, place: tuple[int, int], size: float) -> None:
    cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)
