"""Those who judge generated pictures: a discriminator that learns along, and the frozen sync encoders."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cals.errors import ConfigError
from cals.losses.adversarial import discriminator_loss, feature_matching, generator_loss
from cals.losses.sync import d_av, d_vv
from cals.models.discriminator import Discriminator, DiscriminatorConfig
from cals.models.sync import SyncModel
from cals.training.stage import Losses


@dataclass(frozen=True, kw_only=True)
class JudgesConfig:
    """Weights of the losses that need a judge, 0 for none: SyncTalkFace's by default (paper section 1, [A])."""

    gan: float = 0.2
    d_av: float = 0.2
    d_vv: float = 0.2
    match: float = 0.0
    """Of the discriminator's features, in place of a perceptual loss."""
    whole: bool = False
    """The discriminator sees whole crops instead of lower halves."""
    temperature: float = 1.0
    """Of d_vv; as published."""
    critic_lr: float = 5e-4
    critic_from_step: int = 0
    sync_from_step: int = 0
    """The sync losses wait for pictures that are worth judging."""

    @property
    def listen(self) -> bool:
        """Whether windows are judged by their sound or by the real ones."""
        return bool(self.d_av or self.d_vv)


class Judges:
    """Named losses of generated pictures; remembers the last ones for the discriminator's own turn."""

    def __init__(self, config: JudgesConfig, critic: DiscriminatorConfig, sync: SyncModel) -> None:
        self.config = config
        if config.whole and not critic.patches:
            raise ConfigError("judges: expected a discriminator with patches for whole crops, found one without")
        self.critic = Discriminator(critic) if config.gan else None
        self._sync = sync.eval().requires_grad_(False)
        self._shown: tuple[Tensor, Tensor] | None = None

    def of_pictures(self, generated: Tensor, real: Tensor, step: int) -> Losses:
        """Of crops [b 3 h w], generated and real: `gan` and `match`, once the discriminator has its say."""
        if self.critic is None:
            return {}
        config = self.config
        drawn, true = (generated, real) if config.whole else (_lower(generated), _lower(real))
        self._shown = (drawn.detach(), true)
        if step <= config.critic_from_step:
            return {}
        found = self.critic.features(drawn)
        losses = {"gan": config.gan * generator_loss(self.critic.judge(found))}
        if config.match:
            with torch.no_grad():
                wanted = self.critic.features(true)
            losses["match"] = config.match * feature_matching(found, wanted)
        return losses

    def of_windows(self, generated: Tensor, real: Tensor, mel: Tensor, step: int) -> Losses:
        """Of windows of crops [n t 3 h w], generated and real, and of their sound [n m f]: `d_av` and `d_vv`."""
        weights = {"d_av": self.config.d_av, "d_vv": self.config.d_vv}
        if step < self.config.sync_from_step or not self.config.listen:
            return {}
        sync = self._sync.to(generated.device)
        drawn = sync.visual(_lower(generated))
        with torch.no_grad():
            heard, seen = sync.audio(mel), sync.visual(_lower(real))
        losses = {"d_av": d_av(drawn, heard), "d_vv": d_vv(drawn, seen, self.config.temperature)}
        return {name: weights[name] * value for name, value in losses.items() if weights[name]}

    def critic_losses(self, critic: nn.Module) -> Losses:
        """The discriminator's loss on the pictures it was shown last."""
        if self._shown is None:
            raise RuntimeError("the discriminator was shown nothing yet")
        generated, real = self._shown
        judged = critic(torch.cat([real, generated]))
        return {"total": discriminator_loss(judged[: len(real)], judged[len(real) :])}


def with_total(losses: Losses) -> Losses:
    """The losses, their sum as `total`, and each one's share of it: a loss that drowns the others is seen at once."""
    total = torch.stack(list(losses.values())).sum()
    shares = {f"{name}_share": (value / total).detach() for name, value in losses.items()}
    return losses | shares | {"total": total}


def _lower(crops: Tensor) -> Tensor:
    return crops[..., crops.shape[-2] // 2 :, :]
