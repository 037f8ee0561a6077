"""`cals study`: what people say of videos, as in the paper's Table 2."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cals.cli.progress import show_progress


@dataclass(frozen=True, kw_only=True)
class Make:
    """Write the folder of a study: its site with the videos under blind names, and apart from it the key to them.

    The folders hold equally named videos, one a clip and method, with sound. One called `real` holds the clips
    themselves; catch trials are made of it.
    """

    methods: tuple[str, ...]
    """NAME=FOLDER of every method."""
    out: Path
    """The folder to write."""
    seed: int | None = None
    """Seed of names and orders; default: random. Raters must not know it: with it the names can be guessed."""
    clips: int | None = None
    """At most so many clips, evenly spaced; practice and catch trials then come from the others. Default: all."""
    catch: int = 2
    """Pairs of catch trials: a real video, and one with the sound of another clip."""
    practice: int = 3
    """Trials at the start that do not count."""
    force: bool = False
    """Replace an earlier study that has no answers yet."""


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Serve a study's site, and keep what raters answer in its folder `answers`. Ctrl-C ends it."""

    study: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """A folder made by `cals study make`."""
    host: str = "127.0.0.1"
    """Where to listen: 0.0.0.0 for the whole network."""
    port: int = 8000


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write report.md, report.json and report.png: scores with intervals beside the published ones, and tests."""

    study: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """A folder made by `cals study make`."""
    answers: tuple[Path, ...] = ()
    """Files that raters saved where there was no server, besides those in the folder."""
    unfinished: bool = False
    """Count those too who stopped before the end, if they met a catch trial and failed none."""
    seed: int = 0
    """Seed of the bootstrap and the tests."""
    force: bool = False
    """Overwrite an earlier report."""


_Action = (
    Annotated[Make, tyro.conf.subcommand("make", prefix_name=False)]
    | Annotated[Serve, tyro.conf.subcommand("serve", prefix_name=False)]
    | Annotated[Report, tyro.conf.subcommand("report", prefix_name=False)]
)


def study(action: Annotated[_Action, tyro.conf.arg(name="")]) -> None:
    """Ask people: mean opinion scores of visual quality, lip-sync and realness, blind and in balanced order."""
    match action:
        case Make():
            _make(action)
        case Serve():
            _serve(action)
        case Report():
            _report(action)


def _make(options: Make) -> None:
    from cals.evaluation.opinion.design import DesignConfig
    from cals.evaluation.opinion.site import make_study
    from cals.evaluation.protocol.run import parse_folders

    config = DesignConfig(clips=options.clips, catch=options.catch, practice=options.practice)
    folders = parse_folders(options.methods)
    with show_progress("writing videos", "videos") as progress:
        study_site = make_study(folders, options.out, config, seed=options.seed, force=options.force, progress=progress)
    methods = ", ".join(study_site.methods)
    print(f"{options.out}: {len(study_site.clips)} clips by {methods}; {len(study_site.stimuli)} videos a rater")
    print(f"raters see {options.out / 'site'} only; start it with: cals study serve {options.out}")


def _serve(options: Serve) -> None:
    from cals.evaluation.opinion.server import StudyServer

    with StudyServer(options.study, options.host, options.port) as server:
        print(f"study {server.study.id}: {server.address} (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            started, finished = server.book.count()
            print(f"{options.study}: {started} raters so far, {finished} of them finished")


def _report(options: Report) -> None:
    from cals.evaluation.opinion.report import FILES, report_study

    report = report_study(
        options.study, options.answers, unfinished=options.unfinished, seed=options.seed, force=options.force
    )
    print(report.format_text())
    print(f"{options.study}: {', '.join(FILES)}")
