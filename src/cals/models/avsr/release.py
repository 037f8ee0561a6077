"""The recogniser's checkpoint: the network, and the language model it was trained beside."""

import dataclasses
from typing import Any

from cals.checkpoint import Checkpoint, config_from_dict, frozen
from cals.errors import CheckpointError
from cals.models.avsr.config import AVSRConfig
from cals.models.avsr.language import NGram, ngram_from_tensors
from cals.models.avsr.network import AVSR

KIND = "avsr"
_LANGUAGE = "language."


def avsr_to_checkpoint(network: AVSR, language: NGram, **facts: Any) -> Checkpoint:
    """Both, ready to be saved; `facts` are the checkpoint's step, parents, metrics."""
    words = {_LANGUAGE + name: tensor for name, tensor in language.tensors().items()}
    return Checkpoint(
        kind=KIND, config=dataclasses.asdict(network.config), weights=dict(network.state_dict()) | words, **facts
    )


def avsr_from_checkpoint(checkpoint: Checkpoint) -> tuple[AVSR, NGram]:
    """The frozen network and its language model; strict: every weight must be there and fit.

    A network that hears with Whisper has yet to be given that one's weights, by `factory.load_front`.
    """
    if checkpoint.kind != KIND:
        raise CheckpointError(
            f"checkpoint: expected a recogniser, found a {checkpoint.kind!r} model; name what `cals train avsr` wrote"
        )
    network = AVSR(config_from_dict(AVSRConfig, checkpoint.config))
    language = {
        name.removeprefix(_LANGUAGE): tensor
        for name, tensor in checkpoint.weights.items()
        if name.startswith(_LANGUAGE)
    }
    own = {name: tensor for name, tensor in checkpoint.weights.items() if not name.startswith(_LANGUAGE)}
    frozen(network, dataclasses.replace(checkpoint, weights=own))
    return network, ngram_from_tensors(language)
