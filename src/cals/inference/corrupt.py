"""`cals corrupt`: a video whose mouth is hidden and whose speech is drowned now and then, and the truth of when."""

import json
import logging
from collections import Counter
from contextlib import ExitStack
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
from cals.inference.following import follow, no_face
from cals.inference.mouth_places import MouthTrack, track_mouths
from cals.inference.report import new_file
from cals.media.frame import Frame
from cals.media.reader import VideoReader
from cals.media.writer import VideoWriter
from cals.types import F32, ProgressCallback

log = logging.getLogger(__name__)


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
    """Write `video` with what `config` draws from `seed` done to it, and to `truth` (JSON) what that was.

    Whatever lies outside the bursts keeps its content; frames without a face are left as they are. `babble` is a folder
    of sound or video files that babble is mixed from; without it, it is made of the video's own speech, shifted and
    partly reversed. Returns how many `frames` there are, how many of them are corrupted (`video`, `audio`), have no
    face (`faceless`), and have none where a burst is (`missed`); without pictures to corrupt faces are not looked for.
    Raises, with nothing written, NoFaceError when no frame has the person, MediaError without sound to corrupt.
    """
    if seed < 0:
        raise ConfigError(f"seed: expected 0 or more, found {seed}")
    with VideoReader(video, keep_going=keep_going) as reader:
        like, has_audio = reader.format, reader.has_audio
    if like.is_image:
        raise MediaError(f"{video}: expected a video, found a picture, which says nothing; name a video")
    if config.corrupts_audio and not has_audio:
        raise MediaError(f"{video}: expected sound to corrupt, found none; use --streams video")
    with ExitStack() as files:
        truth_file = files.enter_context(new_file(truth, force=force, apart_from=(video, out)))
        sound = SoundCorruptor(video, keep_going=keep_going)
        writer = files.enter_context(
            VideoWriter(
                out,
                like,
                audio=video if has_audio else None,
                change_sound=sound.change,
                tracks_of=video,
                force=force,
                inputs=(video,),
                keep_going=keep_going,
            )
        )
        others: list[F32] = []
        if babble is not None and config.corrupts_audio:
            others = load_babble(babble, np.random.default_rng(seed), apart_from=video)
        track = _track(video, person, keep_going, face_models, progress, look=config.corrupts_video)
        corruption = draw_corruption(np.random.default_rng(seed), len(track.starts_s), config)
        if config.corrupts_audio:
            sound.prepare(corruption.audio, track, others)
        audible = _mark_audible(corruption, track, sound)
        shown = _write(writer, video, corruption, track, keep_going, progress)
        counts = _count(corruption, track, shown, audible)
        document = {"video": video.name, "seed": seed, "babble": "others" if others else "own"}
        facts = _describe(corruption, track, shown, audible, sound.gain_db)
        truth_file.write_text(json.dumps(document | facts, indent=1) + "\n", encoding="utf-8")
    return counts


def _track(
    video: Path,
    person: str,
    keep_going: bool,
    face_models: Path | None,
    progress: ProgressCallback | None,
    *,
    look: bool,
) -> MouthTrack:
    """The frames' times and, if they are to be looked for, mouths; NoFaceError where there is none at all."""
    tracker: FaceTracker | None = None
    if look:
        detector = BlazeFaceMesh(FaceModels(*hub.face_model_bytes(face_models)))
        tracker = follow(video, person, detector, keep_going=keep_going)
    track = track_mouths(video, tracker, keep_going=keep_going, progress=progress)
    if tracker is not None and not any(track.places):
        raise no_face(video, person, tracker)
    return track


def _write(
    writer: VideoWriter,
    video: Path,
    corruption: Corruption,
    track: MouthTrack,
    keep_going: bool,
    progress: ProgressCallback | None,
) -> list[bool]:
    """Write all frames; returns which of them were changed."""
    changed = []
    by_frame = {t: burst for burst in corruption.video for t in range(burst.start, burst.end)}
    with VideoReader(video, keep_going=keep_going, quiet=True) as reader:
        for frame in reader:
            made = _corrupt(frame, by_frame.get(frame.index), track.places[frame.index])
            changed.append(made is not frame)
            writer.write(made)
            if progress is not None:
                progress(len(track.starts_s) + len(changed), 2 * len(track.starts_s))
    return changed


def _corrupt(frame: Frame, burst: Burst | None, place: MouthPlace | None) -> Frame:
    """The frame with its mouth corrupted, or itself where there is no burst or no mouth."""
    if burst is None or place is None:
        return frame
    patch = corrupt_frame(frame, frame.index, burst, place)
    return frame.with_patch(patch) if patch.alpha.any() else frame


def _mark_audible(corruption: Corruption, track: MouthTrack, sound: SoundCorruptor) -> list[bool]:
    """Which frames' sound is corrupted: those in a burst that begin before the sound ends."""
    marked = corruption.truth["audio"].tolist()
    return [here and track.begin_s(frame) * sound.rate_hz < sound.samples for frame, here in enumerate(marked)]


def _count(corruption: Corruption, track: MouthTrack, shown: list[bool], audible: list[bool]) -> Counter[str]:
    drawn = int(corruption.truth["video"].sum())
    counts = Counter(frames=len(shown), video=sum(shown), audio=sum(audible), missed=drawn - sum(shown))
    counts["faceless"] = sum(place is None for place in track.places) if any(track.places) else 0
    if drawn and not counts["video"]:
        log.warning("no mouth was corrupted: all %d frames drawn for it show none; try another --seed", drawn)
    return counts


def _describe(
    corruption: Corruption, track: MouthTrack, shown: list[bool], audible: list[bool], gain_db: float
) -> dict[str, Any]:
    """The truth: bursts as drawn, and frame by frame what was corrupted in fact."""
    frames = zip(track.starts_s, track.places, shown, audible, strict=True)
    looked = any(track.places)
    return {
        "corruption": describe_corruption(corruption),
        "sound_gain_db": round(gain_db, 3),
        "per_frame": [
            {
                "index": index,
                "time_s": round(float(time_s), 6),
                "face": place is not None if looked else None,
                "video": seen,
                "audio": heard,
            }
            for index, (time_s, place, seen, heard) in enumerate(frames)
        ],
    }
