"""Channels of sound: the names of their layouts, what an encoder is given, and the mono mix of speech."""

import av
import numpy as np
from av.audio.frame import AudioFrame

from cals.types import F32

_USUAL = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_MOST_ENCODED = 6
# ITU-R BS.775 proportions, scaled so that plain stereo becomes its mean; the sub-woofer carries no speech.
_SHARE = {"FL": 0.5, "FR": 0.5, "FC": 0.7071, "LFE": 0.0, "LFE2": 0.0}
_SURROUND_SHARE = 0.3536


def named_layout(layout: av.AudioLayout) -> str:
    """The layout's FFmpeg name; files that only count their channels get the usual order for that many."""
    return layout.name if not layout.name.endswith(" channels") else _USUAL.get(layout.nb_channels, layout.name)


def channel_names(layout: str) -> tuple[str, ...]:
    """FFmpeg names of the channels, in order."""
    return tuple(channel.name for channel in av.AudioLayout(layout).channels)


def encoded_layout(codec: str, channels: int) -> str:
    """The layout `codec` is given for that many: the same, 5.1 for 6.1 and 7.1, mono for what has no usual order."""
    if channels not in _USUAL:
        return "mono"
    if codec == "libopus" and channels == 4:
        return "quad"
    return _USUAL[min(channels, _MOST_ENCODED)]


def mono_shares(names: tuple[str, ...]) -> F32:
    """The share [channels] each channel has in the mono mix."""
    if len(names) == 1:
        return np.ones(1, np.float32)
    if "FL" not in names:
        return np.full(len(names), 1 / len(names), np.float32)
    return np.array([_SHARE.get(name, _SURROUND_SHARE) for name in names], np.float32)


# PyAV 18 crashes the process when a planar frame of 8 channels or more becomes an array, or is made from one;
# so arrays and frames always meet in the packed format "flt".


def to_frame(block: F32, layout: str) -> AudioFrame:
    """A packed frame of sound [channels n]."""
    return av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T).reshape(1, -1), "flt", layout)


def from_frame(frame: AudioFrame) -> F32:
    """The sound [channels n] of a packed frame."""
    packed = np.asarray(frame.to_ndarray(), dtype=np.float32)
    return np.ascontiguousarray(packed.reshape(-1, frame.layout.nb_channels).T)
