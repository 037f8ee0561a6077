"""Video, image and sound files in and out; the only room that knows PyAV."""

from cals.media.audio import AudioInfo, load_mono, mono_blocks, probe
from cals.media.frame import Frame
from cals.media.reader import VideoFormat, VideoReader
from cals.media.sound import AudioSource
from cals.media.timeline import LengthPolicy, fit_length
from cals.media.writer import VideoWriter

__all__ = [
    "AudioInfo",
    "AudioSource",
    "Frame",
    "LengthPolicy",
    "VideoFormat",
    "VideoReader",
    "VideoWriter",
    "fit_length",
    "load_mono",
    "mono_blocks",
    "probe",
]
