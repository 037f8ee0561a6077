"""`cals masked`: mouths made while their own sound is hidden."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from cals.cli.study_options import MaskingOptions


@dataclass(frozen=True, kw_only=True)
class MaskedOptions(MaskingOptions):
    """Options of `cals masked`."""

    baseline: str | None = None
    """Another model, which gets silence in place of what is hidden."""
    every: int = 10
    """Frames from one moment to the next."""
    lengths: tuple[int, ...] = (1, 3, 5, 8, 10, 15)
    """Frames hidden at once around a moment, rising."""
    margin: int = 10
    """Frames left at either end of a clip."""


def masked(options: Annotated[MaskedOptions, tyro.conf.arg(name="")]) -> None:
    """Hide the sound of some frames and measure their mouths, which are made from the sound around them.

    The model has to have an Audio-to-Lip, which alone is trained with hidden sound.
    """
    from cals.evaluation.studies.masked import FILES, MaskedConfig, measure_masking

    config = MaskedConfig(
        **options.get_config_options(),
        every=options.every,
        lengths=options.lengths,
        margin=options.margin,
    )
    baseline = None if options.baseline is None else options.load_lips(options.baseline)
    options.run("masked sound of", measure_masking, config, FILES, baseline=baseline, a2l=options.a2l)
