"""The recogniser's checkpoint: the network, and the language model of its training texts."""

import dataclasses
from typing import Any

from cals.checkpoint import Checkpoint
from cals.models.avsr.language import NGram, ngram_from_tensors
from cals.models.avsr.network import AVSR
from cals.models.factory import build_frozen, to_checkpoint

_LANGUAGE_PREFIX = "language."


def avsr_to_checkpoint(network: AVSR, language: NGram, **facts: Any) -> Checkpoint:
    """Pack network and language model into a checkpoint; `facts` are its step, parents and metrics."""
    lm_weights = {_LANGUAGE_PREFIX + name: tensor for name, tensor in language.to_tensors().items()}
    checkpoint = to_checkpoint(network, **facts)
    return dataclasses.replace(checkpoint, weights=dict(checkpoint.weights) | lm_weights)


def avsr_from_checkpoint(checkpoint: Checkpoint) -> tuple[AVSR, NGram]:
    """Build the frozen network and its language model; strict: every weight must be present and fit.

    A network with a Whisper front-end needs that one's weights too: load them with `factory.load_front_end`.
    """
    language = {
        name.removeprefix(_LANGUAGE_PREFIX): tensor
        for name, tensor in checkpoint.weights.items()
        if name.startswith(_LANGUAGE_PREFIX)
    }
    own_weights = {name: tensor for name, tensor in checkpoint.weights.items() if not name.startswith(_LANGUAGE_PREFIX)}
    network = build_frozen(AVSR, dataclasses.replace(checkpoint, weights=own_weights))
    return network, ngram_from_tensors(language)
