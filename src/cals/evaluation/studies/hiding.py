"""Ways of making mouths whose own sound is not heard."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cals.checkpoint import config_from_dict, load_checkpoint, weights_sha256
from cals.errors import CheckpointError, ConfigError
from cals.models.a2l import A2LConfig
from cals.models.lips import LipModel
from cals.models.speaking import MeshLips, UNetLips

Loss = Literal["hidden", "silenced", "full"]
_AT_ONCE = 16
"""Copies of a clip's sound heard at once."""


@dataclass(frozen=True)
class Way:
    """A network, and what it gets in place of the sound of some frames."""

    name: str
    network: LipModel
    loss: Loss
    """The learned vector of the training's corruption; digital silence; or nothing is taken away."""

    def units(self, mel: Tensor, spans: Sequence[Sequence[int]]) -> Tensor:
        """Units of the frames of each span, one after another, [sum of lengths, d], each span lost on its own.

        `mel` [m f] is that of the whole clip.
        """
        found = []
        with torch.inference_mode():
            for first in range(0, len(spans), _AT_ONCE):
                part = spans[first : first + _AT_ONCE]
                lost = torch.zeros(len(part), len(mel) // self.network.mel.timing.mels_per_frame, dtype=torch.bool)
                for row, span in enumerate(part):
                    lost[row, list(span)] = True
                heard = self.heard(mel, lost)
                found += [heard[row, list(span)] for row, span in enumerate(part)]
        return torch.cat(found)

    def heard(self, mel: Tensor, lost: Tensor) -> Tensor:
        """Units [b t d] of the mel [m f] of which the steps [b t] are lost."""
        device = next(self.network.parameters()).device
        mels, lost = mel.to(device).expand(len(lost), -1, -1), lost.to(device)
        if self.loss == "full":
            return self.network.units(mels)
        if self.loss == "silenced":
            step = self.network.mel.timing.mels_per_frame
            quiet = lost.repeat_interleave(step, dim=1)[..., None]
            return self.network.units(torch.where(quiet, self.network.mel.floor_db, mels))
        assert isinstance(self.network, MeshLips | UNetLips)
        return self.network.a2l(mels, lost)  # type: ignore[no-any-return]


def ways(network: LipModel, baseline: LipModel | None) -> list[Way]:
    """All that are compared; ConfigError where the network has no Audio-to-Lip that could be told what is hidden."""
    network = check_speaking(network)
    found = [Way("hidden", network, "hidden"), Way("silenced", network, "silenced"), Way("full", network, "full")]
    if baseline is not None:
        found += [Way("baseline silenced", baseline, "silenced"), Way("baseline full", baseline, "full")]
    return found


def take_a2l(network: LipModel, folder: Path) -> str:
    """Give the network, in memory, the Audio-to-Lip of a checkpoint of its training; returns its fingerprint.

    What is learnt together with a decoder hears everything and may forget what the vector for hidden sound means.
    Raises CheckpointError unless the checkpoint is one of the same Audio-to-Lip.
    """
    a2l, checkpoint = check_speaking(network).a2l, load_checkpoint(folder)
    if checkpoint.kind != "a2l" or config_from_dict(A2LConfig, checkpoint.config) != a2l.config:
        raise CheckpointError(
            f"{folder}: expected an Audio-to-Lip as the model has it, found a {checkpoint.kind!r} with "
            f"{checkpoint.config}; name the one that the model was trained from"
        )
    a2l.load_state_dict(checkpoint.weights)
    return weights_sha256(folder)[:12]


def check_speaking(network: LipModel) -> MeshLips | UNetLips:
    """The network, which has an Audio-to-Lip that can be told what is hidden; ConfigError where it has none."""
    if not isinstance(network, MeshLips | UNetLips):
        raise ConfigError(
            f"model: expected one with an Audio-to-Lip, which knows hidden sound, found {type(network).__name__}; "
            "name such a model (cals masked compares it with any other as --baseline)"
        )
    return network
