"""`cals synthetic`: a corpus of drawn people whose context window is known."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.progress import show_progress


def synthetic(
    out: Annotated[Path, tyro.conf.Positional],
    *,
    clips: int = 100,
    speakers: int = 10,
    reach: float = 0.4,
    seed: int = 0,
    phones: Literal["english", "random"] = "english",
    seconds: float = 4.0,
    voice: Literal["formant", "flite"] = "formant",
    videos: bool = False,
    vocabulary: int = 0,
) -> None:
    """Draw people who speak, with phone times and a known reach of every phone: a folder for `cals train`.

    Broken off, the same command goes on where it stopped. docs/context.md says what it is good for.

    Args:
        out: A new folder for shards, manifest, splits, parameters and a contact sheet.
        clips: How many.
        speakers: How many people; of three or more the last is kept for `val_unseen`.
        reach: Seconds before and after itself in which a phone shapes the mouth, 0 to 2.
        seed: Seed of everything: with another reach the same people say the same in the same places.
        phones: English-like syllables, or any phone after any other.
        seconds: Length of a clip, 1 to 10.
        voice: Own formant synthesis, in which every phone is distinct at every moment, or flite where it is installed.
        videos: Write each clip as an mp4 of the full frame too.
        vocabulary: Make sentences of so many words, drawn once, in any order (for `cals train avsr`); 0 makes new ones
            all the time. Only the formant voice speaks them.
    """
    from cals.data.synthetic.corpus import SyntheticConfig, generate_corpus
    from cals.data.synthetic.mouth import Dominance

    config = SyntheticConfig(
        clips=clips,
        speakers=speakers,
        dominance=Dominance.from_reach(reach),
        seed=seed,
        phones=phones,
        seconds=seconds,
        voice=voice,
        videos=videos,
        vocabulary=vocabulary,
    )
    with show_progress("drawing", "clips") as progress:
        document = generate_corpus(out, config, progress)
    window = document["true_window"]
    print(f"{out}: {document['samples']} clips, {document['frames']} frames, {speakers} speakers")
    print(f"  the mouth depends on {window['support_s']:.2f} s of speech around it")
    if "window_95_s" in window:
        print(f"  95 % of it is known from {window['window_95_s']:.2f} s")
