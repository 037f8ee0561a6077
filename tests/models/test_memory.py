"""The Audio-Lip Memory against a NumPy reference."""

import numpy as np
import pytest
import torch

from cals.errors import ConfigError
from cals.models.memory import LipMemory, MemoryConfig

CONFIG = MemoryConfig(slots=7, width=5, scale=16.0)


@pytest.fixture
def memory() -> LipMemory:
    torch.manual_seed(0)
    return LipMemory(CONFIG)


def reference_address(query: np.ndarray, slots: np.ndarray, scale: float) -> np.ndarray:
    """Compute the softmax of scaled cosines, in NumPy."""
    lengths = np.linalg.norm(query, axis=-1)[..., None] * np.linalg.norm(slots, axis=-1)
    weights = np.exp(scale * (query @ slots.T) / lengths)
    found: np.ndarray = weights / weights.sum(axis=-1, keepdims=True)
    return found


@torch.no_grad()
def test_addresses_and_recall_are_those_of_numpy(memory: LipMemory) -> None:
    query = torch.randn(2, 3, CONFIG.width)
    numbers = query.double().numpy()
    for slots, found in (
        (memory.key, memory.address_by_audio(query)),
        (memory.value, memory.address_by_lips(query)),
    ):
        expected = reference_address(numbers, slots.double().numpy(), CONFIG.scale)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-7)
        recalled = memory.recall(found)  # of either address: values
        np.testing.assert_allclose(recalled.numpy(), expected @ memory.value.double().numpy(), rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_a_value_recalls_itself_where_the_scale_is_high() -> None:
    torch.manual_seed(0)
    memory = LipMemory(MemoryConfig(slots=7, width=32, scale=1000.0))
    torch.testing.assert_close(memory.recall(memory.address_by_lips(3 * memory.value)), memory.value.data)
    found = memory.recall(memory.address_by_audio(memory.key[[4]]))
    torch.testing.assert_close(found, memory.value[[4]])


def test_slots_begin_as_published() -> None:
    torch.manual_seed(0)
    memory = LipMemory(MemoryConfig())
    for slots in (memory.key, memory.value):
        assert slots.shape == (96, 512)
        assert float(slots.std().detach()) == pytest.approx(0.5, rel=0.02)
        assert float(slots.mean().detach()) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("wrong", [{"slots": -1}, {"width": 0}, {"scale": 0.0}, {"deviation": -0.5}])
def test_impossible_sizes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="memory: expected 0 slots"):
        MemoryConfig(**wrong)  # type: ignore[arg-type]
