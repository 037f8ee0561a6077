"""`cals generate`: the main command."""

from pathlib import Path
from typing import Annotated, TypedDict

import tyro

from cals import hub
from cals.cli.dub_options import DubOptions
from cals.cli.progress import show_progress
from cals.errors import ConfigError
from cals.options import EncodeOptions, GenerateOptions, Precision, ProvenanceOptions, Runtime
from cals.types import ProgressCallback

_DEFAULT, _ENCODE, _DUB, _PROVENANCE = GenerateOptions(), EncodeOptions(), DubOptions(), ProvenanceOptions()


def generate(
    *,
    face: Path,
    audio: Path | None = None,
    voice: Path | None = None,
    out: Annotated[Path, tyro.conf.arg(aliases=["--outfile"])],
    dub: Annotated[DubOptions, tyro.conf.arg(name="")] = _DUB,
    model: str = hub.DEFAULT_MODEL,
    options: Annotated[GenerateOptions, tyro.conf.arg(name="")] = _DEFAULT,
    encode: Annotated[EncodeOptions, tyro.conf.arg(name="")] = _ENCODE,
    face_models: Path | None = None,
    device: str = "cpu",
    batch: int = 8,
    precision: Precision = "auto",
    runtime: Runtime = "torch",
    report: Path | None = None,
    cache: Path | None = None,
    force: bool = False,
    provenance: Annotated[ProvenanceOptions, tyro.conf.arg(name="")] = _PROVENANCE,
) -> None:
    """Make the face of a video or photo say a speech.

    Use it only on people who agreed to it; the result says that it is synthetic, and `cals verify` reads it.

    Args:
        face: Video or image with the face.
        audio: Speech: any sound file, or a video with sound. With --speak or --segments: what is heard instead.
        voice: The speech alone, where --audio is a mix: this one drives the mouth.
        out: The video to write: .mp4, .m4v, .mov, .mkv or .webm.
        dub: Who says what, and when.
        model: A name from `cals models list`, or the folder of a checkpoint or an export.
        options: What is generated.
        encode: How it is encoded.
        face_models: Folder with the two face networks, for machines without a network.
        device: Where the model runs, as torch names it; with cuda the video is encoded there too where it can be.
        batch: Frames drawn at once.
        precision: What mouths are drawn in; `auto` is bf16 where that is faster, else fp32.
        runtime: What runs the networks; all but torch need a model that `cals models export` wrote, and then no torch.
        report: Write what happened to every frame to this JSON file.
        cache: Folder that keeps the faces of videos, so that further speeches of one video need not track it again.
        force: Overwrite an existing output.
        provenance: What the file says of its making.
    """
    from cals.inference.dub_request import write_dub
    from cals.inference.lipsync import LipSync

    request, is_auto = dub.build_request(voice), options.who_speaks == "auto"
    if request is not None:
        request.load(face, audio, options)  # what is wrong with it is said before a model is loaded
    elif audio is None:
        raise ConfigError("audio: expected a sound, found none; give --audio, or --speak or --segments")
    elif is_auto and voice is not None:
        raise ConfigError(f"voice: expected none beside --who-speaks auto, found {voice}; leave it out")
    lips = LipSync(
        model,
        face_models=face_models,
        device=device,
        batch=batch,
        precision=precision,
        runtime=runtime,
        cache=cache,
    )
    with show_progress("generating") as progress:
        output: OutputArguments = {
            "encode": encode,
            "force": force,
            "provenance": provenance,
            "report": report,
            "progress": progress,
        }
        if request is not None or is_auto:
            result = write_dub(lips, request, face, audio, out, options, **output)
        else:
            assert audio is not None
            result = lips.generate(face, audio, out, options, voice=voice, **output)
    for line in result.speakers:
        print(line)
    print(f"{out}: {result.line()}")


class OutputArguments(TypedDict):
    """Arguments that `LipSync.generate` and `LipSync.dub` share."""

    encode: EncodeOptions
    force: bool
    provenance: ProvenanceOptions
    report: Path | None
    progress: ProgressCallback
