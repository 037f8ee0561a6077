"""Audio2Head of our own parts: from one picture and sound, how the head moves, how keypoints move, and the pixels."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

from cals.errors import ConfigError
from cals.face.landmarks import CHIN, NOSE_TIP
from cals.models.dense_motion import DenseMotion, DenseMotionConfig, WarpingGenerator
from cals.models.head import POSE, head_pose, head_shape, place_head
from cals.models.lips import Faces, Gallery, LipConfig, LipModel
from cals.models.mesh import exact
from cals.models.sync import AudioEncoder, SyncConfig

KEYPOINTS = (
    *(10, 234, 454, 172, 397, CHIN),  # the outline
    *(105, 334, 33, 133, 362, 263, NOSE_TIP),  # brows, eyes, nose
    *(61, 291, 0, 17, 13, 14, 81, 311, 178, 402),  # corners and lips
)
"""Points of the mesh that move the picture. Published are ten that a network finds by itself: these need none, and it
is known where they go."""


@dataclass(frozen=True, kw_only=True)
class Audio2HeadConfig(LipConfig):
    """Published is the plan (Wang et al., IJCAI 2021): from sound and a picture a recurrent network gives six numbers
    of head motion a frame; from these come keypoints, and a dense motion field that warps the picture. Sizes are ours.
    """

    content: SyncConfig = field(default_factory=SyncConfig)
    """The audio side hears what is said: 0.2 s a frame."""
    lstm: int = 256
    layers: int = 2
    hidden: int = 256
    """Of the network that moves keypoints."""
    width: int = 32
    blocks: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.lstm, self.layers, self.hidden) < 1:
            raise ConfigError(f"audio2head: expected positive sizes, found {self}")
        if self.content.mel != self.mel:
            raise ConfigError("audio2head: expected an encoder of the model's own mel, found another; give both one")
        _ = self.motion  # complains of what does not fit

    @property
    def motion(self) -> DenseMotionConfig:
        """Sizes of what is moved and drawn."""
        unit, sizes = self.content.embedding, {"width": self.width, "blocks": self.blocks}
        return DenseMotionConfig(crop_px=self.crop_px, keypoints=len(KEYPOINTS), unit=unit, **sizes)


class HeadLSTM(nn.Module):
    """How a head moves to its voice, from the pose it begins with.

    `spread` [6] is how far heads move in the corpus: standard deviations of the six numbers within a clip.
    """

    spread: Tensor

    def __init__(self, bins: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.shape = (layers, hidden)
        self.begin = nn.Linear(len(POSE), 2 * layers * hidden)
        self.lstm = nn.LSTM(bins, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, len(POSE))
        self.register_buffer("spread", torch.ones(len(POSE)))

    def forward(
        self, voice: Tensor, start: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Voice [b t bins] and the first pose [b 6] -> poses [b t 6], and the state to go on from."""
        if state is None:
            first = self.begin(start).unflatten(1, (2, *self.shape)).transpose(0, 2)  # [layers 2 b hidden]
            state = (first[:, 0].contiguous(), first[:, 1].contiguous())
        found, state = self.lstm(voice, state)
        return start[:, None] + self.spread * self.head(found), state


class SpeechMotion(nn.Module):
    """How the keypoints of a face move by what is said, on the face out of its pose; at first they do not."""

    def __init__(self, unit: int, hidden: int) -> None:
        super().__init__()
        count = 3 * len(KEYPOINTS)
        self.first, self.second = nn.Linear(unit + count, hidden), nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, count)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, units: Tensor, shape: Tensor) -> Tensor:
        """Units [b d] and keypoints of the reference [b k 3], see `head_shape` -> how far they move, [b k 3]."""
        x = relu(self.first(torch.cat([units, shape.flatten(1)], dim=1)))
        return self.head(relu(self.second(x))).view_as(shape)


class Audio2Head(LipModel):
    """A unit is what is said, then the voice's levels by frequency, to which the head moves."""

    config: Audio2HeadConfig

    def __init__(self, config: Audio2HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.audio = AudioEncoder(config.content)
        self.head = HeadLSTM(config.mel.bins, config.lstm, config.layers)
        self.speech = SpeechMotion(config.content.embedding, config.hidden)
        self.motion, self.generator = DenseMotion(config.motion), WarpingGenerator(config.motion)

    def units(self, mel: Tensor) -> Tensor:
        """[b m f] -> [b t d + f]."""
        return torch.cat([self.audio.every_frame(mel), self.voice(mel)], dim=2)

    def voice(self, mel: Tensor) -> Tensor:
        """Levels of every frame's own sound, [b m f] -> [b t f]."""
        return (mel / -self.mel.floor_db + 0.5).unflatten(1, (-1, self.mel.timing.mels_per_frame)).mean(dim=2)  # type: ignore[no-untyped-call]

    def predict_heads(
        self, units: Tensor, start: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Poses [b t 6] of consecutive units [b t d + f] from a pose [b 6] on, and the state to go on from."""
        return self.head(units[..., self.config.content.embedding :], start, state)

    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        """The reference with each face's pose, as its landmarks have it: that of a frame, or a predicted one."""
        index = gallery.reference_for(faces.times_s)
        reference, landmarks = gallery.crops[index], gallery.landmarks[index]
        return self.draw(units, reference, landmarks, head_pose(faces.landmarks, self.crop_px))[0]

    def draw(self, units: Tensor, reference: Tensor, landmarks: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Crops [b 3 h w], and where their keypoints are [b k 2] in pixels.

        From units [b d...], reference crops with their landmarks [b 468 3], and poses [b 6].
        """
        width = self.config.content.embedding
        said = normalize(units[:, :width], dim=1) * width**0.5  # of length 1 it would be lost beside the shape
        before, after = self.move_keypoints(said, landmarks, pose)
        places, trust = self.motion(reference, before, after)
        return self.generator(reference, places, trust, said), after

    @exact
    def move_keypoints(self, said: Tensor, landmarks: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints [b k 2] in pixels, of the reference and of the picture wanted."""
        shape = head_shape(landmarks, self.crop_px)[:, list(KEYPOINTS)]
        moved = shape + self.speech(said.float(), shape)
        return landmarks[:, list(KEYPOINTS), :2], place_head(moved, pose, self.crop_px)[..., :2]

    def forward(
        self, sound: Tensor, reference: Tensor, landmarks: Tensor, pose: Tensor, mel: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One training step's worth: crops [n 3 h w] with their keypoints [n k 2], and poses [b t 6].

        The first two from windows' mel [n m f], references with landmarks, and poses [n 6]; the last from longer mel
        [b m f] and first poses [b 6].
        """
        drawn, keypoints = self.draw(self.audio(sound), reference, landmarks, pose)
        return drawn, keypoints, self.head(self.voice(mel), start)[0]
