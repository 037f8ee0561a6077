"""The `cals` command: one file per subcommand, which parses options, calls the library and holds no logic."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import tyro
from rich.console import Console
from rich.logging import RichHandler

import cals
from cals.cli import hints, interrupt, process
from cals.cli.ablation import ablation
from cals.cli.batch import batch
from cals.cli.compare import compare
from cals.cli.context import context
from cals.cli.corrupt import corrupt
from cals.cli.doctor import doctor
from cals.cli.evaluate import evaluate
from cals.cli.generate import generate
from cals.cli.masked import masked
from cals.cli.memory import memory
from cals.cli.models import models
from cals.cli.noisy import noisy
from cals.cli.prepare import prepare
from cals.cli.readability import readability
from cals.cli.score import score
from cals.cli.serve import serve
from cals.cli.sheet import sheet
from cals.cli.study import study
from cals.cli.synthetic import synthetic
from cals.cli.track import track
from cals.cli.train import train
from cals.cli.transcribe import transcribe
from cals.cli.verify import verify
from cals.cli.voices import voices
from cals.cli.web import web
from cals.cli.wer import wer
from cals.errors import CalsError

COMMANDS: dict[str, Callable[..., Any]] = {
    "generate": generate,
    "batch": batch,
    "web": web,
    "serve": serve,
    "track": track,
    "sheet": sheet,
    "corrupt": corrupt,
    "score": score,
    "verify": verify,
    "prepare": prepare,
    "voices": voices,
    "synthetic": synthetic,
    "train": train,
    "transcribe": transcribe,
    "evaluate": evaluate,
    "readability": readability,
    "ablation": ablation,
    "compare": compare,
    "context": context,
    "masked": masked,
    "noisy": noisy,
    "memory": memory,
    "study": study,
    "wer": wer,
    "models": models,
    "doctor": doctor,
}
_TRAINING = (["train"], ["ablation"], ["compare"])
"""Commands that leave the cores to torch, whose threads may wait for each other as they like."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; one line on stderr and exit 1 for any error, 2 for wrong usage, 130 for Ctrl-C."""
    if arguments is None:  # a process of its own
        process.freeze_imports()
        arguments = sys.argv[1:]
        if arguments[:1] not in _TRAINING:
            process.avoid_busy_waiting()
    arguments = list(arguments)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    if arguments == ["--version"]:
        print("cals", cals.__version__)
        return
    hint = hints.find_hint(arguments, COMMANDS)
    if hint is not None:
        _fail(hint, status=2)
    process.bound_heap()
    interrupt.install()
    console = Console(stderr=True)
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_time=False, show_path=debug)],
    )
    try:
        _run(arguments)
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        _fail(*_describe_error(KeyboardInterrupt() if interrupt.is_requested() else error))


def _run(arguments: list[str]) -> None:
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="cals",
            description="Make a face speak. `--debug` anywhere shows the trace of an error, `--version` the version.",
            args=arguments,
        )
    except BrokenPipeError:
        # The reader of stdout has ended (`cals track x | head`); this is not an error of the command.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _describe_error(error: BaseException) -> tuple[str, int]:
    """Return the line to print for an error, and the exit status."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped; no unfinished file was left", 130
    if isinstance(error, CalsError):
        return str(error), 1
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return "expected torch, which this command needs, found none; pip install torch", 1
    return (
        f"an error that cals should have foreseen: {type(error).__name__}: {error}; please report it where cals comes "
        "from, with the command, the file and what the command prints with --debug",
        1,
    )


def _fail(line: str, status: int) -> NoReturn:
    print("cals:", " ".join(line.split()), file=sys.stderr)
    sys.exit(status)
