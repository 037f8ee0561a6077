"""`cals score`: are sound and lips of a video in step."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import tyro

from cals.cli.progress import show_progress


def score(
    video: Annotated[Path, tyro.conf.Positional],
    *,
    audio: Path | None = None,
    sync: Path | None = None,
    syncnet: Path | None = None,
    plot: Path | None = None,
    json_: Annotated[bool, tyro.conf.arg(name="json")] = False,
    person: str = "largest",
    device: str = "cpu",
    keep_going: bool = False,
    face_models: Path | None = None,
    force: bool = False,
) -> None:
    """Measure how far the sound of a video is from its lips (offset), and how well it fits them (LSE-D, LSE-C).

    Args:
        video: The video, at any frame rate, with a face and sound.
        audio: Score the lips against the sound of this file instead of the video's own.
        sync: Checkpoint folder of sync encoders to score with; default: those of the model that ships.
        syncnet: Score with the original SyncNet instead: the public file syncnet_v2.model.
        plot: Draw the distance for each shift, and the offset over time, to this PNG file.
        json_: Print the whole result as JSON.
        person: Whose lips: largest, left, right, a number counted from the left, or x,y@seconds.
        device: Where the encoders run, as torch names it.
        keep_going: Use what can be decoded of a damaged video.
        face_models: Folder with the two face networks, for machines without a network.
        force: Overwrite an older plot.
    """
    from cals.inference.report import create_file
    from cals.inference.score import SyncScorer
    from cals.inference.score_plot import draw_result
    from cals.report.plots import check_plot

    with ExitStack() as files:
        plot_file = None
        if plot is not None:
            check_plot(plot)
            inputs = [path for path in (video, audio, syncnet) if path is not None]
            plot_file = files.enter_context(create_file(plot, force=force, reserved=inputs))
        scorer = SyncScorer(sync=sync, syncnet=syncnet, face_models=face_models, device=device)
        with show_progress("scoring") as progress:
            result = scorer.score(video, audio, person=person, keep_going=keep_going, progress=progress)
        if plot_file is not None:
            draw_result(result, video.name, plot_file)
    print(json.dumps(result.document(), indent=1) if json_ else result.text())
