"""Choice of the codec, the options and the pixel format of the output."""

import logging
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.codec import Codec, CodecContext
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from cals.errors import ConfigError
from cals.media.frame import from_planes, get_plane_views
from cals.media.opening import choose_thread_type, count_threads, describe_error
from cals.media.reader import VideoFormat
from cals.options import EncodeOptions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoder:
    """An encoder: FFmpeg's codec name, its quality and speed scales, and the defaults."""

    codec: str
    crf: int
    preset: str
    presets: tuple[str, ...]
    worst_crf: int
    tag: str | None = None


_X26X_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)

_NVENC_PRESETS = tuple(f"p{speed}" for speed in range(1, 8))

# Measured on 2 cores on 75 frames of a real clip scaled to 720p with grain (sigma 1.5, 44.6 dB) added, ms of
# CPU time a frame / PSNR of luma / Mbit/s. x264: ultrafast 17 5 / 44.9 / 18, superfast 17 20 / 45.9 / 22,
# veryfast 17 26 / 43.6 / 7. At 60 frames/s two cores have 33 ms a frame for everything, so ultrafast; at 17 it
# keeps even the grain, which is what "the same video out" asks for, and the size is the price.
# x265 at 10 bits: ultrafast 18 34 / 43.4 / 0.8, superfast 18 55 / 43.5 / 1.1. VP9 speed 8, 20: 12 / 44.0 / 3.
_ENCODERS = {
    "h264": Encoder("libx264", crf=17, preset="ultrafast", presets=_X26X_PRESETS, worst_crf=51),
    "h265": Encoder("libx265", crf=18, preset="ultrafast", presets=_X26X_PRESETS, worst_crf=51, tag="hvc1"),
    "vp9": Encoder("libvpx-vp9", crf=20, preset="8", presets=tuple("0123456789"), worst_crf=63),
    "prores": Encoder("prores_ks", crf=0, preset="4444", presets=(), worst_crf=0),  # has no scale and no speeds
    # Their scale, of constant quality, is near that of x264 and x265.
    "h264_nvenc": Encoder("h264_nvenc", crf=17, preset="p4", presets=_NVENC_PRESETS, worst_crf=51),
    "hevc_nvenc": Encoder("hevc_nvenc", crf=18, preset="p4", presets=_NVENC_PRESETS, worst_crf=51, tag="hvc1"),
}
_NVENC_OF = {"h264": "h264_nvenc", "h265": "hevc_nvenc"}
_NVENC_FORMATS = {
    "yuv420p": "yuv420p",
    "yuvj420p": "yuv420p",
    "yuv444p": "yuv444p",
    "yuvj444p": "yuv444p",
    "yuv420p10le": "p010le",
}
"""Pixel formats of videos -> the format that NVENC has for the same samples."""
_COMMON_FORMAT = VideoFormat(width=640, height=360, pix_fmt="yuv420p", time_base=Fraction(1, 25), rate=Fraction(25))
_X265_SAFE_WIDTH_PX = 64
"""For narrower pictures x265 (4.2) writes past its table of quantiser blocks (valgrind: Lookahead::cuTree)."""

_X264_FIELD_MULTIPLE = 4
"""x264 supports interlaced pictures only with a multiple of this many rows."""

_ALPHA_FORMATS = {"libvpx-vp9": "yuva420p", "prores_ks": "yuva444p10le"}
"""The codecs whose transparency players support, and the one pixel format for it."""

_ALIASES = {"avc": "h264", "hevc": "h265"} | {encoder.codec: name for name, encoder in _ENCODERS.items()}


def list_encoders() -> dict[str, bool]:
    """Return whether the encoder can be used, for each codec that can be chosen: NVENC needs more than PyAV."""
    return {
        name: encoder.codec in av.codecs_available
        and (name not in _NVENC_OF.values() or not _find_nvenc_obstacle(encoder, _COMMON_FORMAT))
        for name, encoder in _ENCODERS.items()
    }


def choose_encoder(codec: str, container: str, like: VideoFormat) -> Encoder:
    """Choose the encoder for `codec`: auto, nvenc, or a name of one.

    auto decides by container, bit depth and transparency; nvenc decides so too, but takes the GPU's encoder where there
    is one for such a video. Raises ConfigError.
    """
    if codec not in ("auto", "nvenc"):
        name = _ALIASES.get(codec, codec)
    elif like.has_alpha and container == "mov":
        name = "prores"
    else:
        name = "vp9" if container == "webm" else "h264" if like.bits == 8 else "h265"
    if codec == "nvenc" and name in _NVENC_OF:
        return _choose_nvenc(name, like)
    if name not in _ENCODERS:
        raise ConfigError(f"codec: expected auto, nvenc, {', '.join(_ENCODERS)}, found '{codec}'")
    if container == "webm" and name != "vp9":
        raise ConfigError(f"codec: expected vp9 in a .webm file, found '{codec}'; use codec auto or another suffix")
    if name == "prores" and container == "mp4":
        raise ConfigError("codec: expected another than prores in an .mp4 file; name the output .mov")
    if name in _NVENC_OF.values() and (obstacle := _find_nvenc_obstacle(_ENCODERS[name], like)):
        raise ConfigError(f"codec: expected what {name} can encode here, found {obstacle}; use codec nvenc or auto")
    return _ENCODERS[name]


