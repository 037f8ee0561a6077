"""The Audio-Lip Memory: lip features are stored in slots and recalled by audio."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from cals.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """SyncTalkFace's figures (arXiv 2211.00924; paper section 2, [A])."""

    slots: int = 96
    """0 removes the memory, for an ablation: recalled features are then zeros."""
    width: int = 512
    """Width of keys, which audio codes address, and of values, which lip features address."""
    scale: float = 16.0
    """Factor on the cosine similarities before the softmax."""
    deviation: float = 0.5
    """Standard deviation of the slots at initialisation; their mean is 0."""

    def __post_init__(self) -> None:
        if self.slots < 0 or self.width < 1 or min(self.scale, self.deviation) <= 0:
            raise ConfigError(
                f"memory: expected 0 slots (none) or more and a positive width, scale and deviation, found {self}"
            )


class LipMemory(nn.Module):
    """A key-value memory: both keys and values are addressed, and values are recalled."""

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__()
        self.config = config
        self.key = nn.Parameter(config.deviation * torch.randn(config.slots, config.width))
        self.value = nn.Parameter(config.deviation * torch.randn(config.slots, config.width))

    def address_by_audio(self, audio: Tensor) -> Tensor:
        """Compute slot weights [... s], which sum to 1, from the similarity of audio codes [... d] to the keys."""
        return self._address(audio, self.key)

    def address_by_lips(self, lips: Tensor) -> Tensor:
        """Compute slot weights [... s], which sum to 1, from the similarity of lip features [... d] to the values."""
        return self._address(lips, self.value)

    def recall(self, address: Tensor) -> Tensor:
        """Compute lip features [... d]: the mean of the values under slot weights [... s]."""
        return address @ self.value

    def _address(self, query: Tensor, slots: Tensor) -> Tensor:
        cosines = normalize(query, dim=-1) @ normalize(slots, dim=-1).T
        return torch.softmax(self.config.scale * cosines, dim=-1)
