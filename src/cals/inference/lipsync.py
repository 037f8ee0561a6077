"""`LipSync`: from a face and a speech to a video of the face saying the speech."""

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

import cals
from cals import hub
from cals.errors import ConfigError, MediaError
from cals.face.detector import BlazeFaceMesh, FaceDetector, FaceModels
from cals.face.tracker import FaceTracker
from cals.inference.frame_tracker import FrameTracker, TrackedFrame
from cals.inference.heads import HeadMotion, HeadPainter, PoseVideo, PredictedHeads, crop_to_face, has_head_motion
from cals.inference.load import LoadedModel, load_model
from cals.inference.mouth_painter import MouthPainter
from cals.inference.painters import CropPainter, Painter
from cals.inference.person_tracker import build_no_face_error, build_tracker
from cals.inference.photo_motion import animate_photo
from cals.inference.precision import Precision, set_precision
from cals.inference.report import GenerateReport, create_file
from cals.inference.speech_activity import load_speech_detector
from cals.inference.speech_track import SpeechTrack
from cals.inference.stream import LipFrame, generate_frames
from cals.inference.windows import iterate_units
from cals.media import audio as sound
from cals.media.source import ArraySource, FrameSource, VideoSource
from cals.media.timeline import fit_length
from cals.media.writer import VideoWriter
from cals.models.audio2head import Audio2Head
from cals.models.cals import MeshLips
from cals.options import EncodeOptions, GenerateOptions, override
from cals.types import F32, U8, ProgressCallback

T = TypeVar("T")
_log = logging.getLogger(__name__)

