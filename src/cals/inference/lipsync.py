"""`LipSync`: from a face and a speech to a video of the face saying the speech."""

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TypeVar, get_args

from torch import Tensor

import cals
from cals import hub
from cals.errors import ConfigError
from cals.face.detector import BlazeFaceMesh, FaceDetector, FaceModels
from cals.face.tracker import FaceTracker
from cals.inference.frame_tracker import FrameTracker, OcclusionPolicy, TrackedFrame
from cals.inference.heads import HeadMotion, HeadPainter, PoseVideo, PredictedHeads, crop_to_face, has_head_motion
from cals.inference.load import LoadedModel, load_model
from cals.inference.mouth_painter import MouthPainter
from cals.inference.painters import CropPainter, Painter
from cals.inference.person_tracker import build_no_face_error, build_tracker
from cals.inference.precision import Precision, set_precision
from cals.inference.report import GenerateReport, create_file
from cals.inference.stream import LipFrame, generate_frames
from cals.inference.windows import iterate_units
from cals.media import audio as sound
from cals.media.reader import VideoReader
from cals.media.timeline import LengthPolicy, fit_length
from cals.media.writer import VideoWriter
from cals.models.audio2head import Audio2Head
from cals.models.cals import MeshLips
from cals.types import F32, ProgressCallback

T = TypeVar("T")
_log = logging.getLogger(__name__)

MIN_RATE_HZ = 10
"""Frame rate below which a video is too choppy for speech."""
STRENGTH_RANGE = (0.5, 1.5)
"""Allowed scale of the mouth's motion; 1 is as the person moves."""
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


