"""The CALS models: Audio-to-Lip with one of two decoders for Lip-to-Face."""

import copy
from dataclasses import dataclass, field

from torch import Tensor

from cals.errors import ConfigError
from cals.models.a2l import A2L, A2LConfig
from cals.models.lips import Faces, Gallery, LipConfig, LipGenerator, LipModel
from cals.models.motion import MeshConfig, MeshDecoder
from cals.models.mouth import compute_mouth_flow, match_brightness
from cals.models.speaker import compute_match_weights, fit_speaker, replace_motion, retarget_motion
from cals.models.unet import UNet, UNetConfig
from cals.nn.warp import sample_grid


@dataclass(frozen=True, kw_only=True)
class CALSConfig(LipConfig):
    """Config of Audio-to-Lip; each subclass adds its decoder."""

    a2l: A2LConfig = field(default_factory=A2LConfig)

    def _check(self, unit: int) -> None:
        super().__post_init__()
        if self.a2l.mel != self.mel or self.a2l.unit != unit:
            raise ConfigError(
                f"{type(self).__name__}: expected parts of one mel and one width of units, found {self.a2l.unit} "
                f"against {unit}"
            )


@dataclass(frozen=True, kw_only=True)
class MeshLipsConfig(CALSConfig):
    """Config with the mesh decoder, which predicts motion and warps the person's own pixels by it."""

    decoder: MeshConfig = field(default_factory=MeshConfig)

    def __post_init__(self) -> None:
        self._check(self.decoder.unit)
        if self.crop_px != 128:
            raise ConfigError(f"mesh: expected crops of 128 px, found {self.crop_px}")


class MeshLips(LipModel):
    """The mesh model: motion of an average speaker, retargeted to the person and rendered from their own frames."""

    config: MeshLipsConfig

    def __init__(self, config: MeshLipsConfig) -> None:
        super().__init__()
        self.config = config
        self.a2l, self.decoder = A2L(config.a2l), MeshDecoder(config.decoder)

    def predict_units(self, mel: Tensor) -> Tensor:
        """[b m f] -> [b t d]."""
        return self.a2l(mel)

    def build_decoder(self) -> MeshDecoder:
        """Copy the decoder to the CPU, whatever the network's device, for geometry without gradients."""
        return copy.deepcopy(self.decoder).cpu().requires_grad_(False)

    def predict_motion(self, units: Tensor) -> Tensor:
        """Predict motion [... k] of the average speaker from units [... d]."""
        return self.decoder.predict_motion(units)

    def forward(self, mel: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Predict motion [b t k] and appearance [b t j] in training from mel [b m f], masked where `hidden` [b t]."""
        return self.decoder.predict(self.a2l(mel, hidden))

    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        """Render each face from the gallery frame of the most similar shape, without regard to appearance and time."""
        mesh = self.decoder.mesh
        speaker = fit_speaker(self.decoder, gallery.observed_landmarks)
        motion = retarget_motion(self.decoder, speaker, self.predict_motion(units))
        target = replace_motion(mesh, speaker, faces.landmarks, motion)
        source_motion = mesh.compute_motion(gallery.landmarks, speaker.rest)
        distance = (motion[:, None] - source_motion).square() @ compute_match_weights(mesh)
        source = (distance + 1e6 * ~gallery.is_far_from(faces.times_s)).argmin(dim=1)
        places = compute_mouth_flow(mesh, gallery.landmarks[source], target, self.crop_px)
        return match_brightness(sample_grid(gallery.crops[source], places), faces.crops)


@dataclass(frozen=True, kw_only=True)
class UNetLipsConfig(CALSConfig):
    """Config with the U-Net decoder, which generates all pixels, as published."""

    decoder: UNetConfig = field(default_factory=UNetConfig)

    def __post_init__(self) -> None:
        self._check(self.decoder.unit)
        if self.crop_px != self.decoder.crop_px:
            raise ConfigError(f"unet: expected one size of crops, found {self.crop_px} and {self.decoder.crop_px}")


class UNetLips(LipGenerator):
    """The published model: crops from unit, reference frame and the current frame's pose prior."""

    config: UNetLipsConfig

    def __init__(self, config: UNetLipsConfig) -> None:
        super().__init__()
        self.config = config
        self.a2l, self.decoder = A2L(config.a2l), UNet(config.decoder)

    def predict_units(self, mel: Tensor) -> Tensor:
        """[b m f] -> [b t d]."""
        return self.a2l(mel)

    def forward(self, mel: Tensor, frames: Tensor, reference: Tensor, real: Tensor) -> Tensor:
        """Generate crops in training from mel [b m f]; `frames` [b t] selects units, the rest is as in `generate`."""
        units = self.predict_units(mel).gather(1, frames[..., None].expand(-1, -1, self.config.a2l.unit))
        return self.generate(units, reference, real)
