"""Losses of generated images by other networks: the discriminator, trained in turn, and the frozen sync encoders."""

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
class PerceptualLossConfig:
    """Weights of these losses, 0 for none; the defaults are SyncTalkFace's (paper section 1, [A])."""

    gan: float = 0.2
    d_av: float = 0.2
    d_vv: float = 0.2
    match: float = 0.0
    """Weight of feature matching in the discriminator, in place of a perceptual loss."""
    whole: bool = False
    """Whether the discriminator gets whole crops instead of lower halves."""
    temperature: float = 1.0
    """Temperature of d_vv; as published."""
    discriminator_lr: float = 5e-4
    discriminator_from_step: int = 0
    sync_from_step: int = 0
    """Step at which the sync losses begin, when images are good enough for them."""

    @property
    def has_sync_losses(self) -> bool:
        """Whether there is a sync loss: d_av, d_vv or both."""
        return bool(self.d_av or self.d_vv)


class PerceptualLosses:
    """Losses of generated images by name; keeps the last images for the discriminator's own losses."""

    def __init__(self, config: PerceptualLossConfig, discriminator: DiscriminatorConfig, sync: SyncModel) -> None:
        self.config = config
        if config.whole and not discriminator.patches:
            raise ConfigError("perceptual: expected a discriminator with patches for whole crops, found one without")
        self.discriminator = Discriminator(discriminator) if config.gan else None
        self._sync = sync.eval().requires_grad_(False)
        self._last_images: tuple[Tensor, Tensor] | None = None

    def compute_image_losses(self, generated: Tensor, real: Tensor, step: int) -> Losses:
        """Compute `gan` and `match` of crops [b 3 h w], once the discriminator's training has begun."""
        if self.discriminator is None:
            return {}
        config = self.config
        fake, target = (generated, real) if config.whole else (_crop_lower_half(generated), _crop_lower_half(real))
        self._last_images = (fake.detach(), target)
        if step <= config.discriminator_from_step:
            return {}
        fake_features = self.discriminator.features(fake)
        losses = {"gan": config.gan * generator_loss(self.discriminator.compute_logits(fake_features))}
        if config.match:
            with torch.no_grad():
                real_features = self.discriminator.features(target)
            losses["match"] = config.match * feature_matching(fake_features, real_features)
        return losses

    def compute_sync_losses(self, generated: Tensor, real: Tensor, mel: Tensor, step: int) -> Losses:
        """Compute `d_av` and `d_vv` of windows of crops [n t 3 h w], generated and real, and their mel [n m f]."""
        weights = {"d_av": self.config.d_av, "d_vv": self.config.d_vv}
        if step < self.config.sync_from_step or not self.config.has_sync_losses:
            return {}
        sync = self._sync.to(generated.device)
        embedded = sync.visual(_crop_lower_half(generated))
        with torch.no_grad():
            audio, visual = sync.audio(mel), sync.visual(_crop_lower_half(real))
        losses = {"d_av": d_av(embedded, audio), "d_vv": d_vv(embedded, visual, self.config.temperature)}
        return {name: weights[name] * value for name, value in losses.items() if weights[name]}

    def compute_discriminator_losses(self, discriminator: nn.Module) -> Losses:
        """Compute the discriminator's loss on the last images."""
        if self._last_images is None:
            raise RuntimeError("the discriminator was shown nothing yet")
        generated, real = self._last_images
        logits = discriminator(torch.cat([real, generated]))
        return {"total": discriminator_loss(logits[: len(real)], logits[len(real) :])}


def add_total(losses: Losses) -> Losses:
    """Add the sum of the losses as `total`, and each one's share of it, which shows a dominant loss."""
    total = torch.stack(list(losses.values())).sum()
    shares = {f"{name}_share": (value / total).detach() for name, value in losses.items()}
    return losses | shares | {"total": total}


def _crop_lower_half(crops: Tensor) -> Tensor:
    return crops[..., crops.shape[-2] // 2 :, :]
