"""The CALS models: Audio-to-Lip, and one of two decoders for Lip-to-Face."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from cals.errors import ConfigError
from cals.models.a2l import A2L, A2LConfig
from cals.models.lips import Faces, Gallery, LipConfig, LipModel, Look, WholeLips
from cals.models.mesh import lip_gap
from cals.models.mesh_decoder import MeshConfig, MeshDecoder, Views
from cals.models.response import LEVELS, USUAL, measured_response
from cals.models.unet import UNet, UNetConfig


@dataclass(frozen=True, kw_only=True)
class SpeakingConfig(LipConfig):
    """A speaking model's Audio-to-Lip; each kind adds its decoder."""

    a2l: A2LConfig = field(default_factory=A2LConfig)

    def _check(self, unit: int) -> None:
        super().__post_init__()
        if self.a2l.mel != self.mel or self.a2l.unit != unit:
            raise ConfigError(
                f"{type(self).__name__}: expected parts of one mel and one width of units, found {self.a2l.unit} "
                f"against {unit}"
            )


class Whole:
    """Parts of a batch that reach `forward` as they are: mixed precision rounds every tensor that it finds."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts


@dataclass(frozen=True, kw_only=True)
class MeshLipsConfig(SpeakingConfig):
    """Moves the person's own pixels."""

    decoder: MeshConfig = field(default_factory=MeshConfig)

    def __post_init__(self) -> None:
        self._check(self.decoder.unit)
        if self.crop_px != 128:
            raise ConfigError(f"mesh: expected crops of 128 px, found {self.crop_px}")


class MeshLips(LipModel):
    """Units move the mesh of the current frame's face, whose own motion is taken out first."""

    config: MeshLipsConfig

    def __init__(self, config: MeshLipsConfig) -> None:
        super().__init__()
        self.config = config
        self.a2l, self.decoder = A2L(config.a2l), MeshDecoder(config.decoder)

    def units(self, mel: Tensor) -> Tensor:
        """[b m f] -> [b t d]."""
        return self.a2l(mel)

    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        """Also true of one frame only: then its expression is estimated and taken out."""
        rest = self.decoder.mesh.resting(gallery.seen)
        return self.decoder.speak(self._views(faces, rest, gallery), rest, self.decoder.motion(units), gallery.response)

    def tried(self, gallery: Gallery, look: Look) -> Gallery:
        """Finds the person's `response`: each frame of the gallery is told some openings, and looked at."""
        mesh = self.decoder.mesh
        rest, gaps = mesh.resting(gallery.seen), lip_gap(mesh.basis)
        every = torch.arange(len(gallery.crops), device=gaps.device).repeat_interleave(len(LEVELS))
        faces = Faces(gallery.crops[every], gallery.landmarks[every], gallery.times_s[every])
        views = self._views(faces, rest, gallery)
        # Coefficients have a spread of 1 in speech, so this is the likeliest motion of each opening.
        levels = torch.tensor(LEVELS, device=gaps.device).repeat(len(gallery.crops))
        said = levels[:, None] * gaps / gaps.norm()
        drawn = self.decoder.speak(views, rest, said, torch.ones_like(gallery.response))
        found = look(drawn, mesh.moved(faces.landmarks, rest, said - views.motion))
        shown = (mesh.motion(found, rest) - views.motion) @ gaps
        return replace(gallery, response=measured_response((said - views.motion) @ gaps, shown))

    def _views(self, faces: Faces, rest: Tensor, gallery: Gallery) -> Views:
        bank = most_open(faces.times_s, gallery)
        return Views(
            crops=faces.crops,
            landmarks=faces.landmarks,
            motion=self.decoder.mesh.motion(faces.landmarks, rest),
            bank_crops=gallery.crops[bank],
            bank_landmarks=gallery.landmarks[bank],
        )

    def forward(
        self, mel: Tensor, hidden: Tensor, pairs: Whole, spoken: Whole | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """One training step's worth: mel [b m f], unheard where `hidden` [b t] -> motion [b t k], pictures.

        `pairs` are views, target landmarks and target motion of `MeshDecoder.draw`; `spoken` are views, their rest
        [n 468 3] and which units they say, as numbers into [b * t].
        """
        motion = self.decoder.motion(self.a2l(mel, hidden))
        drawn = self.decoder.draw(*pairs.parts)
        if spoken is None:
            return motion, drawn, None
        views, rest, which = spoken.parts
        said = motion.flatten(0, 1)[which]
        return motion, drawn, self.decoder.speak(views, rest, said, torch.tensor(USUAL, device=said.device))


def most_open(times_s: Tensor, gallery: Faces) -> Tensor:
    """For each time [b] the gallery's frame with the widest open mouth that is far enough away to serve it, [b].

    Where there is none (a photo) any will do: its mouth is nobody's speech.
    """
    gaps = lip_gap(gallery.landmarks).expand(len(times_s), -1)
    return (gaps + 1e3 * gallery.away_from(times_s)).argmax(dim=1)


@dataclass(frozen=True, kw_only=True)
class UNetLipsConfig(SpeakingConfig):
    """Draws all pixels anew, as published."""

    decoder: UNetConfig = field(default_factory=UNetConfig)

    def __post_init__(self) -> None:
        self._check(self.decoder.unit)
        if self.crop_px != self.decoder.crop_px:
            raise ConfigError(f"unet: expected one size of crops, found {self.crop_px} and {self.decoder.crop_px}")


class UNetLips(WholeLips):
    """Units, a reference frame and the current frame's pose prior make the crop."""

    config: UNetLipsConfig

    def __init__(self, config: UNetLipsConfig) -> None:
        super().__init__()
        self.config = config
        self.a2l, self.decoder = A2L(config.a2l), UNet(config.decoder)

    def units(self, mel: Tensor) -> Tensor:
        """[b m f] -> [b t d]."""
        return self.a2l(mel)

    def forward(self, mel: Tensor, frames: Tensor, reference: Tensor, real: Tensor) -> Tensor:
        """One training step's worth: mel [b m f], which units to draw [b t], and what `drawn` takes and gives."""
        units = self.units(mel).gather(1, frames[..., None].expand(-1, -1, self.config.a2l.unit))
        return self.drawn(units, reference, real)