class LipSync:
    """A loaded model, for any number of jobs, one after another or in threads of their own.

    `model` is a registered name or a checkpoint folder; `face_models` a folder with the two face networks for
    machines without a network; `batch` the frames rendered at once; `precision` that of the rendering, where `auto` is
    bf16 where that is faster (CPUs with AMX, GPUs; a mean difference far below one level of 255), else fp32.
    """

    def __init__(
        self,
        model: str | Path | LoadedModel = hub.DEFAULT_MODEL,
        *,
        face_models: str | Path | None = None,
        device: str = "cpu",
        batch: int = 8,
        precision: Precision = "auto",
    ) -> None:
        if batch < 1:
            raise ConfigError(f"batch: expected 1 or more, found {batch}; 8 suits most machines")
        self.model = model if isinstance(model, LoadedModel) else load_model(model)
        try:
            self.model.network.to(device)
        except (RuntimeError, AssertionError) as error:  # torch has both for a device that is not there
            raise ConfigError(
                f"device: expected cpu, cuda or another that this torch has, found {device!r}; choose one that is there"
            ) from error
        set_precision(self.model.network, precision)
        self.batch = batch
        self._face_models = FaceModels(*hub.read_face_models(face_models))

    def frames(
        self,
        face: str | Path,
        audio: str | Path,
        *,
        length: LengthPolicy = "bounce",
        person: str | int = "largest",
        strength: float = 1.0,
        covered: OcclusionPolicy = "keep",
        audio_track: str | int | None = None,
        keep_going: bool = False,
        size: int | None = None,
        pose: str | Path | None = None,
    ) -> Generator[LipFrame, None, None]:
        """Yield the output frames in time order; close the iterator to stop early.

        `strength` (0.5 to 1.5) scales the mouth's motion; models that render whole crops take 1 only.
        `audio_track` is the number (from 1 on) or language of the sound track of `audio` that drives.
        `size` is the longest side in pixels that a photo keeps (None: 4096).
        `covered` is for a mouth behind a hand, a microphone or text: "keep" leaves those frames as they are, "draw"
        draws over them. `pose` is a video whose head pose a photo takes on, for models of PC-AVS and Audio2Head.
        A photo whose head moves becomes a video of its crop alone.
        Raises MediaError for unreadable input, and NoFaceError at the end when no frame showed the person.
        """
        self._check_options(strength, covered)
        with VideoReader(face, keep_going=keep_going, size=size) as reader:
            is_photo = reader.format.is_image
        audio_s = sound.probe(audio, track=audio_track, keep_going=keep_going).duration_s
        wav = self._read_wav(audio, audio_track, keep_going)
        yield from self._iterate_frames(
            Path(face), is_photo, wav, audio_s, length, person, strength, covered, keep_going, size, pose
        )

    def _read_wav(self, audio: str | Path, track: str | int | None, keep_going: bool) -> Iterator[F32]:
        rate_hz = self.model.network.mel.timing.sample_rate_hz
        return sound.mono_blocks(audio, rate_hz, track=track, keep_going=keep_going, quiet=True)

    def _iterate_frames(
        self,
        face: Path,
        is_photo: bool,
        wav: Iterator[F32],
        audio_s: Fraction,
        length: LengthPolicy,
        person: str | int,
        strength: float,
        covered: OcclusionPolicy,
        keep_going: bool,
        size: int | None,
        pose: str | Path | None,
    ) -> Generator[LipFrame, None, None]:
        network = self.model.network
        # One detector per job: its runtime is not thread-safe.
        detector = BlazeFaceMesh(self._face_models)
        tracker = build_tracker(face, person, detector, keep_going=keep_going)
        frame_tracker = FrameTracker(tracker, network.crop_px, covered=covered)
        any_face = False
        # Every stage is closed on any exit, so that no file stays open while an exception is alive.
        with ExitStack() as stages:
            units = iterate_units(network, _close_with(stages, wav))
            motion = self._build_head_motion(stages, is_photo, pose, audio_s, keep_going)
            painter = (
                self._build_painter(face, is_photo, frame_tracker, detector, units, strength, keep_going)
                if motion is None
                else HeadPainter(network, units, motion)
            )
            frames = _close_with(stages, fit_length(face, length, audio_s, keep_going=keep_going, size=size))
            items = _close_with(stages, frame_tracker.track(frames))
            if motion is not None:
                items = crop_to_face(items, network.crop_px)
            for lip_frame in _close_with(stages, generate_frames(items, painter, self.batch)):
                any_face = any_face or lip_frame.face.valid
                if is_photo and not any_face:
                    break
                yield lip_frame
        if not any_face:
            raise build_no_face_error(face, person, tracker)

    def _build_head_motion(
        self, stages: ExitStack, is_photo: bool, pose: str | Path | None, audio_s: Fraction, keep_going: bool
    ) -> HeadMotion | None:
        """Build the source of head poses, None where heads keep the picture's pose."""
        network = self.model.network
        if not has_head_motion(network, self.model.name, is_photo=is_photo, has_pose=pose is not None):
            return None
        if pose is None:
            assert isinstance(network, Audio2Head)
            return PredictedHeads(network)
        tracker = FrameTracker(FaceTracker(BlazeFaceMesh(self._face_models)), network.crop_px)
        frames = _close_with(stages, fit_length(pose, "bounce", audio_s, keep_going=keep_going))
        return PoseVideo(_close_with(stages, tracker.track(frames)), str(pose))

    def _build_painter(
        self,
        face: Path,
        is_photo: bool,
        frame_tracker: FrameTracker,
        detector: FaceDetector,
        units: Iterator[Tensor],
        strength: float,
        keep_going: bool,
    ) -> Painter:
        """Build the painter, after a look-ahead at the video."""
        network = self.model.network
        with ExitStack() as stages:
            ahead: Iterator[TrackedFrame] = iter(())
            if not is_photo:
                reader = stages.enter_context(VideoReader(face, keep_going=keep_going, quiet=True))
                ahead = _close_with(stages, frame_tracker.look_ahead(reader))
            if isinstance(network, MeshLips):
                return MouthPainter(network, units, ahead, strength, detector=detector)
            return CropPainter(network, units, ahead)

    def generate(
        self,
        face: str | Path,
        audio: str | Path,
        out: str | Path,
        *,
        length: LengthPolicy = "bounce",
        person: str | int = "largest",
        strength: float = 1.0,
        covered: OcclusionPolicy = "keep",
        audio_track: str | int | None = None,
        keep_tracks: bool = True,
        keep_going: bool = False,
        size: int | None = None,
        pose: str | Path | None = None,
        codec: str = "auto",
        crf: int | None = None,
        preset: str | None = None,
        force: bool = False,
        provenance: bool = True,
        report: str | Path | None = None,
        progress: ProgressCallback | None = None,
    ) -> GenerateReport:
        """Write the speaking face to `out`, completely or not at all, and return a report.

        `report` is a JSON file for the report with the status of every frame. `keep_tracks` copies further sound
        tracks, subtitles and chapters of `face` into `out`, where its container can hold them.
        """
        start_s = time.monotonic()
        self._check_options(strength, covered)
        face, audio, out = Path(face), Path(audio), Path(out)
        result = GenerateReport(model=f"{self.model.name} ({self.model.fingerprint})", face=face, audio=audio, out=out)
        with VideoReader(face, keep_going=keep_going, size=size) as reader:
            video_format, frame_estimate = reader.format, reader.frame_count_estimate
        if has_head_motion(
            self.model.network, self.model.name, is_photo=video_format.is_image, has_pose=pose is not None
        ):
            video_format = replace(video_format, width=self.model.network.crop_px, height=self.model.network.crop_px)
        if video_format.rate < MIN_RATE_HZ:
            _log.warning("%s: %.3g frames/s; lips need %d or more to be read", face, video_format.rate, MIN_RATE_HZ)
        with ExitStack() as files:
            if report is not None:
                report_path = files.enter_context(create_file(Path(report), force=force, reserved=(face, audio, out)))
                result.per_frame = []
            writer = VideoWriter(
                out,
                video_format,
                audio=audio,
                audio_track=audio_track,
                tracks_of=face if keep_tracks and not video_format.is_image else None,
                codec=codec,
                crf=crf,
                preset=preset,
                force=force,
                inputs=(face, audio, *([] if pose is None else [pose])),
                keep_going=keep_going,
                metadata=self._build_metadata() if provenance else None,
            )
            with writer:
                audio_s = sound.probe(audio, track=audio_track, keep_going=keep_going).duration_s
                wav = self._read_wav(audio, audio_track, keep_going)
                total = frame_estimate if length == "video" else ceil(audio_s * video_format.rate)
                stream = self._iterate_frames(
                    face, video_format.is_image, wav, audio_s, length, person, strength, covered, keep_going, size, pose
                )
                with closing(stream) as frames:
                    for lip_frame in frames:
                        writer.write(lip_frame.frame)
                        result.count(lip_frame)
                        if progress is not None:
                            progress(result.frames, total)
            result.wall_s = time.monotonic() - start_s
            if not result.generated:
                _log.warning("%s: no mouth was drawn, every frame is as it was: %s", out, result.reasons)
            if report is not None:
                result.write(report_path)
        return result

    def _check_options(self, strength: float, covered: OcclusionPolicy) -> None:
        if covered not in get_args(OcclusionPolicy):
            raise ConfigError(
                f"covered: expected keep or draw, found {covered!r}; keep leaves covered mouths as they are"
            )
        low, high = STRENGTH_RANGE
        if not low <= strength <= high:
            raise ConfigError(f"strength: expected {low} to {high}, found {strength:g}; 1 moves as the person does")
        if strength != 1 and not isinstance(self.model.network, MeshLips):
            raise ConfigError(
                f"strength: expected 1 for {self.model.name}, which draws mouths whole, found {strength:g}; choose a "
                "model that says motion"
            )

    def _build_metadata(self) -> dict[str, str]:
        return {
            "comment": f"The mouth in this video was generated by cals {cals.__version__} "
            f"(model {self.model.name} {self.model.fingerprint}). DigitalSourceType: {DIGITAL_SOURCE_TYPE}"
        }


def _close_with(stages: ExitStack, stage: Iterator[T]) -> Iterator[T]:
    """Return `stage`, which `stages` closes on exit; later ones first."""
    close = getattr(stage, "close", None)
    if close is not None:
        stages.callback(close)
    return stage
