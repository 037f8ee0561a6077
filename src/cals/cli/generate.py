"""`cals generate`: the main command."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals import hub
from cals.cli.progress import show_progress
from cals.options import EncodeOptions, GenerateOptions

_DEFAULT, _ENCODE = GenerateOptions(), EncodeOptions()


def generate(
    *,
    face: Path,
    audio: Path,
    out: Annotated[Path, tyro.conf.arg(aliases=["--outfile"])],
    model: str = hub.DEFAULT_MODEL,
    options: Annotated[GenerateOptions, tyro.conf.arg(name="")] = _DEFAULT,
    encode: Annotated[EncodeOptions, tyro.conf.arg(name="")] = _ENCODE,
    face_models: Path | None = None,
    device: str = "cpu",
    batch: int = 8,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    report: Path | None = None,
    cache: Path | None = None,
    force: bool = False,
    provenance: bool = True,
) -> None:
    """Make the face of a video or photo say a speech.

    Use it only on people who agreed to it; the result carries a note that it is synthetic.

    Args:
        face: Video or image with the face.
        audio: Speech: any sound file, or a video with sound.
        out: The video to write: .mp4, .m4v, .mov, .mkv or .webm.
        model: A name from `cals models list`, or a checkpoint folder.
        options: What is generated.
        encode: How it is encoded.
        face_models: Folder with the two face networks, for machines without a network.
        device: Where the model runs, as torch names it.
        batch: Frames drawn at once.
        precision: What mouths are drawn in; `auto` is bf16 where that is faster, else fp32.
        report: Write what happened to every frame to this JSON file.
        cache: Folder that keeps the faces of videos, so that further speeches of one video need not track it again.
        force: Overwrite an existing output.
        provenance: Note in the file that the mouth is generated.
    """
    from cals.inference.lipsync import LipSync

    lips = LipSync(model, face_models=face_models, device=device, batch=batch, precision=precision, cache=cache)
    with show_progress("generating") as progress:
        result = lips.generate(
            face,
            audio,
            out,
            options,
            encode=encode,
            force=force,
            provenance=provenance,
            report=report,
            progress=progress,
        )
    print(f"{out}: {result.line()}")
