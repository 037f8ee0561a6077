"""What inference needs of a lip model, whichever runtime its networks run in."""

from typing import Literal, Protocol, runtime_checkable

from cals.arrays import Array
from cals.features.mel import MelConfig
from cals.models.geometry import MotionDecoder
from cals.types import F32

MIN_REFERENCE_GAP_S = 0.2
"""Smallest distance in time of a reference from the frame to be generated.

A nearer frame may show the target's own mouth (paper section 5: a reference is at least 5 frames away)."""
HeadPolicy = Literal["kept", "given", "predicted"]
"""Heads of a model's output: held as in the picture, on request as in another video, or as the speech has it too."""


class LipNetwork(Protocol):
    """Speech to units, in arrays of one kind."""

    head_policy: HeadPolicy

    @property
    def mel(self) -> MelConfig:
        """The audio features."""

    @property
    def crop_px(self) -> int:
        """Side of the aligned face."""

    def convert(self, values: F32) -> Array:
        """Convert to the kind of array that the model's geometry and features are computed in."""

    def compute_units(self, mel: Array) -> Array:
        """Compute lip motion units [t d] from log-mel [m f] in dB with t = m / mels_per_frame, without gradients."""


@runtime_checkable
class MotionNetwork(LipNetwork, Protocol):
    """A lip model that predicts motion, for the person's own pixels."""

    def build_decoder(self) -> MotionDecoder:
        """Build the decoder of units for the CPU, without gradients."""
