"""The work behind the page: previews, whole videos, batches and scores, without anything of the page itself."""

import wave
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from cals import hub
from cals.errors import CalsError, MediaError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.inference.dub import build_full_segments
from cals.inference.dub_segments import load_segments
from cals.inference.lipsync import LipSync
from cals.inference.report import GenerateReport
from cals.inference.score import SyncResult, SyncScorer
from cals.media.audio import mono_blocks, probe
from cals.media.reader import VideoReader
from cals.media.source import VideoSource
from cals.media.writer import VideoWriter
from cals.models.cals import MeshLips
from cals.options import EncodeOptions, GenerateOptions
from cals.types import ProgressCallback
from cals.web.config import ModelConfig, WebConfig
from cals.web.faces import FirstFaces, find_first_faces

PREVIEW_S = 3
_PREVIEW_RATE_HZ = 48_000


@dataclass(frozen=True, kw_only=True)
class DubRequest:
    """Which faces of a video or photo say what."""

    faces: FirstFaces
    speeches: Mapping[str, Path]
    """Name of the face -> its sound."""
    options: GenerateOptions
    encode: EncodeOptions


@dataclass(frozen=True, kw_only=True)
class DubResult:
    """A finished video."""

    video: Path
    report: GenerateReport
    names: tuple[str, ...]
    """The faces that speak, in the order of `people` in the report's frames."""
    sync: SyncResult | None = None
    """Offset of lips and sound; None where it was not or cannot be measured."""


