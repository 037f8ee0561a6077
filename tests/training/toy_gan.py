"""The smallest stage with a discriminator: a generator of points around 3; run as a script it trains."""

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from cals.checkpoint import Checkpoint
from cals.losses.adversarial import discriminator_loss, generator_loss
from cals.training.config import TrainConfig
from cals.training.loop import RunOptions, train
from cals.training.optim import ParameterGroup
from cals.training.stage import Losses, Stage

SETTINGS = TrainConfig(steps=24, lr=1e-3, warmup=0.0, log_every=1, validate_every=100)


class ToyGan(Stage):
    """Noise [b 4] to points [b 2]; the first layer has a tenth of the learning rate, from `first_from_step` on."""

    name = "toy"

    def __init__(self, settings: TrainConfig = SETTINGS, *, judged: bool = True, from_step: int = 0) -> None:
        torch.manual_seed(1)
        self.train = settings
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.PReLU(), nn.Linear(8, 2))
        if judged:
            self.discriminator = nn.Sequential(spectral_norm(nn.Linear(2, 8)), nn.LeakyReLU(0.2), nn.Linear(8, 1))
        self.discriminator_lr = 1e-2
        self.discriminator_from_step = from_step
        self.first_from_step = 0
        self.critic_was_frozen: list[bool] = []
        self._pictures = (torch.empty(0), torch.empty(0))

    def compute_losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        real = torch.from_numpy(3 + 0.1 * rng.normal(size=(16, 2))).float().to(device)
        noise = torch.from_numpy(rng.normal(size=(16, 4))).float().to(device)
        generated: Tensor = model(noise)
        self._pictures = (real, generated.detach())
        losses = {"total": (generated - real).abs().mean()}
        if self.discriminator is not None and self.is_discriminator_trained:
            self.critic_was_frozen.append(not any(p.requires_grad for p in self.discriminator.parameters()))
            losses["adversarial"] = generator_loss(self.discriminator(generated))
            losses["total"] = losses["total"] + 0.1 * losses["adversarial"]
        return losses

    def compute_discriminator_losses(self, discriminator: nn.Module) -> Losses:
        return {"total": discriminator_loss(*discriminator(torch.cat(self._pictures)).chunk(2))}

    def build_parameter_groups(self) -> Sequence[ParameterGroup]:
        first, *rest = self.model.children()
        others = [parameter for layer in rest for parameter in layer.parameters()]
        slow = ParameterGroup(parameters=list(first.parameters()), lr_share=0.1, from_step=self.first_from_step)
        return [ParameterGroup(parameters=others), slow]

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        return {"distance": float((model(torch.zeros(1, 4, device=device)) - 3).abs().mean())}

    def build_checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        return Checkpoint(kind="toy", config={}, weights=dict(model.state_dict()), step=step, metrics=metrics)


def main(run: Path, devices: int) -> None:
    """Train on several devices with the discriminator, and save the result of each process."""
    # The last step is validated on its way, and every process has a clock of its own.
    settings = dataclasses.replace(SETTINGS, accumulate=2, validate_every=8, checkpoint_every_s=0.02)
    stage = ToyGan(settings, from_step=3)
    train(stage, RunOptions(run=run, accelerator="cpu", devices=devices))
    assert stage.discriminator is not None
    both = nn.ModuleList([stage.model, stage.discriminator]).state_dict()
    save_file(both, run / f"rank-{os.environ.get('LOCAL_RANK', '0')}.safetensors")


if __name__ == "__main__":
    if sys.argv[3:] == ["alone"]:
        train(ToyGan(judged=False), RunOptions(run=Path(sys.argv[1]), accelerator="cpu", devices=int(sys.argv[2])))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]))
