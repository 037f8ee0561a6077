"""`cals wer`: word error rates of speech recognisers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.progress import show_progress


@dataclass(frozen=True, kw_only=True)
class WerOptions:
    """Options of `cals wer`."""

    corpus: Annotated[Path, tyro.conf.Positional]
    """A folder made by `cals prepare` whose clips' text is known."""
    out: Path
    """The folder for wer.json, wer.md and wer.png."""
    model: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=FOLDER of a recogniser made by `cals train avsr`, or a folder; may be given several times, and with the
    same name for networks that were trained alike from other seeds."""
    splits: Path | None = None
    """JSON file with the clip names of each part; default: all clips of the corpus."""
    parts: tuple[str, ...] = ("val_seen", "val_unseen")
    """Parts of the splits to read."""
    clips: int | None = None
    """At most so many clips per part, evenly spaced; default: all."""
    corruption: Literal["none", "audio", "video", "both", "all"] = "all"
    """The streams that are corrupted: one, both at once, each of these in turn, or none. Clean clips are always read
    too."""
    kinds: tuple[str, ...] = ("patch", "noise", "blur", "babble", "white", "pink", "music", "dropout")
    """Kinds of corruption, each measured on its own."""
    snrs_db: tuple[float, ...] = (-5.0, 0.0, 5.0, 10.0, 15.0)
    """Signal-to-noise ratios of the corrupted sound."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the corruption; every clip is corrupted and read once for each."""
    beam: int = 40
    """Sentences that the search keeps."""
    ctc_weight: float = 0.1
    """Weight of CTC in the search, 0 to 1; 1 is CTC alone, for a decoder that has not learnt to end sentences yet."""
    language_weight: float = 0.5
    """Weight of the language model that each recogniser carries."""
    withhold: bool = False
    """Read with audio-visual recognisers also when they are given one of their streams only."""
    videos: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=FOLDER, or a folder, of generated videos of the corpus's clips, named as the corpus names them
    (SPEAKER/CLIP.mp4): their lips are read beside the real ones, in place of the corruptions; may be given
    several times."""
    readability: Path | None = None
    """With --videos: readability.json of `cals readability`, to see whether both readers agree."""
    workers: int = 1
    """Processes that read."""
    face_models: Path | None = None
    """Folder with the two face networks, for machines without a network."""
    device: str = "cpu"
    """Where the recognisers run, as torch names it."""
    force: bool = False
    """Overwrite earlier results, and unfinished work with other settings."""


def wer(options: Annotated[WerOptions, tyro.conf.arg(name="")]) -> None:
    """Read clips with speech recognisers, clean and corrupted, and count the words that are wrong.

    Started again with the same settings after an interruption, it goes on where it stopped.
    """
    from cals.evaluation.protocol.run import parse_folders
    from cals.evaluation.recognition.conditions import WerConfig
    from cals.evaluation.recognition.systems import name_models
    from cals.evaluation.recognition.wer import WerJob, measure_word_errors
    from cals.models.avsr.beam import BeamConfig

    config = WerConfig(
        parts=options.parts,
        clips=options.clips,
        corruption=options.corruption,
        kinds=options.kinds,
        snrs_db=options.snrs_db,
        seeds=options.seeds,
        withhold=options.withhold,
        beam=BeamConfig(beam=options.beam, ctc_weight=options.ctc_weight, language_weight=options.language_weight),
    )
    job = WerJob(
        corpus=options.corpus,
        models=name_models(options.model),
        config=config,
        splits=options.splits,
        videos=parse_folders(options.videos),
        face_models=options.face_models,
        device=options.device,
    )
    with show_progress(f"reading with {len(job.models)} models", "clips") as progress:
        report = measure_word_errors(
            job,
            options.out,
            readability=options.readability,
            workers=options.workers,
            force=options.force,
            progress=progress,
        )
    print(report.format_tables(brief=True))
    print(f"{options.out}: {', '.join(report.files)}")
