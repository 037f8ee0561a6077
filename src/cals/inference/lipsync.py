"""`LipSync`: a face and a speech in, the face saying the speech out."""

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
from cals.inference.following import follow, no_face
from cals.inference.heads import HeadMotion, HeadPainter, PoseVideo, PredictedHeads, as_crops, moves_heads
from cals.inference.load import LoadedModel, load_model
from cals.inference.mouth_painter import MouthPainter
from cals.inference.painters import CropPainter, Painter
from cals.inference.precision import Precision, draw_in
from cals.inference.report import GenerateReport, new_file
from cals.inference.stream import LipFrame, generate_frames
from cals.inference.tracked import Covered, FrameTracker, TrackedFrame
from cals.inference.windows import unit_blocks
from cals.media import audio as sound
from cals.media.reader import VideoReader
from cals.media.timeline import LengthPolicy, lengthened
from cals.media.writer import VideoWriter
from cals.models.audio2head import Audio2Head
from cals.models.speaking import MeshLips
from cals.types import F32, ProgressCallback

T = TypeVar("T")
_log = logging.getLogger(__name__)

LOW_RATE = 10
"""Frames a second under which a video is too choppy for speech."""
STRENGTH = (0.5, 1.5)
"""How much less or more than the person would a mouth may be told to move."""
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


