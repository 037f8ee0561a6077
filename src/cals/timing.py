"""Exact conversions between audio samples, mel frames, video frames and seconds."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from cals.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AVTiming:
    """The rates of a model; values derived from them are exact, other rates are an error.

    Defaults are the published ones (paper section 1): 16 kHz, hop 160, 25 fps, so 4 mel frames a video frame.
    A video of any other rate keeps its own frame times: units are computed at `fps` and sampled at those times.
    """

    sample_rate_hz: int = 16_000
    hop: int = 160
    fps: int = 25

    def __post_init__(self) -> None:
        if min(self.sample_rate_hz, self.hop, self.fps) <= 0:
            raise ConfigError(f"timing: expected positive rates, found {self}")
        if self.sample_rate_hz % (self.hop * self.fps):
            raise ConfigError(
                f"timing: expected a whole number of mel frames per video frame, found "
                f"{self.sample_rate_hz} Hz / (hop {self.hop} x {self.fps} fps); change hop or fps"
            )

    @property
    def mels_per_frame(self) -> int:
        """Mel frames in one video frame."""
        return self.sample_rate_hz // (self.hop * self.fps)

    @property
    def samples_per_frame(self) -> int:
        """Audio samples in one video frame."""
        return self.sample_rate_hz // self.fps

    def to_unit_position(self, time_s: Fraction) -> Fraction:
        """Convert `time_s` to a position on the unit axis; unit i lies at the middle of its frame, (i + 1/2) / fps."""
        return time_s * self.fps - Fraction(1, 2)


def count_ticks(end_s: Fraction, fps: int) -> int:
    """Count the ticks of 1 / `fps` whose middle lies before `end_s`; a tick shows the frame at its middle."""
    return ceil(end_s * fps - Fraction(1, 2))
