"""A frozen lip reader applied to the mouths of one clip."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cals.checkpoint import load_checkpoint
from cals.data.words import TimedWord, collate_words
from cals.errors import CheckpointError
from cals.evaluation.reading.readings import Reading
from cals.face.align import CROP_SIZE_PX
from cals.metrics.accuracy import argmax_where
from cals.models.factory import build_frozen
from cals.models.reader import BLANK, LipReader
from cals.types import U8


def load_reader(folder: Path) -> LipReader:
    """Load the frozen reader of a checkpoint folder; CheckpointError unless it takes crops of our size."""
    model = build_frozen(LipReader, load_checkpoint(folder))
    if model.config.crop_px != CROP_SIZE_PX:
        raise CheckpointError(
            f"{folder}: expected a reader of crops of {CROP_SIZE_PX} px, found {model.config.crop_px} px; name another"
        )
    return model


@torch.inference_mode()
def read_words(
    network: LipReader, mouth: U8, words: Sequence[TimedWord], valid: NDArray[np.bool_], *, blanked: bool = False
) -> list[Reading]:
    """Read each word in a mouth [t h w 3]; frames that are not `valid` [t] are hidden from the reader.

    With `blanked` the word's own frames are hidden too.
    """
    if not words:
        return []
    config, device = network.config, next(network.parameters()).device
    batch = collate_words([(mouth, words)], config.context, BLANK)
    hidden = (batch.index == BLANK) | ~torch.from_numpy(valid)[batch.index.clamp_min(0)]
    index = batch.index.masked_fill(hidden | batch.word_mask if blanked else hidden, BLANK)
    frames = batch.mouths.to(device).float() / 255
    scores = network(frames, index.to(device), batch.word_mask.to(device)).float().cpu().numpy()
    slots = np.array([config.slot_of[word] for word in config.words])
    target_slots = np.array([config.slot_of[text] for text in batch.texts])
    slot_preds = argmax_where(scores, slots[None] == target_slots[:, None])
    return [
        Reading(text, config.words[pred], config.words[slot_pred])
        for text, pred, slot_pred in zip(batch.texts, scores.argmax(axis=1), slot_preds, strict=True)
    ]
