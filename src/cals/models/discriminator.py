"""The discriminator of real and generated lower halves of crops."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from cals.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """Convolutional, on the lower half, trained with BCE as in related work (paper section 1, [K]); sizes are ours."""

    crop_px: int = 128
    width: int = 32
    """Channels of the first level. Each of the next levels has twice as many, up to 8 times."""
    levels: int = 4
    """Number of halvings of height and width."""
    patches: bool = False
    """One logit per cell of the last level instead of one for the whole image (a patch discriminator)."""
    spectral: bool = False
    """Spectral norm on every layer (Miyato et al., 2018): keeps the discriminator from overpowering the generator."""

    def __post_init__(self) -> None:
        if min(self.width, self.levels) < 1 or self.crop_px < 1 or self.crop_px % 2 ** (self.levels + 1):
            raise ConfigError(
                f"discriminator: expected crops of a multiple of 2 ** (levels + 1) px and a positive width, found "
                f"{self.crop_px} px, {self.levels} levels, width {self.width}"
            )


class Discriminator(nn.Module):
    """Strided convolutions without batch norm, so that a logit does not depend on the rest of the batch."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * min(2**level, 8) for level in range(config.levels)]
        layers: list[nn.Module] = []
        for narrow, wide in zip([3, *widths[:-1]], widths, strict=True):
            layers += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        cells_high = config.crop_px // 2 ** (config.levels + 1)
        # Without patches one kernel covers all cells of the last level and gives one logit.
        kernel, padding = (3, 1) if config.patches else ((cells_high, 2 * cells_high), 0)
        self.head = nn.Conv2d(widths[-1], 1, kernel, padding=padding)
        if config.spectral:
            for layer in [*self.layers, self.head]:
                if isinstance(layer, nn.Conv2d):
                    spectral_norm(layer)

    def features(self, images: Tensor) -> list[Tensor]:
        """Compute the features of every level, from the first one down, of images [b 3 h w] in 0..1."""
        features, x = [], images * 2 - 1
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                features.append(x)
        return features

    def compute_logits(self, features: list[Tensor]) -> Tensor:
        """Compute the logits of images from their features."""
        logits = self.head(features[-1])[:, 0]
        return logits if self.config.patches else logits.flatten()

    def forward(self, lower: Tensor) -> Tensor:
        """Compute logits [b], or [b rows columns] with `patches`, of lower halves [b 3 h/2 w] in 0..1; > 0 means real.

        With `patches` whole crops [b 3 h w] are accepted too.
        """
        return self.compute_logits(self.features(lower))
