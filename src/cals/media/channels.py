"""Channel layouts of sound: names, layouts for encoders, and weights of the mono mix of speech."""

import av
import numpy as np
from av.audio.frame import AudioFrame

from cals.types import F32

_DEFAULT_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_MAX_ENCODED_CHANNELS = 6
# ITU-R BS.775 proportions, scaled so that stereo becomes its mean; the low-frequency channel carries no speech.
_MONO_WEIGHTS = {"FL": 0.5, "FR": 0.5, "FC": 0.7071, "LFE": 0.0, "LFE2": 0.0}
_SURROUND_WEIGHT = 0.3536


def resolve_layout_name(layout: av.AudioLayout) -> str:
    """Return the FFmpeg name of a layout; a mere number of channels gets the default layout for it."""
    return (
        layout.name if not layout.name.endswith(" channels") else _DEFAULT_LAYOUTS.get(layout.nb_channels, layout.name)
    )


def get_channel_names(layout: str) -> tuple[str, ...]:
    """Return the FFmpeg names of the channels, in order."""
    return tuple(channel.name for channel in av.AudioLayout(layout).channels)


def choose_encoded_layout(codec: str, channels: int) -> str:
    """Choose the layout to encode: the default one, 5.1 for 6.1 and 7.1, mono for numbers without a default."""
    if channels not in _DEFAULT_LAYOUTS:
        return "mono"
    if codec == "libopus" and channels == 4:
        return "quad"
    return _DEFAULT_LAYOUTS[min(channels, _MAX_ENCODED_CHANNELS)]


def get_mono_weights(names: tuple[str, ...]) -> F32:
    """Return the weight [channels] of each channel in the mono mix."""
    if len(names) == 1:
        return np.ones(1, np.float32)
    if "FL" not in names:
        return np.full(len(names), 1 / len(names), np.float32)
    return np.array([_MONO_WEIGHTS.get(name, _SURROUND_WEIGHT) for name in names], np.float32)


def build_channel_matrix(names: tuple[str, ...], target: tuple[str, ...]) -> F32:
    """Build the matrix [target names] that puts a voice into other channels, at its own level.

    Channels keep their names where the target has them all. Else the mono mix is put in the centre, without a centre
    to the left and the right, and without these into every channel.
    """
    if names == target:
        return np.eye(len(names), dtype=np.float32)
    if len(set(names)) == len(names) and set(names) <= set(target):  # in layouts without a name they have one name
        return np.array([[name == other for other in names] for name in target], np.float32)
    places = next((group for group in (("FC",), ("FL", "FR")) if set(group) <= set(target)), target)
    return np.outer([name in places for name in target], get_mono_weights(names)).astype(np.float32)


# PyAV 18 crashes the process when a planar frame of 8 channels or more is converted to or from an array, so
# conversions always use the packed format "flt".


def to_frame(block: F32, layout: str) -> AudioFrame:
    """Convert sound [channels n] to a packed frame."""
    return av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T).reshape(1, -1), "flt", layout)


def from_frame(frame: AudioFrame) -> F32:
    """Convert a packed frame to sound [channels n]."""
    packed = np.asarray(frame.to_ndarray(), dtype=np.float32)
    return np.ascontiguousarray(packed.reshape(-1, frame.layout.nb_channels).T)