class Engine:
    """Loaded models and the limits of `config`, for any number of jobs."""

    def __init__(self, config: WebConfig, model: ModelConfig) -> None:
        self.config, self._model = config, model
        self.lips = LipSync(
            model.model,
            face_models=model.face_models,
            device=model.device,
            batch=model.batch,
            precision=model.precision,
        )
        self._face_models = FaceModels(*hub.read_face_models(model.face_models))
        self._scorer: SyncScorer | None = None

    @property
    def has_strength(self) -> bool:
        """Whether the model takes other strengths than 1."""
        return isinstance(self.lips.model.network, MeshLips)

    def find_faces(self, path: Path, folder: Path) -> FirstFaces:
        """Find whom a video or photo shows; MediaError for one that is too long, NoFaceError without a face."""
        self._check_length(path, VideoSource(path, keep_going=True).duration_s)
        return find_first_faces(path, BlazeFaceMesh(self._face_models), folder)

    def preview(self, request: DubRequest, folder: Path, progress: ProgressCallback) -> DubResult:
        """Write the first seconds."""
        speeches = {}
        for number, (name, sound) in enumerate(request.speeches.items()):
            self.check_sound(sound, keep_going=request.options.keep_going)
            speeches[name] = _cut_sound(sound, folder / f"{number}.wav", keep_going=request.options.keep_going)
        faces = request.faces
        options = request.options
        if len(speeches) > 1 and not faces.is_photo:  # such a job is as long as the video
            end_s = faces.time_s + PREVIEW_S
            start = _cut_video(faces.path, end_s, folder / "start.mp4", keep_going=options.keep_going)
            faces = replace(faces, path=start)
        elif options.length == "video":
            options = replace(options, length="bounce")
        short = DubRequest(faces=faces, speeches=speeches, options=options, encode=request.encode)
        return self._generate(short, folder / "preview.mp4", progress)

    def generate(self, request: DubRequest, folder: Path, progress: ProgressCallback) -> DubResult:
        """Write the whole video and measure how well lips and sound fit."""
        for sound in request.speeches.values():
            self.check_sound(sound, keep_going=request.options.keep_going)
        result = self._generate(request, folder / f"{request.faces.path.stem}-dub.mp4", progress)
        if len(result.names) > 1:
            return result
        try:
            sync = self._get_scorer().score(
                result.video, person=request.faces.get_person(result.names[0]), progress=_keep_alive(progress)
            )
        except CalsError:  # too short, or seldom seen; the report says so
            sync = None
        return DubResult(video=result.video, report=result.report, names=result.names, sync=sync)

    def _generate(self, request: DubRequest, out: Path, progress: ProgressCallback) -> DubResult:
        people = [(request.faces.get_person(name), sound) for name, sound in request.speeches.items()]
        face, report = request.faces.path, out.with_suffix(".json")
        if len(people) == 1:
            person, sound = people[0]
            options = replace(request.options, person=person)
            result = self.lips.generate(
                face, sound, out, options, encode=request.encode, report=report, progress=progress
            )
            return DubResult(video=out, report=result, names=tuple(request.speeches))
        options = replace(request.options, length=GenerateOptions().length)
        segments = build_full_segments(face, people, options)
        result = self.lips.dub(face, segments, out, options, encode=request.encode, report=report, progress=progress)
        by_person = {person: name for name, (person, _) in zip(request.speeches, people, strict=True)}
        return DubResult(video=out, report=result, names=tuple(by_person[str(person)] for person in result.people))

    def dub_subtitles(
        self, face: Path, subtitles: Path, voices: Path, out: Path, progress: ProgressCallback
    ) -> GenerateReport:
        """Write a video with the voices of the folder `voices` at the times of `subtitles`."""
        self._check_length(face, VideoSource(face).duration_s)
        return self.lips.dub(face, load_segments(subtitles, voices), out, progress=progress)

    def speak(self, face: Path, sound: Path, out: Path, progress: ProgressCallback) -> GenerateReport:
        """Write a video of the largest face with a speech."""
        self._check_length(face, VideoSource(face).duration_s)
        self.check_sound(sound)
        return self.lips.generate(face, sound, out, progress=progress)

    def score(self, video: Path, progress: ProgressCallback) -> SyncResult:
        """Measure how well lips and sound of a video fit."""
        self._check_length(video, VideoSource(video).duration_s)
        return self._get_scorer().score(video, progress=progress)

    def check_sound(self, path: Path, *, keep_going: bool = False) -> None:
        """Raise MediaError for a file without sound, and for one that is too long."""
        self._check_length(path, probe(path, keep_going=keep_going, quiet=True).duration_s)

    def _check_length(self, path: Path, duration_s: Fraction | None) -> None:
        if duration_s is not None and duration_s > self.config.max_s:
            raise MediaError(
                f"{path}: expected at most {self.config.max_minutes:g} minutes, found {float(duration_s) / 60:.1f}; "
                "cut it shorter"
            )

    def _get_scorer(self) -> SyncScorer:
        if self._scorer is None:
            self._scorer = SyncScorer(face_models=self._model.face_models, device=self._model.device)
        return self._scorer


def _keep_alive(progress: ProgressCallback) -> ProgressCallback:
    """Return a callback that lets a job be cancelled and shows it as nearly done."""
    return lambda done, total: progress(99, 100)


def _cut_sound(path: Path, out: Path, *, keep_going: bool) -> Path:
    """Write the first seconds of a sound as a WAV file."""
    left = PREVIEW_S * _PREVIEW_RATE_HZ
    with wave.open(str(out), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_PREVIEW_RATE_HZ)
        for block in mono_blocks(path, _PREVIEW_RATE_HZ, keep_going=keep_going, quiet=True):
            file.writeframes((np.clip(block[:left], -1, 1) * 32767).astype("<i2").tobytes())
            left -= len(block)
            if left <= 0:
                break
    return out


def _cut_video(path: Path, end_s: Fraction, out: Path, *, keep_going: bool) -> Path:
    """Write the pictures of a video up to a time."""
    with VideoReader(path, keep_going=keep_going, quiet=True) as reader, VideoWriter(out, reader.format) as writer:
        for frame in reader:
            if frame.time_s >= end_s:
                break
            writer.write(frame)
    return out
