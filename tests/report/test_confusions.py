"""The picture of confusions is dark where words were read as others."""

import numpy as np

from cals.report.confusions import CELL_PX, GAP_PX, LABEL_PX, draw_confusions


def test_the_picture_shows_what_was_read_as_what() -> None:
    """Words are pairs of what was read and what was said."""
    words = {
        "real": [("blue", "blue"), ("a", "a"), ("b", "b")],
        "model": [("blue", "blue"), ("b", "a"), ("a", "b")],
    }
    picture = draw_confusions(words, [("blue", "red"), ("a", "b", "c")])
    side, edges = CELL_PX * 5, LABEL_PX + GAP_PX
    assert picture.shape == (side + 2 * GAP_PX, 2 * (side + edges), 3)

    def cells(square: int) -> np.ndarray:
        left = square * (side + edges) + LABEL_PX
        middles = np.arange(5) * CELL_PX + CELL_PX // 2
        return picture[np.ix_(GAP_PX + middles, left + middles)].mean(axis=2)

    dark = {square: {(int(r), int(c)) for r, c in np.argwhere(cells(square) < 128)} for square in (0, 1)}
    assert dark == {0: {(0, 0), (2, 2), (3, 3)}, 1: {(0, 0), (2, 3), (3, 2)}}
