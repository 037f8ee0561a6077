"""`cals evaluate`: models and other systems' videos on held-out clips, in one table."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from cals.cli.progress import show_progress
from cals.evaluation.protocol.options import EvaluationOptions

if TYPE_CHECKING:
    from cals.evaluation.protocol.pairs import PairList

_Repeated = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
QUICK, HEADS = "quick", "heads"
_SCORING = EvaluationOptions()


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `cals evaluate`."""

    corpus: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[quick|heads] CORPUS")]
    """A folder with talking videos, a sub-folder a speaker; GRID's .align files beside them give the words."""
    out: Path
    """The folder for report.json, report.md, index.html and what they are made from."""
    model: _Repeated = ()
    """A name from `cals models list`, a checkpoint folder, or NAME=FOLDER; may be given several times."""
    generated: _Repeated = ()
    """NAME=FOLDER of videos that any system made of these pairs, called by their ids (see --list-only);
    may be given several times."""
    drive: Literal["pairs", "rolled"] = "pairs"
    """Sounds: each clip's own and another's, or only its own, brought in step and rolled by half its length."""
    splits: Path | None = None
    """JSON file with the clip names of each part; default: all clips are one part."""
    parts: tuple[str, ...] = ("val_seen", "val_unseen")
    """Parts of the splits to use."""
    clips: int | None = None
    """At most so many clips per part, drawn at random; default: all."""
    seconds: float = 10.0
    """Longest part of a clip or sound that counts, from its beginning."""
    seed: int = 0
    """Seed of the drawing of pairs and of the bootstrap."""
    pairs: Path | None = None
    """A pairs.json that was written before, in place of drawing."""
    list_only: bool = False
    """Only write pairs.json and the driving sounds, for other systems to be run on."""
    force: bool = False
    """Overwrite an earlier report and list; what is measured already is kept."""


def evaluate(
    options: Annotated[Options, tyro.conf.arg(name="")],
    scoring: Annotated[EvaluationOptions, tyro.conf.arg(name="")] = _SCORING,
) -> None:
    """Drive held-out faces by their own and by others' sound, and compare with the real clips and with baselines.

    With `--drive rolled` any folder of people talking freely will do, without splits, words or a second clip: each face
    is driven by its own sound half a clip too late, and compared with the mouth that belongs to it.

    Started again after an interruption, or with further methods, it goes on where it stopped. With the word `quick`
    before the corpus: one model only, how its mouth moves against what was said, and a contact sheet; of the options
    it takes --splits, --model, --out, --sync, --parts, --clips, --face-models, --device, --batch and --force.

    With the word `heads` before a corpus made by `cals prepare`: how the heads of a model of PC-AVS or Audio2Head are
    held against the pose source or the real head, who they are, and how their mouth moves; with --splits, --model,
    --out, --parts, --clips, --face-models, --device and --force.
    """
    from cals.errors import ConfigError

    match options.corpus:
        case (first, corpus) if first == QUICK:
            _run_quick(Path(corpus), options, scoring)
        case (first, corpus) if first == HEADS:
            _run_heads(Path(corpus), options, scoring)
        case (corpus,):
            _run_protocol(Path(corpus), options, scoring)
        case words:
            raise ConfigError(f"evaluate: expected one corpus, found {' '.join(words) or 'none'}; name its folder")


def _run_protocol(corpus: Path, options: Options, scoring: EvaluationOptions) -> None:
    from cals.evaluation.protocol.pair_scorer import EvaluationConfig
    from cals.evaluation.protocol.run import FILES, SHEET, evaluate, parse_folders, parse_models

    pairs = _load_pairs(corpus, options, scoring)
    if options.list_only:
        _write_list(corpus, options, scoring, pairs)
        return
    config = EvaluationConfig(
        models=parse_models(options.model),
        generated=parse_folders(options.generated),
        **vars(scoring),
    )
    with show_progress("evaluating", "pairs") as progress:
        report = evaluate(corpus, pairs, options.out, config, force=options.force, progress=progress)
    print(report.format_text())
    print(f"{options.out}: {', '.join((*FILES, SHEET) if pairs.has_rolled_sounds else FILES)}")


