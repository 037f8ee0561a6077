"""`LipSync`: from a face and a speech to a video of the face saying the speech."""

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cals import hub
from cals.errors import ConfigError, MediaError
from cals.face.detector import FaceModels
from cals.inference.dub import (
    assign_people,
    build_parts,
    check_background,
    name_inputs,
    open_sound,
    open_sound_over_background,
    place_speech,
    use_video_length,
)
from cals.inference.dub_segments import DubSegment, check_duration
from cals.inference.face_cache import FaceCache
from cals.inference.job import JobOutput
from cals.inference.live import Chunk, LiveUnits
from cals.inference.pipeline import Part, Pipeline
from cals.inference.report import GenerateReport
from cals.inference.runtime import NamedModel, open_model
from cals.inference.speech_track import SpeechTrack
from cals.inference.stream import LipFrame
from cals.media import audio as sound
from cals.media.blocks import SoundStream
from cals.media.source import ArraySource, VideoSource
from cals.models.network import MotionNetwork
from cals.options import (
    EncodeOptions,
    GenerateOptions,
    Latency,
    Precision,
    ProvenanceOptions,
    Runtime,
    override,
    prefer_gpu,
    resolve_provenance,
)
from cals.provenance.manifest import Origin
from cals.types import F32, U8, ProgressCallback

if TYPE_CHECKING:
    from cals.inference.who_speaks import SpeakerMatch

_log = logging.getLogger(__name__)

_LENGTH_SLACK_S = Fraction(1, 2)
"""Difference in length of what drives and what is heard that needs no warning."""
_WITHOUT_SPEECH = {"rest": "the mouth rests", "keep": "the mouth stays as it is", "drive": "that moves the mouth"}


