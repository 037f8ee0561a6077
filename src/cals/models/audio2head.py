"""Audio2Head, built from our own parts: head motion, keypoints and pixels from one image and audio."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

from cals.arrays import disable_autocast
from cals.errors import ConfigError
from cals.face.landmarks import CHIN, NOSE_TIP
from cals.models.dense_motion import DenseMotion, DenseMotionConfig, WarpingGenerator
from cals.models.head import POSE_NAMES, apply_head_pose, estimate_head_pose, remove_head_pose
from cals.models.lips import Faces, Gallery, LipConfig, LipModel
from cals.models.sync import AudioEncoder, SyncConfig

KEYPOINTS = (
    *(10, 234, 454, 172, 397, CHIN),  # the outline
    *(105, 334, 33, 133, 362, 263, NOSE_TIP),  # brows, eyes, nose
    *(61, 291, 0, 17, 13, 14, 81, 311, 178, 402),  # corners and lips
)
"""Points of the mesh that drive the dense motion. The published system learns ten keypoints with a network; these need
none, and their true motion is known."""


@dataclass(frozen=True, kw_only=True)
class Audio2HeadConfig(LipConfig):
    """The architecture is published (Wang et al., IJCAI 2021); sizes are ours.

    From audio and an image a recurrent network predicts six numbers of head motion per frame. Keypoints follow from
    these, and a dense motion field warps the image.
    """

    content: SyncConfig = field(default_factory=SyncConfig)
    """Its audio encoder gives the speech content: 0.2 s per frame."""
    lstm: int = 256
    layers: int = 2
    hidden: int = 256
    """Width of the network that predicts keypoint motion."""
    width: int = 32
    blocks: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.lstm, self.layers, self.hidden) < 1:
            raise ConfigError(f"audio2head: expected positive sizes, found {self}")
        if self.content.mel != self.mel:
            raise ConfigError("audio2head: expected an encoder of the model's own mel, found another; give both one")
        _ = self.dense_motion  # raises ConfigError for sizes that do not fit

    @property
    def dense_motion(self) -> DenseMotionConfig:
        """Config of the dense motion and the generator."""
        unit, sizes = self.content.embedding, {"width": self.width, "blocks": self.blocks}
        return DenseMotionConfig(crop_px=self.crop_px, keypoints=len(KEYPOINTS), unit=unit, **sizes)


class HeadLSTM(nn.Module):
    """An LSTM that predicts head motion from the voice and an initial pose.

    `spread` [6] holds the standard deviations of the six numbers within a clip of the corpus.
    """

    spread: Tensor

    def __init__(self, bins: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.shape = (layers, hidden)
        self.begin = nn.Linear(len(POSE_NAMES), 2 * layers * hidden)
        self.lstm = nn.LSTM(bins, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, len(POSE_NAMES))
        self.register_buffer("spread", torch.ones(len(POSE_NAMES)))

    def forward(
        self, voice: Tensor, start: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Predict poses [b t 6] from voice [b t bins] and the first pose [b 6]; returns also the LSTM's last state."""
        if state is None:
            first = self.begin(start).unflatten(1, (2, *self.shape)).transpose(0, 2)  # [layers 2 b hidden]
            state = (first[:, 0].contiguous(), first[:, 1].contiguous())
        outputs, state = self.lstm(voice, state)
        return start[:, None] + self.spread * self.head(outputs), state


class SpeechMotion(nn.Module):
    """A small network for the motion of keypoints by speech, on faces without pose; zero at initialisation."""

    def __init__(self, unit: int, hidden: int) -> None:
        super().__init__()
        count = 3 * len(KEYPOINTS)
        self.first, self.second = nn.Linear(unit + count, hidden), nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, count)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, units: Tensor, shape: Tensor) -> Tensor:
        """Predict displacements [b k 3] from units [b d] and the reference's keypoints [b k 3] without pose."""
        x = relu(self.first(torch.cat([units, shape.flatten(1)], dim=1)))
        return self.head(relu(self.second(x))).view_as(shape)


class Audio2Head(LipModel):
    """The lip model; a unit is the speech content, followed by the voice's mel levels, which drive the head."""

    config: Audio2HeadConfig
    head_policy = "predicted"

    def __init__(self, config: Audio2HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.audio = AudioEncoder(config.content)
        self.head = HeadLSTM(config.mel.bins, config.lstm, config.layers)
        self.speech = SpeechMotion(config.content.embedding, config.hidden)
        self.motion, self.generator = DenseMotion(config.dense_motion), WarpingGenerator(config.dense_motion)

    def predict_units(self, mel: Tensor) -> Tensor:
        """Compute units, [b m f] -> [b t d + f]."""
        return torch.cat([self.audio.encode_frames(mel), self.compute_levels(mel)], dim=2)

    def compute_levels(self, mel: Tensor) -> Tensor:
        """Compute the mean mel levels of every frame, [b m f] -> [b t f]."""
        return (mel / -self.mel.floor_db + 0.5).unflatten(1, (-1, self.mel.timing.mels_per_frame)).mean(dim=2)  # type: ignore[no-untyped-call]

    def predict_poses(
        self, units: Tensor, start: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Predict poses [b t 6] of consecutive units [b t d + f] after a pose [b 6]; returns also the last state."""
        return self.head(units[..., self.config.content.embedding :], start, state)

    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        """Render the reference with the pose of each face's landmarks: that of a frame, or a predicted one."""
        index = gallery.find_reference(faces.times_s)
        reference, landmarks = gallery.crops[index], gallery.landmarks[index]
        return self.generate(units, reference, landmarks, estimate_head_pose(faces.landmarks, self.crop_px))[0]

    def generate(self, units: Tensor, reference: Tensor, landmarks: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Generate crops [b 3 h w] and their keypoints [b k 2] in pixels.

        The inputs are units [b d...], reference crops with their landmarks [b 468 3], and poses [b 6].
        """
        width = self.config.content.embedding
        content = normalize(units[:, :width], dim=1) * width**0.5  # with norm 1 it would be too small beside the shape
        before, after = self.move_keypoints(content, landmarks, pose)
        places, trust = self.motion(reference, before, after)
        return self.generator(reference, places, trust, content), after

    @disable_autocast
    def move_keypoints(self, content: Tensor, landmarks: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Compute keypoints [b k 2] in pixels, of the reference and of the image to generate."""
        shape = remove_head_pose(landmarks, self.crop_px)[:, list(KEYPOINTS)]
        moved = shape + self.speech(content.float(), shape)
        return landmarks[:, list(KEYPOINTS), :2], apply_head_pose(moved, pose, self.crop_px)[..., :2]

    def forward(
        self, sound: Tensor, reference: Tensor, landmarks: Tensor, pose: Tensor, mel: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute a training step: crops [n 3 h w] with their keypoints [n k 2], and poses [b t 6].

        Crops and keypoints come from the windows' mel [n m f], references with landmarks, and poses [n 6]. Poses come
        from longer mel [b m f] and first poses [b 6].
        """
        generated, keypoints = self.generate(self.audio(sound), reference, landmarks, pose)
        return generated, keypoints, self.head(self.compute_levels(mel), start)[0]
