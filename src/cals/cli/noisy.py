"""`cals noisy`: mouths made from a sound that noise comes and goes in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cals.cli.study_options import MaskingOptions


@dataclass(frozen=True, kw_only=True)
class NoisyOptions(MaskingOptions):
    """Options of `cals noisy`."""

    recogniser: Path
    """Checkpoint folder of `cals train avsr`: of sound and lips, with reliability scores."""
    kinds: tuple[str, ...] = ("white", "pink", "music", "babble", "dropout")
    """Kinds of the bursts."""
    snr_db: tuple[float, ...] = (10.0, 0.0, -5.0)
    """Levels of the clip's speech over the noise in a burst, in dB."""
    every: int = 1
    """Frames from one corrupted frame that is measured to the next."""


def noisy(options: Annotated[NoisyOptions, tyro.conf.arg(name="")]) -> None:
    """Add bursts of noise to the sound, hide what a recogniser finds unreliable, and measure the model's mouths.

    The model has to have an Audio-to-Lip, which alone is trained with hidden sound. The clips of the part `train`, or
    of the whole corpus without splits, give the lowest reliability of clean sound.
    """
    from cals.evaluation.studies.noisy import FILES, measure_noisy
    from cals.evaluation.studies.noisy_clips import NoisyConfig
    from cals.inference.load import load_recognizer

    config = NoisyConfig(
        **options.get_config_options(),
        every=options.every,
        kinds=options.kinds,
        snr_db=options.snr_db,
    )
    recogniser = load_recognizer(options.recogniser, options.device)
    options.run("noisy sound for", measure_noisy, config, FILES, recogniser=recogniser, a2l=options.a2l)
