"""The lip reader: its output depends on the frames of the window alone."""

from dataclasses import asdict

import pytest
import torch

from cals.checkpoint import Checkpoint
from cals.errors import CheckpointError, ConfigError
from cals.models.factory import build_frozen
from cals.models.reader import BLANK, GRID_SLOTS, LipReader, ReaderConfig

SMALL = ReaderConfig(width=2, hidden=8, layers=2)


def reader() -> LipReader:
    torch.manual_seed(0)
    return LipReader(SMALL).eval().requires_grad_(False)


def window(*places: int, own: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    count = torch.arange(len(places))
    return torch.tensor([places]), ((count >= own[0]) & (count < own[1]))[None]


def test_the_vocabulary_is_grids() -> None:
    config = ReaderConfig()
    assert len(config.words) == len(set(config.words)) == 51
    assert [len(words) for words in GRID_SLOTS.values()] == [4, 4, 4, 25, 10, 4]
    assert "w" not in config.words  # the letter that GRID leaves out
    assert config.slot_of["a"] == "letter"
    assert 5e5 < sum(weight.numel() for weight in LipReader(config).parameters()) < 1e6


def test_only_the_frames_of_the_window_count() -> None:
    model, frames = reader(), torch.rand(9, 3, 48, 72)
    index, own = window(2, 3, 4, 5, 6, own=(1, 4))
    scores = model(frames, index, own)
    other = frames.clone()
    other[[0, 1, 7, 8]] = 0
    torch.testing.assert_close(model(other, index, own), scores)
    other[6] = 0  # a frame of the context
    assert float((model(other, index, own) - scores).abs().max()) > 1e-4


def test_blanked_frames_are_not_seen() -> None:
    model, frames = reader(), torch.rand(5, 3, 48, 72)
    index, own = window(0, BLANK, BLANK, 3, 4, own=(1, 3))
    scores = model(frames, index, own)
    other = frames.clone()
    other[[1, 2]] = torch.rand(2, 3, 48, 72)
    torch.testing.assert_close(model(other, index, own), scores)
    assert bool(torch.isfinite(model(frames, torch.full((1, 5), BLANK), own)).all())


def test_a_words_scores_do_not_depend_on_its_company() -> None:
    model, frames = reader(), torch.rand(12, 3, 48, 72)
    index, own = window(1, 2, 3, 4, own=(1, 3))
    alone = model(frames, index, own)
    longer, mine = window(*range(12), own=(3, 9))
    rest = torch.full((1, 8), BLANK)
    together = model(
        frames,
        torch.cat([torch.cat([index, rest], dim=1), longer]),
        torch.cat([torch.cat([own, torch.zeros(1, 8, dtype=torch.bool)], dim=1), mine]),
    )
    torch.testing.assert_close(together[:1], alone)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="within the crop"):
        ReaderConfig(cut=(68, 132, 28, 100))
    with pytest.raises(ConfigError, match="multiples of 4 px"):
        ReaderConfig(cut=(68, 117, 28, 100))
    with pytest.raises(ConfigError, match="each in one slot"):
        ReaderConfig(slots={"first": ("in", "at"), "second": ("in",)})
    with pytest.raises(CheckpointError, match="expected a lip reader, found a 'sync'"):
        build_frozen(LipReader, Checkpoint(kind="sync", config={}, weights={}))
    model = reader()
    weights = dict(model.state_dict())
    found = build_frozen(LipReader, Checkpoint(kind="reader", config=asdict(SMALL), weights=weights))
    assert found.config == SMALL
    assert not any(weight.requires_grad for weight in found.parameters())
    with pytest.raises(CheckpointError, match="the weights of a 'reader' model, found a mismatch"):
        build_frozen(LipReader, Checkpoint(kind="reader", config=asdict(ReaderConfig()), weights=weights))