def check_encoding(encode: EncodeOptions, container: str) -> None:
    """Raise ConfigError for options that no video can be encoded with; a GPU is not asked, it may be elsewhere."""
    if "nvenc" not in encode.codec:
        build_options(choose_encoder(encode.codec, container, _COMMON_FORMAT), encode.crf, encode.preset)


def _choose_nvenc(name: str, like: VideoFormat) -> Encoder:
    """Choose NVENC in place of the encoder `name`, if it can encode such a video here."""
    encoder = _ENCODERS[_NVENC_OF[name]]
    obstacle = _find_nvenc_obstacle(encoder, like)
    if obstacle:
        log.info("%s encodes, not %s: found %s", _ENCODERS[name].codec, encoder.codec, obstacle)
        return _ENCODERS[name]
    return encoder


def _find_nvenc_obstacle(encoder: Encoder, like: VideoFormat) -> str:
    """Find what keeps NVENC from encoding a video like this here; empty if nothing does."""
    if like.field_order:
        return "interlaced pictures"
    if like.pix_fmt not in _NVENC_FORMATS:
        return f"pictures of {like.pix_fmt}"
    if like.width % 2 or like.height % 2:
        return f"pictures of the odd size {like.width}x{like.height}"
    try:
        # only a GPU with its driver can tell what it supports, and a stream of a file cannot be taken back
        _open_context(encoder, like, build_options(encoder, None, None))
    except (av.FFmpegError, OSError, ValueError) as error:
        return f"that it cannot be opened ({describe_error(error)})"
    return ""


def build_options(encoder: Encoder, crf: int | None, preset: str | None) -> dict[str, str]:
    """Build the codec's options for a constant quality and a speed preset; ConfigError if it has no such value."""
    if encoder.codec == "prores_ks":
        if crf is not None or preset is not None:
            log.warning("crf and preset say nothing to prores: left out")
        return {"profile": encoder.preset, "alpha_bits": "16", "vendor": "apl0"}
    if crf is not None and not 0 <= crf <= encoder.worst_crf:
        raise ConfigError(f"crf: expected 0 to {encoder.worst_crf} for {encoder.codec}, found {crf}")
    if preset is not None and preset not in encoder.presets:
        raise ConfigError(f"preset: expected one of {', '.join(encoder.presets)}, found '{preset}'")
    quality = str(encoder.crf if crf is None else crf)
    speed = preset or encoder.preset
    if encoder.codec == "libvpx-vp9":
        options = {"crf": quality, "b": "0", "deadline": "realtime", "cpu-used": speed, "row-mt": "1"}
        return options | {"auto-alt-ref": "0"}  # transparency cannot be written with it
    if encoder.codec in _NVENC_OF.values():
        # a quality of 0 would be its own choice; without B-frames pictures keep their order, as in x264's ultrafast
        quality = str(max(1, int(quality)))
        return {"rc": "vbr", "cq": quality, "preset": speed, "tune": "hq", "bf": "0"}
    options = {"crf": quality, "preset": speed}
    if encoder.codec == "libx265":
        options["x265-params"] = "log-level=error"
    return options


def _find_nearest_format(codec: str, pix_fmt: str) -> str:
    """Find the pixel format of `codec` that loses least of `pix_fmt`."""
    if codec in _NVENC_OF.values():
        return _NVENC_FORMATS[pix_fmt]
    supported = [known.name for known in Codec(codec, "w").video_formats or []]
    if pix_fmt in supported and not pix_fmt.startswith("yuva"):
        return pix_fmt
    opaque = pix_fmt.replace("yuva", "yuv").replace("yuvj", "yuv")
    with_alpha = [_ALPHA_FORMATS[codec]] if codec in _ALPHA_FORMATS and pix_fmt.startswith("yuva") else []
    for candidate in (*with_alpha, opaque, opaque.removesuffix("10le"), "yuv420p"):
        if candidate in supported:
            return candidate
    return supported[0]


