"""The `cals` command: one file per subcommand, which parse and call and hold no logic."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import tyro
from rich.console import Console
from rich.logging import RichHandler

from cals.cli import interrupt
from cals.cli.ablation import ablation
from cals.cli.context import context
from cals.cli.evaluate import evaluate
from cals.cli.generate import generate
from cals.cli.masked import masked
from cals.cli.models import models
from cals.cli.prepare import prepare
from cals.cli.readability import readability
from cals.cli.score import score
from cals.cli.sheet import sheet
from cals.cli.synthetic import synthetic
from cals.cli.track import track
from cals.cli.train import train
from cals.cli.voices import voices
from cals.errors import CalsError

COMMANDS: dict[str, Callable[..., Any]] = {
    "generate": generate,
    "track": track,
    "sheet": sheet,
    "score": score,
    "prepare": prepare,
    "voices": voices,
    "synthetic": synthetic,
    "train": train,
    "evaluate": evaluate,
    "readability": readability,
    "ablation": ablation,
    "context": context,
    "masked": masked,
    "models": models,
}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; one line on stderr and exit 1 for a CalsError, 2 for wrong usage, 130 for Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    interrupt.install()
    console = Console(stderr=True)
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_time=False, show_path=debug)],
    )
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="cals",
            description="Make a face speak. `--debug` anywhere shows the trace of an error.",
            args=arguments,
        )
    except CalsError as error:
        if debug:
            raise
        print("cals:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        if debug:
            raise
        print("cals: stopped; no unfinished file was left", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our stdout went away (`cals track x | head`); that is not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