def _load_pairs(corpus: Path, options: Options, scoring: EvaluationOptions) -> "PairList":
    """Read the pairs of a list, or draw them from the splits."""
    from cals.errors import ConfigError
    from cals.evaluation.protocol.pairs import PairsConfig, draw_pairs, read_pairs

    rolled = options.drive == "rolled"
    if options.pairs is not None and options.splits is not None:
        raise ConfigError("pairs: expected a list or splits to draw one from, found both; give one of them")
    if options.pairs is not None:
        pairs = read_pairs(options.pairs, corpus)
    else:
        drawing = PairsConfig(
            parts=options.parts, clips=options.clips, seconds=options.seconds, seed=options.seed, rolled=rolled
        )
        pairs = draw_pairs(corpus, options.splits, drawing)
    if (rolled or scoring.offsets is not None) and not pairs.has_rolled_sounds:
        raise ConfigError(
            "drive: expected --offsets only with rolled sounds, and --drive rolled only with a list of such, found "
            "others; leave them out, or give --drive rolled without --pairs"
        )
    return pairs


def _write_list(corpus: Path, options: Options, scoring: EvaluationOptions, pairs: "PairList") -> None:
    """Write pairs and sounds for other systems."""
    from cals.evaluation.protocol.pairs import PAIRS, SOUNDS, write_pairs
    from cals.evaluation.protocol.roll import load_offset_models, read_pair_offsets, write_roll_pairs

    with show_progress("writing sounds", "pairs") as progress:
        if pairs.has_rolled_sounds:
            tools = load_offset_models(scoring.sync, scoring.syncnet, scoring.face_models, scoring.device)
            known_offsets = read_pair_offsets(scoring.offsets, pairs)
            write_roll_pairs(pairs, corpus, options.out, *tools, known_offsets, force=options.force, progress=progress)
        else:
            write_pairs(pairs, corpus, options.out, force=options.force, progress=progress)
    print(f"{options.out}: {PAIRS} and {SOUNDS}/ for {len(pairs.pairs)} pairs")


def _run_quick(corpus: Path, options: Options, scoring: EvaluationOptions) -> None:
    from cals.errors import ConfigError
    from cals.evaluation.quick import QuickConfig, evaluate_quick
    from cals.inference.lipsync import LipSync

    if len(options.model) != 1 or options.splits is None:
        raise ConfigError("quick: expected one --model and --splits, found others; give one of each")
    config = QuickConfig(parts=options.parts, clips=options.clips)
    lips = LipSync(
        options.model[0],
        face_models=scoring.face_models,
        device=scoring.device,
        batch=scoring.batch,
    )
    with show_progress(f"evaluating {lips.model.name}", "clips") as progress:
        report = evaluate_quick(
            corpus,
            options.splits,
            lips,
            options.out,
            config,
            sync=scoring.sync,
            face_models=scoring.face_models,
            force=options.force,
            progress=progress,
        )
    print(report.format_tables())
    print(f"{options.out}: quick.json, quick.md, sheet.png")


def _run_heads(corpus: Path, options: Options, scoring: EvaluationOptions) -> None:
    from cals import hub
    from cals.errors import ConfigError
    from cals.evaluation.clips import ClipsConfig
    from cals.evaluation.heads import evaluate_heads
    from cals.face.detector import BlazeFaceMesh, FaceModels
    from cals.inference.load import load_model

    if len(options.model) != 1 or options.splits is None:
        raise ConfigError("heads: expected one --model and --splits, found others; give one of each")
    model = load_model(options.model[0])
    model.network.to(scoring.device)
    detector = BlazeFaceMesh(FaceModels(*hub.read_face_models(scoring.face_models)))
    config = ClipsConfig(parts=options.parts, clips=options.clips)
    with show_progress(f"evaluating {model.name}", "clips") as progress:
        report = evaluate_heads(
            corpus, options.splits, model, options.out, config, detector, force=options.force, progress=progress
        )
    print(report.format_text())
    print(f"{options.out}: heads.json, heads.png")
