"""A video or sound file as one stream of mouth crops and sound at a recogniser's rate."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cals.data.offset import compute_loudness
from cals.data.utterances import center_crop, extract_grey_mouths
from cals.errors import ConfigError, MediaError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.face.landmarks import measure_mouth_opening
from cals.inference.frame_tracker import TrackedFrame, track_and_align
from cals.inference.person_tracker import build_no_face_error, build_tracker
from cals.inference.sync_distances import resample_frames
from cals.media.audio import mono_blocks
from cals.media.opening import check_file
from cals.media.photos import is_image
from cals.media.reader import VideoReader, find_video_start_s
from cals.models.avsr.config import AVSRConfig, Streams
from cals.types import F32, U8, ProgressCallback

log = logging.getLogger(__name__)


class AVFrame(NamedTuple):
    """Mouth and sound of one frame at the model's rate."""

    mouth: U8 | None
    """Greyscale [h w], as the network takes it; None without a face."""
    opening: float
    """Opening of the lips in inter-ocular distances; 0 without a face."""
    wav: F32 | None
    """Samples [n], zero beyond the end of the sound; None where no sound is read."""

    @property
    def level(self) -> float:
        """Speech level: loudness in dB, or the opening of the lips where no sound is read."""
        return self.opening if self.wav is None else float(compute_loudness(self.wav, len(self.wav), 1)[0])


@dataclass(frozen=True, kw_only=True)
class StreamFiles:
    """The file of each stream; None where a stream is not read."""

    video: Path | None
    audio: Path | None

    @property
    def streams(self) -> Streams:
        return "both" if self.video and self.audio else "video" if self.video else "audio"


def choose_streams(video: Path, audio: Path | None, streams: Streams, config: AVSRConfig) -> StreamFiles:
    """Find the streams that the files have and the recogniser takes; a missing stream of "both" is logged.

    Raises ConfigError where the recogniser lacks the stream, MediaError where the files have no stream that it takes.
    """
    if streams != "both" and config.streams not in ("both", streams):
        raise ConfigError(
            f"streams: expected {config.streams}, which is all that this recogniser was trained on, found {streams}; "
            "name a model that has it, or leave the choice out"
        )
    if audio is not None and "video" in (streams, config.streams):
        raise ConfigError("streams: expected lips alone or the sound of another file, found both; leave one out")
    check_file(video)
    is_photo = is_image(video)
    has_video = not is_photo and find_video_start_s(video) is not None
    sound = audio or (None if is_photo or (has_video and not _has_sound(video)) else video)
    available = {"audio": sound, "video": video if has_video else None}
    requested = [
        stream for stream in available if stream in (streams, config.streams) or streams == config.streams == "both"
    ]
    if not any(available[stream] for stream in requested):
        raise MediaError(
            f"{video}: expected {' or '.join(_STREAM_NAMES[stream] for stream in requested)} to read, found none; "
            f"give a video with {'a face' if requested == ['video'] else 'sound, or --audio FILE'}"
        )
    for stream in requested:
        if available[stream] is None:
            log.warning("%s: no %s; reading the %s alone", video, _STREAM_NAMES[stream], _OTHER_STREAM_NAMES[stream])
    return StreamFiles(
        video=available["video"] if "video" in requested else None,
        audio=available["audio"] if "audio" in requested else None,
    )


_STREAM_NAMES = {"audio": "sound", "video": "moving pictures"}
_OTHER_STREAM_NAMES = {"audio": "lips", "video": "sound"}


def _has_sound(video: Path) -> bool:
    with VideoReader(video, keep_going=True, quiet=True) as reader:
        return reader.has_audio


def read_frames(
    source: StreamFiles,
    config: AVSRConfig,
    face_models: FaceModels | None,
    *,
    person: str | int,
    keep_going: bool,
    progress: ProgressCallback | None,
) -> Iterator[AVFrame]:
    """Yield one person's mouth and the sound, frame by frame, until both streams have ended.

    Frames without the person have no mouth. If no frame has one, this is logged, or NoFaceError without sound.
    """
    timing = config.mel.timing
    with ExitStack() as files:
        items: Iterator[TrackedFrame] = iter(())
        blocks: Iterator[F32] = iter(())
        tracker, total, any_face = None, None, False
        if source.video is not None and face_models is not None:
            reader = files.enter_context(VideoReader(source.video, keep_going=keep_going))
            open_frames = partial(VideoReader, source.video, keep_going=keep_going)
            tracker = build_tracker(source.video, person, BlazeFaceMesh(face_models), open_frames)
            items = resample_frames(track_and_align(reader, tracker, config.crop_px), timing.fps)
            total = None if reader.duration_s is None else round(reader.duration_s * timing.fps)
        if source.audio is not None:
            blocks = mono_blocks(source.audio, timing.sample_rate_hz, timing.samples_per_frame, keep_going=keep_going)
            files.enter_context(closing(blocks))  # type: ignore[type-var]  # a generator
        for number, (item, block) in enumerate(zip_longest(items, blocks)):
            if number and item is None and 2 * len(block) < timing.samples_per_frame:
                break  # less than half a frame of sound after the last picture
            moment = _build_moment(item, block, source, config)
            any_face = any_face or moment.mouth is not None
            yield moment
            if progress is not None:
                progress(number + 1, total if total is None else max(total, number + 1))
        if tracker is not None and source.video is not None and not any_face:
            error = build_no_face_error(source.video, person, tracker)
            if source.audio is None:
                raise error
            log.warning("%s; the sound alone was read", error)


def _build_moment(item: TrackedFrame | None, block: F32 | None, source: StreamFiles, config: AVSRConfig) -> AVFrame:
    mouth, opening, wav = None, 0.0, None
    if item is not None and item.view is not None:
        mouth = center_crop(extract_grey_mouths(item.view.crop[None], config.cut, config.mouth_px), config.view_px)[
            0
        ].copy()
        opening = measure_mouth_opening(item.view.landmarks)
    if source.audio is not None:
        wav = np.zeros(config.mel.timing.samples_per_frame, np.float32)
        if block is not None:
            wav[: len(block)] = block
    return AVFrame(mouth, opening, wav)
