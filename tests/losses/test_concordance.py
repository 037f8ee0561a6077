"""Lin's concordance against what it is known to be."""

import pytest
import torch

from cals.losses.motion import concordance_loss

WAVE = 3 * torch.sin(torch.linspace(0, 20, 400))


def ccc(pred: torch.Tensor, real: torch.Tensor) -> float:
    """Compute Lin's (1989) form: 2 r s1 s2 / (s1^2 + s2^2 + (m1 - m2)^2)."""
    r = float(torch.corrcoef(torch.stack([pred, real]))[0, 1])
    s1, s2 = float(pred.std(correction=0)), float(real.std(correction=0))
    return 2 * r * s1 * s2 / (s1**2 + s2**2 + float(pred.mean() - real.mean()) ** 2)


@pytest.mark.parametrize("share", [1.0, 0.5, 2.0, -1.0, 0.01])
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_it_is_one_minus_lins(share: float, shift: float) -> None:
    noise = torch.randn(400, generator=torch.Generator().manual_seed(0))
    pred = share * WAVE + shift + 0.3 * noise
    assert float(concordance_loss(pred, WAVE)) == pytest.approx(1 - ccc(pred, WAVE), abs=1e-4)


def test_its_known_values() -> None:
    wave = WAVE - WAVE.mean()
    power = float(wave.square().mean())
    assert float(concordance_loss(wave, wave)) == pytest.approx(0, abs=1e-4)
    assert float(concordance_loss(-wave, wave)) == pytest.approx(2, abs=1e-4)
    assert float(concordance_loss(0.5 * wave, wave)) == pytest.approx(1 - 2 * 0.5 / 1.25, abs=1e-4)
    assert float(concordance_loss(wave + 2, wave)) == pytest.approx(1 - 2 * power / (2 * power + 4), abs=1e-4)
    assert float(concordance_loss(torch.zeros(400), wave)) == pytest.approx(1, abs=1e-4)
    assert float(concordance_loss(torch.ones(8), torch.ones(8))) == 1  # where nothing moves there is nothing to follow


def test_it_is_the_mean_over_curves_and_does_not_reward_timidity() -> None:
    pair = concordance_loss(torch.stack([WAVE, -WAVE]), torch.stack([WAVE, WAVE]))
    assert float(pair) == pytest.approx(
        float(concordance_loss(WAVE, WAVE) + concordance_loss(-WAVE, WAVE)) / 2, abs=1e-5
    )
    share = torch.tensor(0.2, requires_grad=True)
    noise = torch.randn(400, generator=torch.Generator().manual_seed(0))
    concordance_loss(share * (WAVE + 3 * noise), WAVE).backward()
    assert share.grad is not None
    assert float(share.grad) < 0  # larger is better, where a squared error would shrink it
