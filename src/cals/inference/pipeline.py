"""From frames and the speech of each person to finished frames, in one pass."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from operator import itemgetter

from cals.arrays import Array
from cals.errors import ConfigError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.face.tracker import FaceTracker
from cals.inference.cast import Cast, Heartbeat, Items, do_nothing
from cals.inference.face_cache import FaceCache, FaceRecorder, FaceReplay, describe_video
from cals.inference.frame_tracker import FrameTracker, TrackedFrame
from cals.inference.head_policy import has_head_motion
from cals.inference.iteration import close_with, prefetch_frames, tee
from cals.inference.live import ENDLESS_S, LiveUnits, pace_frames
from cals.inference.mouth_painter import MouthPainter
from cals.inference.painters import Painter
from cals.inference.photo_motion import animate_photo
from cals.inference.runtime import NamedModel
from cals.inference.schedule import Schedule
from cals.inference.speech_track import SpeechTrack
from cals.inference.stream import NO_SEGMENT, SILENCE, LipFrame, Role, Weight, generate_frames
from cals.inference.windows import UnitSource, iterate_units
from cals.media.reader import VideoFormat
from cals.media.source import FrameSource, VideoSource
from cals.media.timeline import fit_length
from cals.models.network import MotionNetwork
from cals.options import GenerateOptions


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A person of a job, and what they say."""

    person: str | int
    """Whom to follow, see `parse_person`."""
    wav: SpeechTrack
    """Mono blocks [n] at the model's rate, from the first frame on; silence follows."""
    schedule: Schedule | None = None
    """When their mouth is generated and how strongly it moves; None: always, as the options say."""