class LipSync:
    """A loaded model, for any number of jobs, one after another or in threads of their own.

    `model` is a registered name or a checkpoint folder; `face_models` a folder with the two face networks for
    machines without a network; `batch` the frames drawn at once; `precision` what they are drawn in, where `auto` is
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
        draw_in(self.model.network, precision)
        self.batch = batch
        self._face_models = FaceModels(*hub.face_model_bytes(face_models))

    def frames(
        self,
        face: str | Path,
        audio: str | Path,
        *,
        length: LengthPolicy = "bounce",
        person: str | int = "largest",
        strength: float = 1.0,
        covered: Covered = "keep",
        audio_track: str | int | None = None,
        keep_going: bool = False,
        size: int | None = None,
        pose: str | Path | None = None,
    ) -> Generator[LipFrame, None, None]:
        """The finished frames one by one, in time order; close the iterator to stop early.

        `strength` (0.5 to 1.5) makes mouths move less or more than this person would; models that draw crops whole
        take 1 only. `audio_track` is the number (from 1 on) or language of the sound track of `audio` that drives.
        `size` is the longest side in pixels that a photo keeps (None: 4096).
        `covered` says what becomes of a mouth with a hand, a microphone or text before it: "keep" leaves those frames
        as they are, "draw" draws over them. `pose` is a video whose head a photo's is held like, for models of PC-AVS
        and Audio2Head. A photo whose head moves becomes a video of its crop alone.
        Raises MediaError for unreadable input, and NoFaceError at the end when no frame showed the person.
        """
        self._check(strength, covered)
        with VideoReader(face, keep_going=keep_going, size=size) as reader:
            still = reader.format.is_image
        audio_s = sound.probe(audio, track=audio_track, keep_going=keep_going).duration_s
        wav = self._wav(audio, audio_track, keep_going)
        yield from self._stream(
            Path(face), still, wav, audio_s, length, person, strength, covered, keep_going, size, pose
        )

    def _wav(self, audio: str | Path, track: str | int | None, keep_going: bool) -> Iterator[F32]:
        rate_hz = self.model.network.mel.timing.sample_rate_hz
        return sound.mono_blocks(audio, rate_hz, track=track, keep_going=keep_going, quiet=True)

    def _stream(
        self,
        face: Path,
        still: bool,
        wav: Iterator[F32],
        audio_s: Fraction,
        length: LengthPolicy,
        person: str | int,
        strength: float,
        covered: Covered,
        keep_going: bool,
        size: int | None,
        pose: str | Path | None,
    ) -> Generator[LipFrame, None, None]:
        network = self.model.network
        # A detector for every job: its runtime is not made for two threads at once.
        detector = BlazeFaceMesh(self._face_models)
        tracker = follow(face, person, detector, keep_going=keep_going)
        follower = FrameTracker(tracker, network.crop_px, covered=covered)
        any_face = False
        # Every stage is closed whatever happens, so that no file stays open while an exception is held on to.
        with ExitStack() as stages:
            units = unit_blocks(network, _closed_by(stages, wav))
            motion = self._head_motion(stages, still, pose, audio_s, keep_going)
            painter = (
                self._painter(face, still, follower, detector, units, strength, keep_going)
                if motion is None
                else HeadPainter(network, units, motion)
            )
            frames = _closed_by(stages, lengthened(face, length, audio_s, keep_going=keep_going, size=size))
            seen = _closed_by(stages, follower.track(frames))
            if motion is not None:
                seen = as_crops(seen, network.crop_px)
            for done in _closed_by(stages, generate_frames(seen, painter, self.batch)):
                any_face = any_face or done.face.valid
                if still and not any_face:
                    break
                yield done
        if not any_face:
            raise no_face(face, person, tracker)

    def _head_motion(
        self, stages: ExitStack, still: bool, pose: str | Path | None, audio_s: Fraction, keep_going: bool
    ) -> HeadMotion | None:
        """Where heads are held, if otherwise than in the picture."""
        network = self.model.network
        if not moves_heads(network, self.model.name, still=still, posed=pose is not None):
            return None
        if pose is None:
            assert isinstance(network, Audio2Head)
            return PredictedHeads(network)
        tracker = FrameTracker(FaceTracker(BlazeFaceMesh(self._face_models)), network.crop_px)
        frames = _closed_by(stages, lengthened(pose, "bounce", audio_s, keep_going=keep_going))
        return PoseVideo(_closed_by(stages, tracker.track(frames)), str(pose))

    def _painter(
        self,
        face: Path,
        still: bool,
        follower: FrameTracker,
        detector: FaceDetector,
        units: Iterator[Tensor],
        strength: float,
        keep_going: bool,
    ) -> Painter:
        """What draws, after a look ahead at the video."""
        network = self.model.network
        with ExitStack() as stages:
            ahead: Iterator[TrackedFrame] = iter(())
            if not still:
                reader = stages.enter_context(VideoReader(face, keep_going=keep_going, quiet=True))
                ahead = _closed_by(stages, follower.look_ahead(reader))
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
        covered: Covered = "keep",
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
        """Write the speaking face to `out`, whole or not at all, and say what was done.

        `report` names a JSON file for it, which then also tells what happened to every frame. `keep_tracks`: further
        sound tracks, subtitles and chapters of `face` go into `out`, where its container can hold them.
        """
        started = time.monotonic()
        self._check(strength, covered)
        face, audio, out = Path(face), Path(audio), Path(out)
        facts = GenerateReport(model=f"{self.model.name} ({self.model.fingerprint})", face=face, audio=audio, out=out)
        with VideoReader(face, keep_going=keep_going, size=size) as reader:
            like, in_video = reader.format, reader.frame_count_estimate
        if moves_heads(self.model.network, self.model.name, still=like.is_image, posed=pose is not None):
            like = replace(like, width=self.model.network.crop_px, height=self.model.network.crop_px)
        if like.rate < LOW_RATE:
            _log.warning("%s: %.3g frames/s; lips need %d or more to be read", face, like.rate, LOW_RATE)
        with ExitStack() as files:
            if report is not None:
                place = files.enter_context(new_file(Path(report), force=force, apart_from=(face, audio, out)))
                facts.per_frame = []
            writer = VideoWriter(
                out,
                like,
                audio=audio,
                audio_track=audio_track,
                tracks_of=face if keep_tracks and not like.is_image else None,
                codec=codec,
                crf=crf,
                preset=preset,
                force=force,
                inputs=(face, audio, *([] if pose is None else [pose])),
                keep_going=keep_going,
                metadata=self._provenance() if provenance else None,
            )
            with writer:
                audio_s = sound.probe(audio, track=audio_track, keep_going=keep_going).duration_s
                wav = self._wav(audio, audio_track, keep_going)
                total = in_video if length == "video" else ceil(audio_s * like.rate)
                stream = self._stream(
                    face, like.is_image, wav, audio_s, length, person, strength, covered, keep_going, size, pose
                )
                with closing(stream) as frames:
                    for done in frames:
                        writer.write(done.frame)
                        facts.count(done)
                        if progress is not None:
                            progress(facts.frames, total)
            facts.wall_s = time.monotonic() - started
            if not facts.generated:
                _log.warning("%s: no mouth was drawn, every frame is as it was: %s", out, facts.reasons)
            if report is not None:
                facts.write(place)
        return facts

    def _check(self, strength: float, covered: Covered) -> None:
        if covered not in get_args(Covered):
            raise ConfigError(
                f"covered: expected keep or draw, found {covered!r}; keep leaves covered mouths as they are"
            )
        low, high = STRENGTH
        if not low <= strength <= high:
            raise ConfigError(f"strength: expected {low} to {high}, found {strength:g}; 1 moves as the person does")
        if strength != 1 and not isinstance(self.model.network, MeshLips):
            raise ConfigError(
                f"strength: expected 1 for {self.model.name}, which draws mouths whole, found {strength:g}; choose a "
                "model that says motion"
            )

    def _provenance(self) -> dict[str, str]:
        return {
            "comment": f"The mouth in this video was generated by cals {cals.__version__} "
            f"(model {self.model.name} {self.model.fingerprint}). DigitalSourceType: {DIGITAL_SOURCE_TYPE}"
        }


def _closed_by(stages: ExitStack, stage: Iterator[T]) -> Iterator[T]:
    """`stage`, which `stages` closes when it is left; later ones first."""
    close = getattr(stage, "close", None)
    if close is not None:
        stages.callback(close)
    return stage