def _compute_even_size(codec: str, pix_fmt: str, width: int, height: int) -> tuple[int, int]:
    """Compute the size that `codec` needs: H.264 and H.265 have no odd sizes where chroma is subsampled."""
    if codec in ("libvpx-vp9", "prores_ks"):
        return width, height
    even_x, even_y = "444" not in pix_fmt, "420" in pix_fmt
    return width + (width % 2 if even_x else 0), height + (height % 2 if even_y else 0)


def pad_picture(picture: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
    """Pad `picture` to that size by repeating its last column and row."""
    result = av.VideoFrame(width, height, picture.format.name)
    planes: list[Any] = []
    for old, new in zip(get_plane_views(picture), get_plane_views(result), strict=True):
        down, right = new.shape[0] - old.shape[0], new.shape[1] - old.shape[1]
        planes.append(np.pad(old, ((0, down), (0, right)), mode="edge"))
    return from_planes(planes, picture.format.name, like=picture)


def add_video(container: OutputContainer, encoder: Encoder, like: VideoFormat, options: dict[str, str]) -> VideoStream:
    """Add a video stream to `container` with the size, times, colour tags and pixel shape of `like`."""
    if encoder.codec == "libx265" and like.width < _X265_SAFE_WIDTH_PX:
        options = {**options, "x265-params": options["x265-params"] + ":no-cutree=1"}
    if like.field_order:
        options = {**options, **_build_field_options(encoder, like)}
    if like.hdr:
        log.warning("%s metadata of the video is left out; its colour tags are kept", " and ".join(like.hdr))
    stream = cast(VideoStream, container.add_stream(encoder.codec, rate=like.rate, options=options))
    _describe_pictures(stream.codec_context, encoder, like)
    if like.has_alpha and (stream.codec_context.pix_fmt or "").startswith("yuva"):
        stream.metadata["alpha_mode"] = "1"  # players of WebM read this
    if encoder.tag and container.format.name in ("mp4", "mov"):
        stream.codec_context.codec_tag = encoder.tag
    return stream


def open_x264(encoder: Encoder, like: VideoFormat, options: dict[str, str], parameters: str) -> VideoCodecContext:
    """Open an x264 encoder of its own for pictures like `like`, with parameters in x264's own form."""
    return _open_context(encoder, like, {**options, "x264-params": parameters})


def _open_context(encoder: Encoder, like: VideoFormat, options: dict[str, str]) -> VideoCodecContext:
    context = cast(VideoCodecContext, CodecContext.create(encoder.codec, "w"))
    _describe_pictures(context, encoder, like)
    context.options = options
    context.flags |= Flags.global_header
    context.open()
    return context


def _describe_pictures(context: VideoCodecContext, encoder: Encoder, like: VideoFormat) -> None:
    """Set the size, times, colour tags and pixel shape of `like`."""
    context.pix_fmt = _find_nearest_format(encoder.codec, like.pix_fmt)
    if like.has_alpha and not context.pix_fmt.startswith("yuva"):
        log.warning(
            "transparency is not kept, clear parts show the colours stored there; a .mov or .webm output keeps it"
        )
    if like.bits > 8 and not context.pix_fmt.endswith("10le"):
        log.warning("%s here writes 8 bit only: the video's 10 bit are reduced", encoder.codec)
    width, height = _compute_even_size(encoder.codec, context.pix_fmt, like.width, like.height)
    if (width, height) != (like.width, like.height):
        log.info("odd size %dx%d: padded to %dx%d for %s", like.width, like.height, width, height, encoder.codec)
    context.width, context.height = width, height
    context.time_base = like.time_base
    context.framerate = like.rate
    context.flags |= Flags.frame_duration
    context.thread_type, context.thread_count = choose_thread_type(width, height), count_threads()
    full_range = like.pix_fmt.startswith("yuvj")
    context.colorspace, context.color_range = like.colorspace, 2 if full_range else like.color_range
    context.color_primaries, context.color_trc = like.color_primaries, like.color_trc
    if like.sar != 1:
        context.sample_aspect_ratio = like.sar


def _build_field_options(encoder: Encoder, like: VideoFormat) -> dict[str, str]:
    """Build the options that keep pictures interlaced, if the encoder supports it."""
    if encoder.codec == "libx264" and like.height % _X264_FIELD_MULTIPLE == 0:
        log.warning("the video is interlaced: the output is flagged so too, and mouths are drawn whole")
        return {"x264-params": f"{like.field_order}=1"}
    log.warning("the video is interlaced, which %s cannot say here: deinterlace it first", encoder.codec)
    return {}


def to_ticks(time_s: Fraction, time_base: Fraction) -> int:
    """Convert `time_s` to ticks; exact for the times of the video that the time base comes from."""
    return round(time_s / time_base)
