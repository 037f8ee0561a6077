"""`cals wer`: word error rates of speech recognisers."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.progress import show_progress


def wer(
    corpus: Annotated[Path, tyro.conf.Positional],
    *,
    out: Path,
    model: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    splits: Path | None = None,
    parts: tuple[str, ...] = ("val_seen", "val_unseen"),
    clips: int | None = None,
    corruption: Literal["none", "audio", "video", "both", "all"] = "all",
    kinds: tuple[str, ...] = ("patch", "noise", "blur", "babble", "white", "pink", "music", "dropout"),
    snrs_db: tuple[float, ...] = (-5.0, 0.0, 5.0, 10.0, 15.0),
    seeds: tuple[int, ...] = (0,),
    beam: int = 40,
    language_weight: float = 0.5,
    withhold: bool = False,
    videos: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    readability: Path | None = None,
    workers: int = 1,
    face_models: Path | None = None,
    device: str = "cpu",
    force: bool = False,
) -> None:
    """Read clips with speech recognisers, clean and corrupted, and count the words that are wrong.

    Started again with the same settings after an interruption, it goes on where it stopped.

    Args:
        corpus: A folder made by `cals prepare` whose clips' text is known.
        model: NAME=FOLDER of a recogniser made by `cals train avsr`, or a folder; may be given several times, and with
            the same name for networks that were trained alike from other seeds.
        out: The folder for wer.json, wer.md and wer.png.
        splits: JSON file with the clip names of each part; default: all clips of the corpus.
        parts: Parts of the splits to read.
        clips: At most so many clips per part, evenly spaced; default: all.
        corruption: The streams that are corrupted: one, both at once, each of these in turn, or none. Clean clips are
            always read too.
        kinds: Kinds of corruption, each measured on its own.
        snrs_db: Signal-to-noise ratios of the corrupted sound.
        seeds: Seeds of the corruption; every clip is corrupted and read once for each.
        beam: Sentences that the search keeps.
        language_weight: Weight of the language model that each recogniser carries.
        withhold: Read with audio-visual recognisers also when they are given one of their streams only.
        videos: NAME=FOLDER, or a folder, of generated videos of the corpus's clips, named as the corpus names them
            (SPEAKER/CLIP.mp4): their lips are read beside the real ones, in place of the corruptions; may be given
            several times.
        readability: With --videos: readability.json of `cals readability`, to see whether both readers agree.
        workers: Processes that read.
        face_models: Folder with the two face networks, for machines without a network.
        device: Where the recognisers run, as torch names it.
        force: Overwrite earlier results, and unfinished work with other settings.
    """
    from cals.evaluation.protocol.run import parse_folders
    from cals.evaluation.recognition.conditions import WerConfig
    from cals.evaluation.recognition.systems import name_models
    from cals.evaluation.recognition.wer import WerJob, measure_word_errors
    from cals.models.avsr.beam import BeamConfig

    config = WerConfig(
        parts=parts,
        clips=clips,
        corruption=corruption,
        kinds=kinds,
        snrs_db=snrs_db,
        seeds=seeds,
        withhold=withhold,
        beam=BeamConfig(beam=beam, language_weight=language_weight),
    )
    job = WerJob(
        corpus=corpus,
        models=name_models(model),
        config=config,
        splits=splits,
        videos=parse_folders(videos),
        face_models=face_models,
        device=device,
    )
    with show_progress(f"reading with {len(job.models)} models", "clips") as progress:
        report = measure_word_errors(job, out, readability=readability, workers=workers, force=force, progress=progress)
    print(report.tables(brief=True))
    print(f"{out}: {', '.join(report.files)}")
