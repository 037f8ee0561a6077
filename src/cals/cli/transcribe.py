"""`cals transcribe`: what is said in a video."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.progress import show_progress
from cals.errors import ConfigError

Form = Literal["text", "json", "srt", "vtt"]
_FORMAT_BY_SUFFIX: dict[str, Form] = {".json": "json", ".srt": "srt", ".vtt": "vtt"}


def transcribe(
    video: Annotated[Path, tyro.conf.Positional],
    *,
    model: Path,
    audio_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    video_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    audio: Path | None = None,
    scores: Path | None = None,
    format_: Annotated[Form | None, tyro.conf.arg(name="format")] = None,
    out: Path | None = None,
    person: str = "largest",
    beam: int | None = None,
    device: str = "cpu",
    keep_going: bool = False,
    face_models: Path | None = None,
    force: bool = False,
) -> None:
    """Write down what is said in a video, by its sound and the lips of one person.

    Args:
        video: The video, at any frame rate and of any length, or a sound file.
        model: Checkpoint folder of `cals train avsr`, or `avsr-grid-small`, which reads only
            sentences of GRID.
        audio_only: Hear only, even where there are lips.
        video_only: Read the lips only, even where there is sound.
        audio: Hear this file instead of the video's own sound.
        scores: Draw how far either stream was trusted over time, above words, sound and lips, to this PNG file.
        format_: A line for each sentence or so; JSON with the words' times and all scores; or subtitles. By default
            as the name of the output says, else text.
        out: The file to write; without it the transcript is printed.
        person: Whose lips: largest, left, right, a number counted from the left, or x,y@seconds.
        beam: Sentences followed at once in the search, 40 unless given; fewer are faster.
        device: Where the recogniser runs, as torch names it.
        keep_going: Use what can be decoded of a damaged video or sound.
        face_models: Folder with the two face networks, for machines without a network.
        force: Overwrite existing outputs.
    """
    from cals.inference.report import create_file
    from cals.inference.transcribe import Transcriber
    from cals.inference.transcript_plot import draw_transcript
    from cals.models.avsr.beam import BeamConfig
    from cals.report.plots import check_plot

    if audio_only and video_only:
        raise ConfigError("streams: expected --audio-only or --video-only, found both; for both streams give neither")
    with ExitStack() as files:
        inputs = [path for path in (video, audio) if path is not None]
        if scores is not None:
            check_plot(scores, "scores")
            plot_file = files.enter_context(create_file(scores, force=force, reserved=inputs))
        if out is not None:
            others = inputs if scores is None else [*inputs, scores]
            out_file = files.enter_context(create_file(out, force=force, reserved=others))
        transcriber = Transcriber(model, face_models=face_models, device=device)
        if scores is not None:
            transcriber.check_scores()
        with show_progress("reading") as progress:
            transcript = transcriber.transcribe(
                video,
                streams="audio" if audio_only else "video" if video_only else "both",
                beam=BeamConfig() if beam is None else BeamConfig(beam=beam),
                person=person,
                audio=audio,
                keep_going=keep_going,
                progress=progress,
            )
        if scores is not None:
            draw_transcript(transcript, video.name, plot_file)
        if out is not None:
            form = format_ or _FORMAT_BY_SUFFIX.get(out.suffix.lower(), "text")
            out_file.write_text(transcript.render(form), encoding="utf-8")
    if out is None:
        sys.stdout.write(transcript.render(format_ or "text"))
    else:
        print(f"{out}: {transcript.line()}")
