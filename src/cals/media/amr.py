"""AMR, a telephone codec that leaves out frames without speech."""

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet

FRAMES_PER_SECOND = 50
# The first byte of a frame holds its mode; modes above these are comfort noise, lost frames or no data.
_LAST_SPEECH_MODE = {"amrnb": 7, "amr_nb": 7, "amrwb": 8, "amr_wb": 8}


def make_silence(packet: "Packet[AudioStream]", codec: str) -> AudioFrame | None:
    """Return 20 ms of silence for a frame without speech, which FFmpeg's decoders refuse; None for other packets."""
    last_mode = _LAST_SPEECH_MODE.get(codec)
    if last_mode is None or bytes(packet)[0] >> 3 & 15 <= last_mode:
        return None
    rate_hz = packet.stream.rate
    frame = av.AudioFrame.from_ndarray(np.zeros((1, rate_hz // FRAMES_PER_SECOND), np.float32), "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, packet.pts, packet.time_base
    return frame
