"""The output of a job: checked before any work, written completely or not at all, with a report."""

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, partial
from math import ceil
from pathlib import Path

from cals.errors import ConfigError, MediaError
from cals.inference.cast import do_nothing
from cals.inference.pipeline import Part, Pipeline
from cals.inference.report import GenerateReport, create_file
from cals.media.blocks import SoundStream
from cals.media.output import check_output_path
from cals.media.smart_render import SmartRenderSource
from cals.media.source import VideoSource
from cals.media.writer import VideoWriter
from cals.options import EncodeOptions, GenerateOptions, ProvenanceOptions
from cals.provenance.manifest import TYPES, ManifestSigner, Origin, load_signer
from cals.types import ProgressCallback

_log = logging.getLogger(__name__)

MIN_RATE_HZ = 10
"""Frame rate below which a video is too choppy for speech."""


@dataclass(frozen=True, kw_only=True)
class JobOutput:
    """Where and how a job is written; MediaError at once if it cannot be written there."""

    out: Path
    encode: EncodeOptions
    force: bool
    origin: Origin
    provenance: ProvenanceOptions
    report: Path | None
    progress: ProgressCallback | None
    start_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        check_output_path(self.out, force=self.force, reserved=self.origin.inputs.values())
        if self.provenance.sign_cert is not None and not self._type:
            raise ConfigError(
                f"sign_cert: expected an output that holds a manifest, {' '.join(TYPES)}, found {self.out.suffix}; "
                "choose one of these"
            )
        _ = self.signer  # a key that does not work is told before any work

    @property
    def _type(self) -> str:
        return TYPES.get(self.out.suffix.lower(), "")

    @cached_property
    def signer(self) -> ManifestSigner | None:
        """The signer of the manifest; None where there is to be none, or cannot be one."""
        return load_signer(self.provenance) if self.provenance.provenance and self._type else None

    def write(
        self,
        pipeline: Pipeline,
        source: VideoSource,
        parts: Sequence[Part],
        heard: Path | SoundStream,
        audio_s: Fraction,
        options: GenerateOptions,
        result: GenerateReport,
    ) -> None:
        """Write the frames of `pipeline` with the sound `heard`, and fill in `result`; closes the sound."""
        rate = source.format.rate
        if rate < MIN_RATE_HZ:
            _log.warning("%s: %.3g frames/s; lips need %d or more to be read", source.path, rate, MIN_RATE_HZ)
        total = source.frame_count_estimate if options.length == "video" else ceil(audio_s * rate)
        heartbeat = do_nothing if self.progress is None else partial(self.progress, 0, total)
        with ExitStack() as files:
            if not isinstance(heard, Path):
                files.callback(heard.close)
            if self.report is not None:
                reserved = (*self.origin.inputs.values(), self.out)
                report_path = files.enter_context(create_file(self.report, force=self.force, reserved=reserved))
                result.per_frame = []
            with (
                self._open_writer(pipeline, source, parts, heard, options, result) as writer,
                closing(pipeline.iterate_frames(source, parts, audio_s, options, heartbeat)) as frames,
            ):
                for lip_frame in frames:
                    writer.write(lip_frame.frame)
                    result.count(lip_frame)
                    if self.progress is not None:
                        self.progress(result.frames, total)
                result.speech_s = float(sum(part.wav.measure_speech(Fraction(result.seconds)) for part in parts))
            result.wall_s = time.monotonic() - self.start_s
            if not result.generated:
                _log.warning("%s: no mouth was drawn, every frame is as it was: %s", self.out, result.reasons)
            if self.report is not None:
                result.write(report_path)

    def _open_writer(
        self,
        pipeline: Pipeline,
        source: VideoSource,
        parts: Sequence[Part],
        heard: Path | SoundStream,
        options: GenerateOptions,
        result: GenerateReport,
    ) -> VideoWriter:
        if self.provenance.provenance and not self._type:
            result.unsigned = f"{self.out.suffix} holds no manifest"
        unchanged = None
        schedules = [part.schedule for part in parts if part.schedule is not None]
        if options.length == "video" and not source.is_photo and len(schedules) == len(parts):
            blocks = [block for schedule in schedules for block in schedule.blocks]
            unchanged = SmartRenderSource(path=source.path, changed_s=blocks)
        return VideoWriter(
            self.out,
            pipeline.build_format(source, options),
            audio=heard,
            unchanged=unchanged,
            audio_track=options.audio_track,
            tracks_of=source.path if options.keep_tracks and not source.is_photo else None,
            encode=self.encode,
            force=self.force,
            inputs=self.origin.inputs.values(),
            keep_going=options.keep_going,
            metadata={"comment": self.origin.note} if self.provenance.provenance else None,
            sign=None if self.signer is None else partial(self._sign, self.signer, result),
        )

    def _sign(self, signer: ManifestSigner, result: GenerateReport, video: Path, signed: Path) -> bool:
        """Sign the finished video; where that fails it is kept as it is, unless a certificate was given for it."""
        try:
            signer.sign(video, signed, self._type, self.origin, result.frames, result.generated)
        except MediaError as error:
            if self.provenance.sign_cert is not None:
                raise MediaError(f"{self.out}: {error}; --no-provenance writes it without") from error
            _log.warning("%s: not signed, %s", self.out, error)
            result.unsigned = "signing failed"
            return False
        result.signed = True
        return True
