"""The discriminator: tells real lower halves of crops from generated ones."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from cals.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """A convolutional one on the lower half, trained with BCE as the kin's (paper section 1, [K]); sizes are ours."""

    crop_px: int = 128
    width: int = 32
    """Channels of the first level; each of the next ones has twice as many, up to 8 times."""
    levels: int = 4
    """Halvings of height and width."""
    patches: bool = False
    """A logit for each cell that is left after all levels instead of one for the whole picture."""
    spectral: bool = False
    """Spectral norm on every layer (Miyato et al., 2018): a critic that cannot run away from its generator."""

    def __post_init__(self) -> None:
        if min(self.width, self.levels) < 1 or self.crop_px < 1 or self.crop_px % 2 ** (self.levels + 1):
            raise ConfigError(
                f"discriminator: expected crops of a multiple of 2 ** (levels + 1) px and a positive width, found "
                f"{self.crop_px} px, {self.levels} levels, width {self.width}"
            )


class Discriminator(nn.Module):
    """Strided convolutions without batch norm, so that no picture is judged by its neighbours in the batch."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * min(2**level, 8) for level in range(config.levels)]
        layers: list[nn.Module] = []
        for narrow, wide in zip([3, *widths[:-1]], widths, strict=True):
            layers += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        cells_high = config.crop_px // 2 ** (config.levels + 1)
        # One logit sees all cells at once: a convolution as large as what is left.
        kernel, padding = (3, 1) if config.patches else ((cells_high, 2 * cells_high), 0)
        self.head = nn.Conv2d(widths[-1], 1, kernel, padding=padding)
        if config.spectral:
            for layer in [*self.layers, self.head]:
                if isinstance(layer, nn.Conv2d):
                    spectral_norm(layer)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """What every level makes of pictures [b 3 h w] in 0..1, from the first downwards."""
        found, x = [], pictures * 2 - 1
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                found.append(x)
        return found

    def judge(self, features: list[Tensor]) -> Tensor:
        """Logits of the features of pictures."""
        logits = self.head(features[-1])[:, 0]
        return logits if self.config.patches else logits.flatten()

    def forward(self, lower: Tensor) -> Tensor:
        """Lower halves [b 3 h/2 w] in 0..1 -> logits [b], or [b rows columns] with `patches`; > 0 says real.

        With `patches` whole crops [b 3 h w] will do as well.
        """
        return self.judge(self.features(lower))
