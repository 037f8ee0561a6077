"""`cals corrupt`: a video with bursts of hidden mouth and noisy speech, and the ground truth of when they are."""

import json
import logging
from collections import Counter
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cals import hub
from cals.data.corruption.bursts import Burst, Corruption, describe_corruption, draw_corruption
from cals.data.corruption.config import TESTING, CorruptionConfig
from cals.data.corruption.pictures import MouthPlace, corrupt_frame
from cals.errors import ConfigError, MediaError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.face.tracker import FaceTracker
from cals.inference.corrupt_sound import SoundCorruptor, load_babble
from cals.inference.mouth_places import MouthTrack, track_mouths
from cals.inference.person_tracker import build_no_face_error, build_tracker
from cals.inference.report import create_file
from cals.media.audio import probe
from cals.media.frame import Frame
from cals.media.reader import VideoReader
from cals.media.writer import VideoWriter
from cals.types import F32, ProgressCallback

log = logging.getLogger(__name__)

_LONGER_SOUND_S = Fraction(1, 10)
"""Sound after the last frame that needs no warning: most encoders add a block to its end."""


def corrupt_video(
    video: Path,
    out: Path,
    *,
    truth: Path,
    config: CorruptionConfig = TESTING,
    seed: int = 0,
    babble: Path | None = None,
    person: str = "largest",
    keep_going: bool = False,
    force: bool = False,
    face_models: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Counter[str]:
    """Write `video` with the bursts that `config` draws from `seed`, and the ground truth to `truth` (JSON).

    All outside the bursts keeps its content; frames without a face are left as they are. `babble` is a folder of sound
    or video files to mix babble from; without it, babble is the video's own speech, shifted and partly reversed.
    Returns the counts of `frames`, of those corrupted (`video`, `audio`), without a face (`faceless`), and without a
    face in a burst (`missed`). Without pictures to corrupt, faces are not tracked.
    Raises, with nothing written, NoFaceError when no frame has the person, MediaError without sound to corrupt.
    """
    if seed < 0:
        raise ConfigError(f"seed: expected 0 or more, found {seed}")
    with VideoReader(video, keep_going=keep_going) as reader:
        video_format, has_audio = reader.format, reader.has_audio
    if video_format.is_image:
        raise MediaError(f"{video}: expected a video, found a picture, which says nothing; name a video")
    if config.corrupts_audio and not has_audio:
        raise MediaError(f"{video}: expected sound to corrupt, found none; use --streams video")
    with ExitStack() as files:
        truth_file = files.enter_context(create_file(truth, force=force, reserved=(video, out)))
        sound = SoundCorruptor(video, keep_going=keep_going)
        writer = files.enter_context(
            VideoWriter(
                out,
                video_format,
                audio=video if has_audio else None,
                audio_transform=sound.corrupt,
                tracks_of=video,
                force=force,
                inputs=(video,),
                keep_going=keep_going,
            )
        )
        others: list[F32] = []
        if babble is not None and not config.corrupts_audio:
            raise ConfigError("babble: expected none where the sound is left as it is, found a folder; leave it out")
        if babble is not None:
            others = load_babble(babble, np.random.default_rng(seed), reserved=video)
        track = _track_mouths(video, person, keep_going, face_models, progress, with_faces=config.corrupts_video)
        corruption = draw_corruption(np.random.default_rng(seed), len(track.starts_s), config)
        if config.corrupts_audio:
            sound.prepare(corruption.audio, track, others)
        if has_audio:
            _warn_of_longer_sound(video, track, keep_going)
        audible_mask = _mark_audible(corruption, track, sound)
        changed = _write(writer, video, corruption, track, keep_going, progress)
        counts = _count(corruption, track, changed, audible_mask)
        source = ("others" if others else "own") if config.corrupts_audio else None
        document = {"video": video.name, "seed": seed, "babble": source}
        facts = _describe(corruption, track, changed, audible_mask, sound.gain_db)
        truth_file.write_text(json.dumps(document | facts, indent=1) + "\n", encoding="utf-8")
    return counts


def _warn_of_longer_sound(video: Path, track: MouthTrack, keep_going: bool) -> None:
    """Log how much of the sound is left out, which ends with the last frame."""
    rest_s = probe(video, keep_going=keep_going).duration_s - track.end_s
    if rest_s > _LONGER_SOUND_S:
        log.warning("%s: its sound goes on for %.2f s after the last frame; that is left out", video, rest_s)


def _track_mouths(
    video: Path,
    person: str,
    keep_going: bool,
    face_models: Path | None,
    progress: ProgressCallback | None,
    *,
    with_faces: bool,
) -> MouthTrack:
    """Read the frames' times and, `with_faces`, track the mouths; NoFaceError where no frame has one."""
    tracker: FaceTracker | None = None
    if with_faces:
        detector = BlazeFaceMesh(FaceModels(*hub.read_face_models(face_models)))
        tracker = build_tracker(video, person, detector, partial(VideoReader, video, keep_going=keep_going))
    track = track_mouths(video, tracker, keep_going=keep_going, progress=progress)
    if tracker is not None and not any(track.places):
        raise build_no_face_error(video, person, tracker)
    return track


def _write(
    writer: VideoWriter,
    video: Path,
    corruption: Corruption,
    track: MouthTrack,
    keep_going: bool,
    progress: ProgressCallback | None,
) -> list[bool]:
    """Write all frames; return which of them were changed."""
    changed = []
    bursts = {t: burst for burst in corruption.video for t in range(burst.start, burst.end)}
    with VideoReader(video, keep_going=keep_going, quiet=True) as reader:
        for frame in reader:
            corrupted = _corrupt(frame, bursts.get(frame.index), track.places[frame.index])
            changed.append(corrupted is not frame)
            writer.write(corrupted)
            if progress is not None:
                progress(len(track.starts_s) + len(changed), 2 * len(track.starts_s))
    return changed


def _corrupt(frame: Frame, burst: Burst | None, place: MouthPlace | None) -> Frame:
    """Return the frame with its mouth corrupted, or the frame itself where there is no burst or no mouth."""
    if burst is None or place is None:
        return frame
    patch = corrupt_frame(frame, frame.index, burst, place)
    return frame.with_patch(patch) if patch.alpha.any() else frame


def _mark_audible(corruption: Corruption, track: MouthTrack, sound: SoundCorruptor) -> list[bool]:
    """Mark the frames whose sound is corrupted: those in a burst that begin before the sound ends."""
    mask = corruption.truth["audio"].tolist()
    return [
        is_corrupted and track.compute_start_s(frame) * sound.rate_hz < sound.samples
        for frame, is_corrupted in enumerate(mask)
    ]


def _count(corruption: Corruption, track: MouthTrack, changed: list[bool], audible_mask: list[bool]) -> Counter[str]:
    planned = int(corruption.truth["video"].sum())
    counts = Counter(frames=len(changed), video=sum(changed), audio=sum(audible_mask), missed=planned - sum(changed))
    counts["faceless"] = sum(place is None for place in track.places) if any(track.places) else 0
    if planned and not counts["video"]:
        log.warning("no mouth was corrupted: all %d frames drawn for it show none; try another --seed", planned)
    return counts


def _describe(
    corruption: Corruption, track: MouthTrack, changed: list[bool], audible_mask: list[bool], gain_db: float
) -> dict[str, Any]:
    """Build the ground truth: bursts as sampled, and for each frame what was really corrupted."""
    frames = zip(track.starts_s, track.places, changed, audible_mask, strict=True)
    has_track = any(track.places)
    return {
        "corruption": describe_corruption(corruption),
        "sound_gain_db": round(gain_db, 3),
        "per_frame": [
            {
                "index": index,
                "time_s": round(float(time_s), 6),
                "face": place is not None if has_track else None,
                "video": video_changed,
                "audio": audio_changed,
            }
            for index, (time_s, place, video_changed, audio_changed) in enumerate(frames)
        ],
    }
