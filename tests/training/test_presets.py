"""Presets of the large corpora equal GRID's except for the length of their windows."""

from dataclasses import replace

import pytest

from cals.data.sources.lrw import CLIP_S
from cals.training.presets import A2L, CORPUS_FRAMES, L2F, SYNC


@pytest.mark.parametrize("size", ["small", "paper"])
@pytest.mark.parametrize("corpus", CORPUS_FRAMES)
def test_stages_of_a_corpus_fit_together(corpus: str, size: str) -> None:
    sync, a2l, l2f = (stage[f"{name}-{corpus}-{size}"] for name, stage in (("sync", SYNC), ("a2l", A2L), ("l2f", L2F)))
    assert sync.model.embedding == a2l.model.unit == l2f.decoder.unit
    assert a2l.frames == l2f.frames == CORPUS_FRAMES[corpus]
    grid = A2L[f"a2l-grid-{size}"], L2F[f"l2f-grid-{size}"]
    assert (replace(a2l, frames=70, span=5), replace(l2f, frames=70)) == grid


def test_stretches_of_lrw_are_whole_clips() -> None:
    assert CORPUS_FRAMES["lrw"] == 25 * CLIP_S