MIN_RATE_HZ = 10
"""Frame rate below which a video is too choppy for speech."""
_WITHOUT_SPEECH = {"rest": "the mouth rests", "keep": "the mouth stays as it is", "drive": "that moves the mouth"}
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
        self._speech_detector = load_speech_detector()

    def frames(
        self, face: str | Path, audio: str | Path, options: GenerateOptions | None = None, **changes: Any
    ) -> Generator[LipFrame, None, None]:
        """Yield the output frames in time order; close the iterator to stop early.

        `changes` are fields of `GenerateOptions`, in place of those of `options`. A photo whose head moves becomes a
        video of its crop alone. Raises MediaError for unreadable input, and NoFaceError at the end when no frame showed
        the person.
        """
        options = replace(options or GenerateOptions(), **changes)
        self._check_strength(options.strength)
        source = VideoSource(face, keep_going=options.keep_going, size=options.size)
        audio_s = sound.probe(audio, track=options.audio_track, keep_going=options.keep_going).duration_s
        yield from self._iterate_frames(source, self._read_wav(audio, options), audio_s, options)

    def on_frames(
        self,
        frames: Sequence[U8] | U8,
        times_s: Sequence[float | Fraction],
        samples: F32,
        rate_hz: int,
        options: GenerateOptions | None = None,
        **changes: Any,
    ) -> Iterator[U8]:
        """Yield a picture [h w 3] for each of `frames` [t h w 3], RGB uint8, without any file.

        `times_s` are seconds on the clock of the speech: mono `samples` [n] or [channels n] in -1..1 at `rate_hz`.
        Pixels outside the mouth's region are those given. `changes` are fields of `GenerateOptions`, of which `length`
        and those of files have no effect. Raises MediaError for arrays of other shapes, NoFaceError as `frames` does.
        """
        options = replace(options or GenerateOptions(), **changes)
        self._check_strength(options.strength)
        source, mono = ArraySource(frames, times_s), np.atleast_2d(samples).mean(axis=0, dtype=np.float32)
        if not mono.size or rate_hz < 1:
            raise MediaError(f"samples: expected sound [n] at a rate in Hz, found {mono.size} samples at {rate_hz} Hz")
        start = round(source.start_s * rate_hz)
        mono = mono[start:] if start >= 0 else np.concatenate([np.zeros(-start, np.float32), mono])
        wav = self._find_speech(sound.resample([mono], rate_hz, self.model.network.mel.timing.sample_rate_hz), options)
        with closing(self._iterate_frames(source, wav, Fraction(len(mono), rate_hz), options)) as lip_frames:
            for lip_frame in lip_frames:
                yield source.restore(lip_frame.frame)

    def _read_wav(self, audio: str | Path, options: GenerateOptions) -> SpeechTrack:
        rate_hz, track = self.model.network.mel.timing.sample_rate_hz, options.audio_track
        blocks = sound.mono_blocks(audio, rate_hz, track=track, keep_going=options.keep_going, quiet=True)
        return self._find_speech(blocks, options)

    def _find_speech(self, blocks: Iterator[F32], options: GenerateOptions) -> SpeechTrack:
        rate_hz = self.model.network.mel.timing.sample_rate_hz
        return SpeechTrack(self._speech_detector, blocks, rate_hz, gate=options.silence != "drive")

    def _iterate_frames(
        self, source: FrameSource, wav: SpeechTrack, audio_s: Fraction, options: GenerateOptions
    ) -> Generator[LipFrame, None, None]:
        network = self.model.network
        # One detector per job: its runtime is not thread-safe.
        detector = BlazeFaceMesh(self._face_models)
        tracker = build_tracker(source.path, options.person, detector, source.open)
        frame_tracker = FrameTracker(tracker, network.crop_px, covered=options.covered)
        any_face = False
        # Every stage is closed on any exit, so that no file stays open while an exception is alive.
        with ExitStack() as stages:
            units = iterate_units(network, _close_with(stages, wav))
            motion = self._build_head_motion(stages, source, audio_s, options)
            painter = (
                self._build_painter(source, frame_tracker, detector, units, options.strength)
                if motion is None
                else HeadPainter(network, units, motion)
            )
            frames = _close_with(stages, source.fit_length(options.length, audio_s))
            items = _close_with(stages, frame_tracker.track(frames))
            if motion is not None:
                items = crop_to_face(items, network.crop_px)
            weight = wav.weigh if options.silence == "keep" else None
            lip_frames = _close_with(stages, generate_frames(items, painter, self.batch, weight))
            for lip_frame in _close_with(stages, animate_photo(lip_frames)) if options.alive else lip_frames:
                any_face = any_face or lip_frame.face.valid
                if source.is_photo and not any_face:
                    break
                yield lip_frame
        if not any_face:
            raise build_no_face_error(source.path, options.person, tracker)

    def _has_head_motion(self, source: FrameSource, options: GenerateOptions) -> bool:
        has_motion = has_head_motion(
            self.model.network, self.model.name, is_photo=source.is_photo, has_pose=options.pose is not None
        )
        if has_motion and options.silence == "keep":
            raise ConfigError(
                f"silence: expected rest or drive for {self.model.name}, which draws the whole head, found keep"
            )
        if options.alive and (has_motion or not source.is_photo):
            found = f"{self.model.name}, which moves the head itself" if has_motion else f"a video, {source.path}"
            raise ConfigError(f"alive: expected a photo and a model that leaves its head still, found {found}")
        return has_motion

    def _build_head_motion(
        self, stages: ExitStack, source: FrameSource, audio_s: Fraction, options: GenerateOptions
    ) -> HeadMotion | None:
        """Build the source of head poses, None where heads keep the picture's pose."""
        network = self.model.network
        if not self._has_head_motion(source, options):
            return None
        if options.pose is None:
            assert isinstance(network, Audio2Head)
            return PredictedHeads(network)
        tracker = FrameTracker(FaceTracker(BlazeFaceMesh(self._face_models)), network.crop_px)
        frames = _close_with(stages, fit_length(options.pose, "bounce", audio_s, keep_going=options.keep_going))
        return PoseVideo(_close_with(stages, tracker.track(frames)), str(options.pose))

    def _build_painter(
        self,
        source: FrameSource,
        frame_tracker: FrameTracker,
        detector: FaceDetector,
        units: Iterator[Tensor],
        strength: float,
    ) -> Painter:
        """Build the painter, after a look-ahead at the video."""
        network = self.model.network
        with ExitStack() as stages:
            ahead: Iterator[TrackedFrame] = iter(())
            if not source.is_photo:
                reader = stages.enter_context(source.open(quiet=True))
                ahead = _close_with(stages, frame_tracker.look_ahead(reader))
            if isinstance(network, MeshLips):
                return MouthPainter(network, units, ahead, strength, detector=detector)
            return CropPainter(network, units, ahead)

    def generate(
        self,
        face: str | Path,
        audio: str | Path,
        out: str | Path,
        options: GenerateOptions | None = None,
        *,
        encode: EncodeOptions | None = None,
        force: bool = False,
        provenance: bool = True,
        report: str | Path | None = None,
        progress: ProgressCallback | None = None,
        **changes: Any,
    ) -> GenerateReport:
        """Write the speaking face to `out`, completely or not at all, and return a report.

        `changes` are fields of `GenerateOptions` and `EncodeOptions`, in place of those of `options` and `encode`.
        `report` is a JSON file for the report with the status of every frame; `provenance` notes in the file that the
        mouth is generated; `force` overwrites existing files.
        """
        start_s = time.monotonic()
        encode = override(encode or EncodeOptions(), changes)
        options = replace(options or GenerateOptions(), **changes)
        self._check_strength(options.strength)
        face, audio, out = Path(face), Path(audio), Path(out)
        result = GenerateReport(model=f"{self.model.name} ({self.model.fingerprint})", face=face, audio=audio, out=out)
        source = VideoSource(face, keep_going=options.keep_going, size=options.size)
        rate = source.format.rate
        if rate < MIN_RATE_HZ:
            _log.warning("%s: %.3g frames/s; lips need %d or more to be read", face, rate, MIN_RATE_HZ)
        with ExitStack() as files:
            if report is not None:
                report_path = files.enter_context(create_file(Path(report), force=force, reserved=(face, audio, out)))
                result.per_frame = []
            with self._open_writer(source, audio, out, options, encode, force=force, provenance=provenance) as writer:
                audio_s = sound.probe(audio, track=options.audio_track, keep_going=options.keep_going).duration_s
                total = source.frame_count_estimate if options.length == "video" else ceil(audio_s * rate)
                wav = self._read_wav(audio, options)
                with closing(self._iterate_frames(source, wav, audio_s, options)) as frames:
                    for lip_frame in frames:
                        writer.write(lip_frame.frame)
                        result.count(lip_frame)
                        if progress is not None:
                            progress(result.frames, total)
                    result.speech_s = float(wav.measure_speech(Fraction(result.seconds)))
            result.wall_s = time.monotonic() - start_s
            if not result.generated:
                _log.warning("%s: no mouth was drawn, every frame is as it was: %s", out, result.reasons)
            if not result.has_speech:
                _log.warning("no speech was found in %s (music or noise?): %s", audio, _WITHOUT_SPEECH[options.silence])
            if report is not None:
                result.write(report_path)
        return result

    def _open_writer(
        self,
        source: VideoSource,
        audio: Path,
        out: Path,
        options: GenerateOptions,
        encode: EncodeOptions,
        *,
        force: bool,
        provenance: bool,
    ) -> VideoWriter:
        video_format, crop_px = source.format, self.model.network.crop_px
        if self._has_head_motion(source, options):
            video_format = replace(video_format, width=crop_px, height=crop_px)
        return VideoWriter(
            out,
            video_format,
            audio=audio,
            audio_track=options.audio_track,
            tracks_of=source.path if options.keep_tracks and not source.is_photo else None,
            encode=encode,
            force=force,
            inputs=(source.path, audio, *([] if options.pose is None else [options.pose])),
            keep_going=options.keep_going,
            metadata=self._build_metadata() if provenance else None,
        )

    def _check_strength(self, strength: float) -> None:
        if strength != 1 and not isinstance(self.model.network, MeshLips):
            raise ConfigError(
                f"strength: expected 1 for {self.model.name}, which draws mouths whole, found {strength:g}; choose a "
                "model that predicts motion"
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
