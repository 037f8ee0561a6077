"""Check of media files from strangers, before anything else opens them."""

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer

from cals.errors import MediaError
from cals.media.opening import check_file, describe_error
from cals.media.photos import is_image

CONTAINERS = (
    *("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg", "mxf", "dv", "mjpeg"),
    *("wav", "w64", "mp3", "aac", "flac", "aiff", "amr", "amrnb", "amrwb", "au", "caf", "ac3", "gif", "apng"),
    "image2",
    *(f"{kind}_pipe" for kind in ("png", "jpeg", "bmp", "tiff", "webp", "j2k")),
)
"""FFmpeg's names of the containers that hold all their media themselves; playlists and the like name other files."""
_KINDS = {b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip archive", b"#EXTM3U": "a playlist"}


@dataclass(frozen=True, kw_only=True)
class IntakeLimits:
    """Largest media that are taken."""

    seconds: float
    pixels: int
    """Of a picture."""


def check_media(path: Path, limits: IntakeLimits) -> float:
    """Return the length in seconds of a file, 0 of a picture; nothing is decoded.

    The length is that of the packets, not what the header says. No other file is opened, whatever this one names.
    Raises MediaError unless it is of a self-contained kind and within limits.
    """
    check_file(path)
    with path.open("rb") as file:
        head = file.read(8)
    kind = next((kind for magic, kind in _KINDS.items() if head.startswith(magic)), None)
    if "%" in path.name:
        kind = "a name that stands for a series of pictures"
    if kind is not None:
        raise MediaError(f"{path}: expected a video, image or audio file, found {kind}; send the file itself")
    with closing(_open(path)) as container:
        for stream in container.streams.video:
            width, height = stream.codec_context.width, stream.codec_context.height
            if width * height > limits.pixels:
                raise MediaError(
                    f"{path}: expected pictures of at most {limits.pixels / 1e6:g} million pixels, found {width} x "
                    f"{height}; make it smaller"
                )
        if is_image(path):
            return 0.0
        seconds = 0.0
        for end_s in _iterate_ends(container):
            seconds = max(seconds, end_s)
            if end_s > limits.seconds:
                raise MediaError(f"{path}: expected at most {limits.seconds:g} s, found more; cut it into shorter ones")
        return seconds


def _open(path: Path) -> InputContainer:
    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
    try:
        return av.open(f"file:{path}", metadata_errors="replace", container_options=options)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(
            f"{path}: expected a video, image or audio file, found another kind ({describe_error(error)}); convert it "
            "to mp4, jpg or wav"
        ) from error


def _iterate_ends(container: InputContainer) -> Iterator[float]:
    """Yield the length in seconds that each packet reaches."""
    first_s: dict[int, Fraction] = {}
    with suppress(av.FFmpegError, IndexError, OSError):  # damage is told by who decodes it
        for packet in container.demux():
            if packet.pts is not None and packet.time_base:
                time_s = packet.pts * packet.time_base
                start_s = first_s.setdefault(packet.stream_index, time_s)
                yield float(time_s + (packet.duration or 0) * packet.time_base - start_s)
