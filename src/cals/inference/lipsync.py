"""`LipSync`: a face and a speech in, the face saying the speech out."""

import time
from collections.abc import Generator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import cals
from cals import hub
from cals.errors import ConfigError, NoFaceError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.face.person import Person, parse_person
from cals.face.trace import trace_back
from cals.face.tracker import FaceTracker
from cals.inference.load import LoadedModel, load_model
from cals.inference.report import GENERATED, GenerateReport
from cals.inference.stream import LipFrame, generated, tracked
from cals.inference.windows import UnitTrack, unit_blocks
from cals.media import audio as sound
from cals.media.pictures import is_image
from cals.media.reader import VideoReader
from cals.media.timeline import LengthPolicy, lengthened
from cals.media.writer import VideoWriter
from cals.types import ProgressCallback

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


class LipSync:
    """A loaded model and face tracker, for any number of jobs, one after another.

    `model` is a registered name or a checkpoint folder; `face_models` a folder with the two face networks for
    machines without a network; `batch` the frames drawn at once.
    """

    def __init__(
        self,
        model: str | Path | LoadedModel = hub.DEFAULT_MODEL,
        *,
        face_models: Path | None = None,
        device: str = "cpu",
        batch: int = 8,
    ) -> None:
        if batch < 1:
            raise ConfigError(f"batch: expected 1 or more, found {batch}")
        self.model = model if isinstance(model, LoadedModel) else load_model(model)
        try:
            self.model.network.to(device)
        except RuntimeError as error:
            raise ConfigError(f"device: expected cpu, cuda or another that this torch has, found {device!r}") from error
        self.batch = batch
        self._detector = BlazeFaceMesh(FaceModels(*hub.face_model_bytes(face_models)))

    def frames(
        self,
        face: str | Path,
        audio: str | Path,
        *,
        length: LengthPolicy = "bounce",
        person: str = "largest",
        keep_going: bool = False,
    ) -> Generator[LipFrame, None, None]:
        """The finished frames one by one, in time order; close the iterator to stop early.

        Raises MediaError for unreadable input and NoFaceError at the end when no frame had a face.
        """
        audio_s = sound.probe(audio, keep_going=keep_going).duration_s
        yield from self._stream(Path(face), Path(audio), audio_s, length, person, keep_going)

    def _stream(
        self, face: Path, audio: Path, audio_s: Fraction, length: LengthPolicy, person: str, keep_going: bool
    ) -> Generator[LipFrame, None, None]:
        network = self.model.network
        tracker = FaceTracker(self._detector, self._locate(face, parse_person(person), keep_going))
        rate_hz = network.mel.timing.sample_rate_hz
        units = UnitTrack(unit_blocks(network, sound.mono_blocks(audio, rate_hz, keep_going=keep_going)))
        any_face, still = False, is_image(face)
        frames = lengthened(face, length, audio_s, keep_going=keep_going)
        for done in generated(tracked(frames, tracker, network.crop_px), units, network, self.batch):
            any_face = any_face or done.face.valid
            if still and not any_face:
                break
            yield done
        if not any_face:
            raise NoFaceError(
                f"{face}: expected a face to give speech to, found none in any frame; is it large enough and upright?"
            )

    def _locate(self, face: Path, person: Person, keep_going: bool) -> Person:
        """A person pointed at later than the first frame, followed back to where they first appear."""
        if person.kind != "point" or not person.time_s:
            return person
        with VideoReader(face, keep_going=keep_going) as reader:
            return trace_back(self._detector, ((frame, frame.time_s) for frame in reader), person)

    def generate(
        self,
        face: str | Path,
        audio: str | Path,
        out: str | Path,
        *,
        length: LengthPolicy = "bounce",
        person: str = "largest",
        keep_going: bool = False,
        codec: str = "auto",
        crf: int | None = None,
        preset: str | None = None,
        force: bool = False,
        provenance: bool = True,
        per_frame: bool = False,
        progress: ProgressCallback | None = None,
    ) -> GenerateReport:
        """Write the speaking face to `out`, whole or not at all, and say what was done."""
        started = time.monotonic()
        face, audio, out = Path(face), Path(audio), Path(out)
        report = GenerateReport(model=f"{self.model.name} ({self.model.fingerprint})", face=str(face), audio=str(audio))
        report.per_frame = [] if per_frame else None
        with VideoReader(face, keep_going=keep_going) as reader:
            like, in_video = reader.format, reader.frame_count_estimate
        with VideoWriter(
            out,
            like,
            audio=audio,
            codec=codec,
            crf=crf,
            preset=preset,
            force=force,
            inputs=(face, audio),
            keep_going=keep_going,
            metadata=self._provenance() if provenance else None,
        ) as writer:
            audio_s = sound.probe(audio, keep_going=keep_going).duration_s
            total = in_video if length == "video" else int(audio_s * like.rate)
            with closing(self._stream(face, audio, audio_s, length, person, keep_going)) as frames:
                for done in frames:
                    writer.write(done.frame)
                    _count(report, done)
                    if progress is not None:
                        progress(report.frames, total)
        report.out = str(out)
        report.wall_s = time.monotonic() - started
        return report

    def _provenance(self) -> dict[str, str]:
        return {
            "comment": f"The mouth in this video was generated by cals {cals.__version__} "
            f"(model {self.model.name} {self.model.fingerprint}). DigitalSourceType: {DIGITAL_SOURCE_TYPE}"
        }


def _count(report: GenerateReport, done: LipFrame) -> None:
    report.frames += 1
    report.counts[done.status] += 1
    report.seconds = float(done.frame.time_s + done.frame.duration_s)
    if report.per_frame is not None:
        report.per_frame.append(
            {
                "index": done.frame.index,
                "time_s": float(done.frame.time_s),
                "status": done.status,
                "strength": round(done.strength, 4),
                "track": done.face.track if done.status == GENERATED else None,
                "face_score": round(done.face.score, 4),
            }
        )