class Pipeline:
    """The stages of one model."""

    def __init__(self, model: NamedModel, face_models: FaceModels, batch: int, cache: FaceCache | None = None) -> None:
        self._model, self._face_models, self._batch, self._cache = model, face_models, batch, cache

    def iterate_frames(
        self,
        source: FrameSource,
        parts: Sequence[Part],
        audio_s: Fraction,
        options: GenerateOptions,
        heartbeat: Heartbeat = do_nothing,
    ) -> Generator[LipFrame, None, None]:
        """Yield the output frames for `audio_s` seconds of sound; `heartbeat` is called before there is one.

        Raises NoFaceError at the end if a person was in no frame.
        """
        network, detector = self._model.network, self.build_detector()
        # Every stage is closed on any exit, so that no file stays open while an exception is alive.
        with ExitStack() as stages:
            people = [part.person for part in parts]
            is_exclusive = len(parts) > 1 or parts[0].schedule is not None
            recording = self._open_recording(stages, source, parts, detector, audio_s, options)
            cast = Cast(
                source,
                people,
                detector,
                network.crop_px,
                options.covered,
                recording,
                is_exclusive=is_exclusive,
                heartbeat=heartbeat,
            )
            units = [iterate_units(network, close_with(stages, part.wav)) for part in parts]
            if self.has_head_motion(source, options):
                painters = [self._build_head_painter(stages, source, units, audio_s, options)]
            else:
                strengths = [part.schedule or options.strength for part in parts]
                painters = self._build_painters(cast, units, strengths, recording)
            frames = close_with(stages, source.fit_length(options.length, audio_s))
            weights = [_build_weights(part, options) for part in parts]
            tracked = close_with(stages, prefetch_frames(cast.track(frames), lambda items: items[0].frame))
            lip_frames = self._render(source, cast, tracked, painters, weights, self._batch)
            end_s = Fraction(0)
            for lip_frame in animate_photo(lip_frames) if options.alive else lip_frames:
                end_s = lip_frame.frame.time_s + lip_frame.frame.duration_s
                yield lip_frame
            for part in parts:
                part.wav.measure_speech(end_s)  # before the sound is closed
            if recording is not None:
                recording.commit()

    def stream(
        self, source: FrameSource, units: LiveUnits, options: GenerateOptions
    ) -> Generator[LipFrame, None, None]:
        """Look ahead in the video, and return the frames, each as soon as its look-ahead of sound has come in.

        They end with the sound. Every stage, the chunks of sound included, is closed on any exit.
        """
        detector = self.build_detector()
        crop_px = self._model.network.crop_px
        cast = Cast(source, [options.person], detector, crop_px, options.covered, is_exclusive=False)
        painters = self._build_painters(cast, [units], [options.strength])
        return self._iterate_live_frames(source, cast, painters, units, options)

    def _iterate_live_frames(
        self, source: FrameSource, cast: Cast, painters: list[Painter], units: LiveUnits, options: GenerateOptions
    ) -> Generator[LipFrame, None, None]:
        batch = min(self._batch, units.count_batch_frames(source.rate))
        with ExitStack() as stages:
            close_with(stages, units.sound.chunks)
            frames = close_with(stages, source.fit_length(options.length, ENDLESS_S))
            paced = close_with(stages, pace_frames(frames, units))
            lip_frames = self._render(source, cast, cast.track(paced), painters, [{}], batch)
            yield from animate_photo(lip_frames) if options.alive else lip_frames

    def _render(
        self,
        source: FrameSource,
        cast: Cast,
        tracked: Iterator[Items],
        painters: Sequence[Painter],
        weights: Sequence[Mapping[str, Weight]],
        batch: int,
    ) -> Iterator[LipFrame]:
        roles = [
            Role(self._select_items(items, number, painter), painter, weight)
            for number, (items, painter, weight) in enumerate(
                zip(tee(tracked, len(painters)), painters, weights, strict=True)
            )
        ]
        any_frame = any_face = False
        for lip_frame in generate_frames(roles, batch):
            any_frame = True
            any_face = any_face or any(person.face.valid for person in lip_frame.people)
            if source.is_photo and not any_face:
                break
            yield lip_frame
        if any_frame:
            cast.require_faces()

    def build_detector(self) -> BlazeFaceMesh:
        """Build a face detector; each job has its own, as the runtime is not thread-safe."""
        return BlazeFaceMesh(self._face_models)

    def has_head_motion(self, source: FrameSource, options: GenerateOptions) -> bool:
        """Return whether heads move otherwise than in the picture, so that the output is the crop."""
        has_motion = has_head_motion(
            self._model.network, self._model.name, is_photo=source.is_photo, has_pose=options.pose is not None
        )
        if has_motion and options.silence == "keep":
            raise ConfigError(
                f"silence: expected rest or drive for {self._model.name}, which draws the whole head, found keep"
            )
        if options.alive and (has_motion or not source.is_photo):
            name = self._model.name
            found = f"{name}, which moves the head itself" if has_motion else f"a video, {source.path}"
            raise ConfigError(f"alive: expected a photo and a model that leaves its head still, found {found}")
        return has_motion

    def build_format(self, source: VideoSource, options: GenerateOptions) -> VideoFormat:
        """Return the format of the output: that of the source, or the crop's size where a head moves."""
        if not self.has_head_motion(source, options):
            return source.format
        return replace(source.format, width=self._model.network.crop_px, height=self._model.network.crop_px)

    def _build_head_painter(
        self,
        stages: ExitStack,
        source: FrameSource,
        units: Sequence[Iterator[Array]],
        audio_s: Fraction,
        options: GenerateOptions,
    ) -> Painter:
        from cals.inference.heads import HeadPainter, PoseVideo, PredictedHeads
        from cals.models.audio2head import Audio2Head
        from cals.models.lips import LipModel

        network = self._model.network
        assert isinstance(network, LipModel)
        if len(units) > 1:
            raise ConfigError(
                f"{source.path}: expected one person for {self._model.name}, whose output is one head, found "
                f"{len(units)}; "
                "choose another model"
            )
        if options.pose is None:
            assert isinstance(network, Audio2Head)
            return HeadPainter(network, units[0], PredictedHeads(network))
        tracker = FrameTracker(FaceTracker(self.build_detector()), network.crop_px)
        frames = close_with(stages, fit_length(options.pose, "bounce", audio_s, keep_going=options.keep_going))
        poses = PoseVideo(close_with(stages, tracker.track(frames)), str(options.pose))
        return HeadPainter(network, units[0], poses)

    def _build_painters(
        self,
        cast: Cast,
        units: Sequence[Iterator[Array] | UnitSource],
        strengths: Sequence[float | Schedule],
        recording: FaceReplay | FaceRecorder | None = None,
    ) -> list[Painter]:
        """Build a painter for each person, after a look-ahead at the video."""
        network, detector = self._model.network, self.build_detector()  # faces are tracked in another thread
        painters: list[Painter] = []
        with ExitStack() as stages:
            for own_units, strength, ahead in zip(units, strengths, cast.look_ahead(), strict=True):
                close_with(stages, ahead)
                if isinstance(network, MotionNetwork):
                    painters.append(
                        MouthPainter(network, own_units, ahead, strength, detector=detector, recording=recording)
                    )
                else:
                    from cals.inference.crop_painter import CropPainter
                    from cals.models.lips import LipModel

                    assert isinstance(network, LipModel)
                    painters.append(CropPainter(network, own_units, ahead))
        return painters

    def _open_recording(
        self,
        stages: ExitStack,
        source: FrameSource,
        parts: Sequence[Part],
        detector: BlazeFaceMesh,
        audio_s: Fraction,
        options: GenerateOptions,
    ) -> FaceReplay | FaceRecorder | None:
        """Open the face of the only person of a video file in the cache, to replay or to record it."""
        if self._cache is None or len(parts) > 1 or source.is_photo or not isinstance(source, VideoSource):
            return None
        key = {
            **describe_video(source.path, detector, self._face_models),
            "model": self._model.fingerprint,
            "length": options.length,
            "person": str(parts[0].person),
            "covered": options.covered,
            "is_exclusive": parts[0].schedule is not None,
            "keep_going": options.keep_going,
        }
        until_s = Fraction(0) if options.length == "video" else audio_s
        recording = self._cache.open(key, until_s, self._model.network.crop_px)
        return None if recording is None else close_with(stages, recording)

    def _select_items(self, items: Iterator[Items], number: int, painter: Painter) -> Iterator[TrackedFrame]:
        own_items = map(itemgetter(number), items)
        if not painter.is_frame:
            return own_items
        from cals.inference.heads import crop_to_face

        return crop_to_face(own_items, self._model.network.crop_px)


def _build_weights(part: Part, options: GenerateOptions) -> dict[str, Weight]:
    weights: dict[str, Weight] = {} if part.schedule is None else {NO_SEGMENT: part.schedule.compute_weight}
    return weights | ({SILENCE: part.wav.weigh} if options.silence == "keep" else {})
