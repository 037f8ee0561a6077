"""`SyncScorer`: the audio-visual offset of any video, and its confidence."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cals import hub
from cals.errors import ConfigError, MediaError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.inference.device import convert_device_errors
from cals.inference.frame_tracker import TrackedFrame, track_and_align
from cals.inference.person_tracker import build_no_face_error, build_tracker
from cals.inference.sync_distances import SyncDistances, measure_shifts
from cals.inference.sync_encoders import OriginalSyncNet, SyncEncoders, load_encoders
from cals.media.audio import mono_blocks
from cals.media.reader import VideoReader
from cals.metrics.lse import LSE, lse_from_distances
from cals.metrics.offset import MAX_IN_STEP_OFFSET, MAX_OFFSET
from cals.models.interop.syncnet import load_syncnet
from cals.types import ProgressCallback

MIN_WINDOWS = 10
"""Fewer windows than this are not enough to score a clip."""
STRETCH_S, STRETCH_STEP_S = 4, 1
"""Length of the stretches that have an offset of their own, and the step between them."""


@dataclass(frozen=True, kw_only=True)
class OffsetSegment:
    """Offset and LSE-C of one stretch of the video."""

    middle_s: float
    offset_frames: int
    lse_c: float


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """Result of `SyncScorer`; frames are those of the encoders' own rate, 40 ms whatever the video's."""

    encoders: str
    """Name of the encoders; distances of other encoders are not comparable."""
    fps: int
    total: LSE
    in_step: float
    """Share of the scored windows whose own offset is within one frame."""
    frames: int
    judged: int
    no_face: int
    """Frames dropped because a frame of their window lacks the face, or lies beyond the ends or a cut."""
    no_sound: int
    """Frames dropped because the sound does not reach 15 frames to either side."""
    stretches: tuple[OffsetSegment, ...]
    """The offset over time; empty where the video is too short for two of them."""

    @property
    def offset_frames(self) -> int:
        """> 0: audio lags video."""
        return self.total.offset_frames

    @property
    def offset_ms(self) -> float:
        return 1000 * self.offset_frames / self.fps

    @property
    def lse_d(self) -> float:
        return self.total.lse_d

    @property
    def lse_c(self) -> float:
        return self.total.lse_c

    def document(self) -> dict[str, Any]:
        """Return the result as a JSON document."""
        values: dict[str, Any] = asdict(self)
        total: dict[str, Any] = values.pop("total")
        return {"format": 1, "offset_ms": self.offset_ms} | total | values

    def text(self) -> str:
        """Return the result as lines of text."""
        verdict = {1: "the sound comes late", 0: "in step", -1: "the sound comes early"}[
            int(np.sign(self.offset_frames))
        ]
        if abs(self.offset_frames) == MAX_OFFSET:
            verdict += "; the largest offset looked for, so the true one may be larger or none may fit"
        return "\n".join(
            (
                f"offset   {self.offset_frames} frames ({self.offset_ms:.0f} ms): {verdict}",
                f"LSE-D    {self.lse_d:.3f}",
                f"LSE-C    {self.lse_c:.3f}",
                f"in step  {100 * self.in_step:.0f} % of {self.judged} windows",
                f"frames   {self.judged} of {self.frames} judged; dropped: {self.no_face} without a whole window of "
                f"the face, {self.no_sound} too near the ends of the sound",
                f"by       {self.encoders}",
            )
        )


class SyncScorer:
    """Loaded sync encoders, for any number of videos.

    `sync` is a checkpoint folder of `cals train sync` (default: the encoders that ship), `syncnet` the public file
    `syncnet_v2.model` instead; `face_models` a folder with the two face networks for machines without a network.
    """

    def __init__(
        self,
        *,
        sync: str | Path | None = None,
        syncnet: str | Path | None = None,
        face_models: str | Path | None = None,
        device: str = "cpu",
    ) -> None:
        if sync is not None and syncnet is not None:
            raise ConfigError("score: expected one kind of encoders, found both sync and syncnet; give one of them")
        with convert_device_errors(device):
            self.encoders: SyncEncoders
            if syncnet is None:
                self.encoders = load_encoders(None if sync is None else Path(sync), device)
            else:
                self.encoders = OriginalSyncNet(load_syncnet(Path(syncnet)), device)
        self._face_models = FaceModels(*hub.read_face_models(face_models))

    def score(
        self,
        video: str | Path,
        audio: str | Path | None = None,
        *,
        person: str | int = "largest",
        keep_going: bool = False,
        progress: ProgressCallback | None = None,
    ) -> SyncResult:
        """Score one person's lips against the video's own sound, or that of another file; streamed.

        Raises MediaError for a file that is unreadable, has no sound or is too short, NoFaceError without a face.
        """
        video = Path(video)
        sound = video if audio is None else Path(audio)
        shifts = self._measure(video, sound, person, keep_going, progress)
        if len(shifts.frame_indices) < MIN_WINDOWS:
            raise MediaError(
                f"{video}: expected {MIN_WINDOWS} or more frames of {1000 // self.encoders.fps} ms that have a "
                "face and "
                f"{MAX_OFFSET} frames of sound on either side, found {len(shifts.frame_indices)} of {shifts.frames} "
                f"({shifts.no_face} without a face, {shifts.no_sound} without the sound); give a longer video"
            )
        distances = np.array(shifts.distances)
        offsets = distances.argmin(axis=1) - MAX_OFFSET
        return SyncResult(
            encoders=self.encoders.name,
            fps=self.encoders.fps,
            total=lse_from_distances(distances),
            in_step=float((np.abs(offsets) <= MAX_IN_STEP_OFFSET).mean()),
            frames=shifts.frames,
            judged=len(shifts.frame_indices),
            no_face=shifts.no_face,
            no_sound=shifts.no_sound,
            stretches=tuple(compute_offset_segments(shifts, self.encoders.fps)),
        )

    def _measure(
        self, video: Path, sound: Path, person: str | int, keep_going: bool, progress: ProgressCallback | None
    ) -> SyncDistances:
        with VideoReader(video, keep_going=keep_going) as reader:
            if reader.format.is_image:
                raise MediaError(f"{video}: expected a video, found a picture, which has nothing to be in step with")
            wav = mono_blocks(sound, self.encoders.sample_rate_hz, keep_going=keep_going)
            with closing(wav):  # type: ignore[type-var]  # a generator
                open_frames = partial(VideoReader, video, keep_going=keep_going)
                tracker = build_tracker(video, person, BlazeFaceMesh(self._face_models), open_frames)
                any_face = False

                def items() -> Iterator[TrackedFrame]:
                    nonlocal any_face
                    for item in track_and_align(reader, tracker, self.encoders.crop_px):
                        any_face = any_face or item.view is not None
                        yield item

                total = None if reader.duration_s is None else int(reader.duration_s * self.encoders.fps)
                for shifts in measure_shifts(items(), wav, self.encoders):
                    if progress is not None:
                        progress(shifts.frames, total)
        if not any_face:
            raise build_no_face_error(video, person, tracker)
        return shifts


def compute_offset_segments(shifts: SyncDistances, fps: int) -> Iterator[OffsetSegment]:
    """Yield the stretches with distances for half of their frames or more; none where there would be only one."""
    frame_numbers, distances = np.array(shifts.frame_indices), np.array(shifts.distances)
    starts = range(0, max(shifts.frames - STRETCH_S * fps + 1, 0), STRETCH_STEP_S * fps)
    for start in starts if len(starts) > 1 else ():
        window_distances = distances[(frame_numbers >= start) & (frame_numbers < start + STRETCH_S * fps)]
        if len(window_distances) >= STRETCH_S * fps / 2:
            window_lse = lse_from_distances(window_distances)
            middle_s = start / fps + STRETCH_S / 2
            yield OffsetSegment(middle_s=middle_s, offset_frames=window_lse.offset_frames, lse_c=window_lse.lse_c)
