"""Which words were read as which, as a picture: a square a method, its rows what was said."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from cals.evaluation.reading.readings import Reading
from cals.metrics.accuracy import confusions
from cals.models.reader import ReaderConfig
from cals.types import U8

CELL_PX, LABEL_PX, GAP_PX = 12, 52, 24
_INK, _LINE = (40, 40, 40), (190, 190, 190)


def confusion_picture(readings: Mapping[str, Sequence[Reading]], config: ReaderConfig) -> U8:
    """One square a method side by side, slots divided by lines; the darker, the more of a row's words."""
    return np.concatenate([_square(method, words, config) for method, words in readings.items()], axis=1)


def _square(method: str, words: Sequence[Reading], config: ReaderConfig) -> U8:
    number = {word: i for i, word in enumerate(config.words)}
    read = np.array([number[word.read] for word in words], dtype=np.int64)
    said = np.array([number[word.said] for word in words], dtype=np.int64)
    counts = confusions(read, said, len(number))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = CELL_PX * len(number)
    heat = cv2.applyColorMap(np.rint(255 * (1 - shares)).astype(np.uint8), cv2.COLORMAP_BONE)
    sheet = np.full((GAP_PX + side + GAP_PX, LABEL_PX + side + GAP_PX, 3), 255, np.uint8)
    square = sheet[GAP_PX : GAP_PX + side, LABEL_PX : LABEL_PX + side]
    square[:] = cv2.resize(heat, (side, side), interpolation=cv2.INTER_NEAREST)
    edge = 0
    for slot in config.slots.values():
        cv2.rectangle(square, (edge, edge), (edge + CELL_PX * len(slot) - 1,) * 2, _LINE, 1)
        edge += CELL_PX * len(slot)
    title = f"{method}: {np.mean(read == said):.0%} of {len(words)} words" if len(words) else f"{method}: no words"
    _text(sheet, title, (LABEL_PX, GAP_PX - 8), 0.5)
    for word, i in number.items():
        _text(sheet, word, (4, GAP_PX + CELL_PX * (i + 1) - 3), 0.33)
    return sheet


def _text(sheet: U8, text: str, place: tuple[int, int], size: float) -> None:
    cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)
