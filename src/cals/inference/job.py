"""The output of a job: checked before any work, written completely or not at all, with a report."""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from pathlib import Path

from cals.inference.pipeline import Part, Pipeline
from cals.inference.report import GenerateReport, create_file
from cals.media.blocks import SoundStream
from cals.media.output import check_output_path
from cals.media.smart_render import Unchanged
from cals.media.source import VideoSource
from cals.media.writer import VideoWriter
from cals.options import EncodeOptions, GenerateOptions
from cals.types import ProgressCallback

_log = logging.getLogger(__name__)

MIN_RATE_HZ = 10
"""Frame rate below which a video is too choppy for speech."""


@dataclass(frozen=True, kw_only=True)
class JobOutput:
    """Where and how a job is written; MediaError at once if it cannot be written there."""

    out: Path
    inputs: Sequence[Path]
    """Files that may not be overwritten."""
    encode: EncodeOptions
    force: bool
    metadata: Mapping[str, str] | None
    report: Path | None
    progress: ProgressCallback | None
    start_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        check_output_path(self.out, force=self.force, reserved=self.inputs)

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
        with ExitStack() as files:
            if not isinstance(heard, Path):
                files.callback(heard.close)
            if self.report is not None:
                reserved = (*self.inputs, self.out)
                report_path = files.enter_context(create_file(self.report, force=self.force, reserved=reserved))
                result.per_frame = []
            with (
                self._open_writer(pipeline, source, parts, heard, options) as writer,
                closing(pipeline.iterate_frames(source, parts, audio_s, options)) as frames,
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
    ) -> VideoWriter:
        blocks = [None if part.schedule is None else part.schedule.blocks for part in parts]
        unchanged = None
        if options.length == "video" and not source.is_photo and None not in blocks:
            unchanged = Unchanged(path=source.path, changed_s=[block for own in blocks for block in own or ()])
        return VideoWriter(
            self.out,
            pipeline.build_format(source, options),
            audio=heard,
            unchanged=unchanged,
            audio_track=options.audio_track,
            tracks_of=source.path if options.keep_tracks and not source.is_photo else None,
            encode=self.encode,
            force=self.force,
            inputs=self.inputs,
            keep_going=options.keep_going,
            metadata=self.metadata,
        )
