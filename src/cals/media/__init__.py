"""Video, image and sound files in and out; the only room that knows PyAV."""

from cals.media.audio import AudioInfo, load_mono, mono_blocks, probe
from cals.media.frame import Frame
from cals.media.reader import VideoFormat, VideoReader
from cals.media.sound import AudioSource
from cals.media.source import VideoSource
from cals.media.timeline import fit_length
from cals.media.writer import VideoWriter

__all__ = [
    "AudioInfo",
    "AudioSource",
    "Frame",
    "VideoFormat",
    "VideoReader",
    "VideoSource",
    "VideoWriter",
    "fit_length",
    "load_mono",
    "mono_blocks",
    "probe",
]