class LipSync:
    """A loaded model, for any number of jobs, one after another or in threads of their own.

    `model` is a registered name or a checkpoint folder; `face_models` a folder with the two face networks for
    machines without a network; `batch` the frames rendered at once; `precision` that of the rendering, where `auto` is
    bf16 where that is faster (CPUs with AMX, GPUs; a mean difference far below one level of 255), else fp32. `runtime`
    runs the networks: torch, or another for a model that `cals models export` wrote, without torch. `cache`
    is a folder that keeps the faces of videos, so that further speeches of a video need not track them again.
    """

    def __init__(
        self,
        model: str | Path | NamedModel = hub.DEFAULT_MODEL,
        *,
        face_models: str | Path | None = None,
        device: str = "cpu",
        batch: int = 8,
        precision: Precision = "auto",
        runtime: Runtime = "torch",
        cache: str | Path | None = None,
    ) -> None:
        if batch < 1:
            raise ConfigError(f"batch: expected 1 or more, found {batch}; 8 suits most machines")
        self.model, self._speech_detector = open_model(model, runtime, device, precision)
        self.batch, self._device = batch, device
        faces = FaceModels(*hub.read_face_models(face_models))
        self._pipeline = Pipeline(self.model, faces, batch, None if cache is None else FaceCache(cache))

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
        part = Part(person=options.person, wav=self._read_wav(audio, options, options.audio_track))
        yield from self._pipeline.iterate_frames(source, [part], audio_s, options)

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
        wav = sound.resample([mono], rate_hz, self.model.network.mel.timing.sample_rate_hz)
        part = Part(person=options.person, wav=self._find_speech(wav, options))
        audio_s = Fraction(len(mono), rate_hz)
        with closing(self._pipeline.iterate_frames(source, [part], audio_s, options)) as lip_frames:
            for lip_frame in lip_frames:
                yield source.restore(lip_frame.frame)

    def stream(
        self,
        face: str | Path,
        chunks: Iterable[Chunk],
        rate_hz: int,
        options: GenerateOptions | None = None,
        *,
        latency: Latency | None = None,
        **changes: Any,
    ) -> Generator[LipFrame, None, None]:
        """Yield the output frames of speech that is still coming in, see `Latency`; memory does not grow.

        `chunks` of sound at `rate_hz`, mono [n] or [channels n], float in -1..1 or int16, are taken only when a frame
        needs them, and their end is the end of the frames. The call itself looks ahead in the video and takes seconds.
        `changes` are fields of `GenerateOptions`, of which those of sound files have no effect.
        Raises ConfigError for models that move heads and for `length="video"`, else as `frames` does.
        """
        options = replace(options or GenerateOptions(), **changes)
        self._check_strength(options.strength)
        source = VideoSource(face, keep_going=options.keep_going, size=options.size)
        if options.length == "video" or self._pipeline.has_head_motion(source, options):
            raise ConfigError(
                "stream: expected a model that keeps heads as they are, and a length that is the sound's, found "
                f"{self.model.name} with length {options.length}; use `frames`"
            )
        units = LiveUnits(self.model.network, chunks, rate_hz, latency or Latency())
        return self._pipeline.stream(source, units, options)

    def _read_wav(self, audio: str | Path, options: GenerateOptions, track: str | int | None) -> SpeechTrack:
        rate_hz = self.model.network.mel.timing.sample_rate_hz
        blocks = sound.mono_blocks(audio, rate_hz, track=track, keep_going=options.keep_going, quiet=True)
        return self._find_speech(blocks, options)

    def _find_speech(self, blocks: Iterator[F32], options: GenerateOptions) -> SpeechTrack:
        rate_hz = self.model.network.mel.timing.sample_rate_hz
        return SpeechTrack(self._speech_detector, blocks, rate_hz, gate=options.silence != "drive")

    def generate(
        self,
        face: str | Path,
        audio: str | Path,
        out: str | Path,
        options: GenerateOptions | None = None,
        *,
        voice: str | Path | None = None,
        encode: EncodeOptions | None = None,
        force: bool = False,
        provenance: bool | ProvenanceOptions = True,
        report: str | Path | None = None,
        progress: ProgressCallback | None = None,
        **changes: Any,
    ) -> GenerateReport:
        """Write the speaking face to `out`, completely or not at all, and return a report.

        `audio` is heard, and drives the mouth unless there is a `voice`: the speech alone of a mix. `changes` are
        fields of `GenerateOptions` and `EncodeOptions`, in place of those of `options` and `encode`. `report` is a JSON
        file for the report with the status of every frame; `provenance` notes in the file that the mouth is generated,
        and signs that; `force` overwrites existing files.
        """
        encode = prefer_gpu(override(encode or EncodeOptions(), changes), self._device)
        options = replace(options or GenerateOptions(), **changes)
        self._check_strength(options.strength)
        audio, driving = Path(audio), Path(audio if voice is None else voice)
        output = JobOutput(
            out=Path(out),
            origin=self._describe_origin({"face": face, "audio": audio, "voice": voice, "pose": options.pose}),
            encode=encode,
            force=force,
            provenance=resolve_provenance(provenance),
            report=None if report is None else Path(report),
            progress=progress,
        )
        source = VideoSource(face, keep_going=options.keep_going, size=options.size)
        audio_s = sound.probe(audio, track=options.audio_track, keep_going=options.keep_going).duration_s
        voice_s = audio_s
        if voice is not None:
            voice_s = sound.probe(driving, keep_going=options.keep_going).duration_s
            _warn_of_length(driving, voice_s, audio_s)
        part = Part(
            person=options.person, wav=self._read_wav(driving, options, options.audio_track if voice is None else None)
        )
        heard: Path | SoundStream = audio
        if options.background == "keep" and source.has_audio:
            heard = open_sound_over_background(source, audio, audio_s, options)
        result = GenerateReport(
            model=f"{self.model.name} ({self.model.fingerprint})",
            face=Path(face),
            audio=audio,
            out=output.out,
            voice_s=float(voice_s),
        )
        output.write(self._pipeline, source, [part], heard, audio_s, options, result)
        _warn_of_silence(result, str(driving), options)
        return result

    def dub(
        self,
        face: str | Path,
        segments: Sequence[DubSegment] | None,
        out: str | Path,
        options: GenerateOptions | None = None,
        *,
        audio: str | Path | None = None,
        people: Mapping[str, str | int] | None = None,
        inputs: Sequence[Path] = (),
        encode: EncodeOptions | None = None,
        force: bool = False,
        provenance: bool | ProvenanceOptions = True,
        report: str | Path | None = None,
        progress: ProgressCallback | None = None,
        **changes: Any,
    ) -> GenerateReport:
        """Write the video with other speech in its segments, of one or more persons, to `out`, and return a report.

        Outside of a person's segments their mouth is the video's, and so is the sound where nobody is dubbed. The
        voices and the video's sound are mixed, unless `audio` is to be heard instead; if no segment has a voice, the
        voices are those in `audio`. Without segments, `audio` is a conversation in step with that of the video, and
        `who_speaks` has to be "auto". `people` are the persons behind the names in `segments`, `inputs` further files
        that may not be overwritten; the other arguments are those of `generate`. Raises DataError for segments that
        overlap or lie beyond the end.
        """
        encode = prefer_gpu(override(encode or EncodeOptions(), changes), self._device)
        options = replace(options or GenerateOptions(), **changes)
        mix = None if audio is None else Path(audio)
        voices = [segment.audio for segment in segments or () if segment.audio is not None]
        output = JobOutput(
            out=Path(out),
            origin=self._describe_origin({"face": face, "audio": mix, **name_inputs(voices, inputs)}),
            encode=encode,
            force=force,
            provenance=resolve_provenance(provenance),
            report=None if report is None else Path(report),
            progress=progress,
        )
        source = VideoSource(face, keep_going=options.keep_going, size=options.size)
        options = use_video_length(options, source)
        for strength in (options.strength, *(segment.strength or 1.0 for segment in segments or ())):
            self._check_strength(strength)
        mix_s = None if mix is None else _measure_mix(mix, options)
        duration_s = None if source.is_photo else source.duration_s
        if duration_s is not None:
            check_duration(segments or (), duration_s)  # before who speaks is found, which takes long
        segments, matches = self._find_speakers(source, segments, people or {}, options)
        segments = assign_people(segments, people or {}, options)
        placed = place_speech(segments, duration_s, options, has_mix=mix is not None)
        result = GenerateReport(
            model=f"{self.model.name} ({self.model.fingerprint})",
            face=Path(face),
            audio=mix,
            out=output.out,
            segments=[item.document() for item in placed],
            speakers=[match.line() for match in matches],
            voice_s=float(sum(item.placement.end_s - item.placement.start_s for item in placed)),
        )
        rate_hz = self.model.network.mel.timing.sample_rate_hz
        parts = build_parts(placed, rate_hz, options, partial(self._find_speech, options=options), mix)
        result.people = [part.person for part in parts]
        heard = mix or open_sound(source, placed, options)
        end_s = max(item.end_s for item in placed)
        _warn_of_end(mix, mix_s, end_s)
        output.write(self._pipeline, source, parts, heard, end_s, options, result)
        _warn_of_end(source.path, Fraction(result.seconds), end_s)
        _warn_of_silence(result, "the voices", options)
        return result

    def _find_speakers(
        self,
        source: VideoSource,
        segments: Sequence[DubSegment] | None,
        people: Mapping[str, str | int],
        options: GenerateOptions,
    ) -> tuple[Sequence[DubSegment], "list[SpeakerMatch]"]:
        """Return the segments with their persons, as far as these are to be found, and how each was."""
        if options.who_speaks == "given":
            return segments or (), []
        # who speaks is found with torch, whatever runs the lip model
        from cals.inference.sync_encoders import load_encoders
        from cals.inference.who_speaks import (
            assign_speakers,
            build_turn_segments,
            is_unassigned,
            measure_lip_distances,
        )

        if options.person != GenerateOptions().person:
            raise ConfigError(
                f"who_speaks: expected auto or a person, found both auto and {options.person}; leave out --person"
            )
        if segments is not None and not any(is_unassigned(segment, people) for segment in segments):
            return segments, []
        lips = measure_lip_distances(source, load_encoders(), self._pipeline.build_detector())
        result = (
            build_turn_segments(lips, source.duration_s)
            if segments is None
            else assign_speakers(segments, people, lips)
        )
        for match in result[1]:
            if not match.is_sure:
                _log.warning("%s: %s", source.path, match.line())
        return result

    def _check_strength(self, strength: float) -> None:
        if strength != 1 and not isinstance(self.model.network, MotionNetwork):
            raise ConfigError(
                f"strength: expected 1 for {self.model.name}, which draws mouths whole, found {strength:g}; choose a "
                "model that predicts motion"
            )

    def _describe_origin(self, inputs: Mapping[str, str | Path | None]) -> Origin:
        files = {role: Path(path) for role, path in inputs.items() if path is not None}
        return Origin(model=self.model.name, fingerprint=self.model.fingerprint, inputs=files)


def _warn_of_length(voice: Path, voice_s: Fraction, audio_s: Fraction) -> None:
    if abs(voice_s - audio_s) > _LENGTH_SLACK_S:
        _log.warning(
            "%s: it drives the mouth for %.2f s, what is heard lasts %.2f s; both start together",
            voice,
            voice_s,
            audio_s,
        )


def _measure_mix(mix: Path, options: GenerateOptions) -> Fraction:
    """Return the length of a finished mix in seconds."""
    check_background(mix, options)
    return sound.probe(mix, track=options.audio_track, keep_going=options.keep_going).duration_s


def _warn_of_end(path: Path | None, seconds: Fraction | None, end_s: Fraction) -> None:
    if seconds is not None and seconds < end_s - Fraction(1, 1000):
        _log.warning("%s: ends at %.2f s, before the last segment (%.2f s)", path, seconds, end_s)


def _warn_of_silence(result: GenerateReport, sound_name: str, options: GenerateOptions) -> None:
    if not result.has_speech:
        _log.warning("no speech was found in %s (music or noise?): %s", sound_name, _WITHOUT_SPEECH[options.silence])
