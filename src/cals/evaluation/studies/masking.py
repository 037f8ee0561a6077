"""Generation of mouths while the sound of their frames is masked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cals.checkpoint import compute_weights_sha256, config_from_dict, load_checkpoint
from cals.errors import CheckpointError, ConfigError
from cals.models.a2l import A2LConfig
from cals.models.cals import MeshLips, UNetLips
from cals.models.lips import LipModel

Masking = Literal["hidden", "silenced", "full"]
_BATCH = 16
"""Batch size: copies of a clip's sound encoded at once."""


@dataclass(frozen=True)
class MaskingMethod:
    """A network, and what replaces the sound of the masked frames."""

    name: str
    network: LipModel
    masking: Masking
    """Replacement: the learned mask vector of the training; digital silence; or none, the full sound."""

    def predict_span_units(self, mel: Tensor, spans: Sequence[Sequence[int]]) -> Tensor:
        """Compute units of the frames of each span, concatenated, [sum of lengths, d], each span masked on its own.

        `mel` [m f] is that of the whole clip.
        """
        blocks = []
        with torch.inference_mode():
            for first in range(0, len(spans), _BATCH):
                batch = spans[first : first + _BATCH]
                mask = torch.zeros(len(batch), len(mel) // self.network.mel.timing.mels_per_frame, dtype=torch.bool)
                for row, span in enumerate(batch):
                    mask[row, list(span)] = True
                units = self.predict_masked_units(mel, mask)
                blocks += [units[row, list(span)] for row, span in enumerate(batch)]
        return torch.cat(blocks)

    def predict_masked_units(self, mel: Tensor, lost: Tensor) -> Tensor:
        """Compute units [b t d] of the mel [m f] whose steps `lost` [b t] are masked."""
        device = next(self.network.parameters()).device
        mels, lost = mel.to(device).expand(len(lost), -1, -1), lost.to(device)
        if self.masking == "full":
            return self.network.predict_units(mels)
        if self.masking == "silenced":
            step = self.network.mel.timing.mels_per_frame
            silenced = lost.repeat_interleave(step, dim=1)[..., None]
            return self.network.predict_units(torch.where(silenced, self.network.mel.floor_db, mels))
        assert isinstance(self.network, MeshLips | UNetLips)
        return self.network.a2l(mels, lost)  # type: ignore[no-any-return]


def build_methods(network: LipModel, baseline: LipModel | None) -> list[MaskingMethod]:
    """Build all that are compared; ConfigError where the network has no Audio-to-Lip with a mask vector."""
    network = check_a2l(network)
    methods = [
        MaskingMethod("hidden", network, "hidden"),
        MaskingMethod("silenced", network, "silenced"),
        MaskingMethod("full", network, "full"),
    ]
    if baseline is not None:
        methods += [
            MaskingMethod("baseline silenced", baseline, "silenced"),
            MaskingMethod("baseline full", baseline, "full"),
        ]
    return methods


def load_a2l(network: LipModel, folder: Path) -> str:
    """Load the Audio-to-Lip of a checkpoint of its training into the network; returns its fingerprint.

    An Audio-to-Lip that is trained jointly with a decoder gets the full sound and may forget the mask vector.
    Raises CheckpointError unless the checkpoint is one of the same Audio-to-Lip.
    """
    a2l, checkpoint = check_a2l(network).a2l, load_checkpoint(folder)
    if checkpoint.kind != "a2l" or config_from_dict(A2LConfig, checkpoint.config) != a2l.config:
        raise CheckpointError(
            f"{folder}: expected an Audio-to-Lip as the model has it, found a {checkpoint.kind!r} "
            "of another config; name the one that the model was trained from"
        )
    a2l.load_state_dict(checkpoint.weights)
    return compute_weights_sha256(folder)[:12]


def check_a2l(network: LipModel) -> MeshLips | UNetLips:
    """Return the network if it has an Audio-to-Lip with a mask vector; ConfigError where it has none."""
    if not isinstance(network, MeshLips | UNetLips):
        raise ConfigError(
            f"model: expected one with an Audio-to-Lip, which knows hidden sound, found {type(network).__name__}; "
            "name such a model (cals masked compares it with any other as --baseline)"
        )
    return network
