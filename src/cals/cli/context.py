"""`cals context`: how much sound around a frame a model needs."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from cals.cli.study_options import StudyOptions


@dataclass(frozen=True, kw_only=True)
class ContextOptions(StudyOptions):
    """Options of `cals context`."""

    every: int = 5
    """Frames from one moment to the next."""
    reach: int = 25
    """The largest k; only moments with so many frames on either side are measured."""


def context(options: Annotated[ContextOptions, tyro.conf.arg(name="")]) -> None:
    """Cut the sound to k frames on either side of a moment, render that moment, and measure its mouth by k."""
    from cals.evaluation.studies.context import FILES, ContextConfig, measure_context

    config = ContextConfig(
        **options.get_config_options(),
        every=options.every,
        reach=options.reach,
    )
    options.run("context of", measure_context, config, FILES)
