"""Files of the server that a request names: below the folder of inputs, and nowhere else."""

from pathlib import Path
from typing import Any

from cals.files import suggest_path
from cals.inference.dub_voices import VOICE_SUFFIXES
from cals.serve.config import refuse


def find_input(name: str, value: Any, inputs: Path | None) -> Path:
    """Return the real path of a file that a request names; RequestError unless it is below `inputs`.

    Links are followed first, so that none leads outside. Whether something exists elsewhere is not told.
    """
    path = _resolve(name, value, inputs)
    if path is None or not path.is_file():
        raise refuse(f"{name}: expected a file below the folder of inputs, found {str(value)[:80]!r}; name one")
    return path


def find_voices(name: str, value: Any, inputs: Path | None) -> list[tuple[str, Path]]:
    """Return the sound files of a folder that a request names, or the one file, by their own names, as `find_input`."""
    folder = _resolve(name, value, inputs)
    if folder is None or not folder.is_dir():
        return [(Path(str(value)).name, find_input(name, value, inputs))]
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in VOICE_SUFFIXES)
    except OSError as error:
        raise refuse(f"{name}: expected a folder that can be read, found {str(value)[:80]!r}; name another") from error
    found = [(path.name, _resolve(name, path, inputs)) for path in files]
    # links that lead outside are left out, as if nothing were there
    return [(own, path) for own, path in found if path is not None and path.is_file()]


def _resolve(name: str, value: Any, inputs: Path | None) -> Path | None:
    """Return the real path of a file or folder, None unless it is below `inputs`."""
    text = str(value)
    if (hint := suggest_path(Path(text))) or "://" in text:
        raise refuse(f"{name}: expected a file, found {text[:80]!r}; {hint or 'nothing is fetched: send the file'}")
    if inputs is None:
        raise refuse(
            f"{name}: expected a file that is sent, found the path {text[:80]!r}; send it, or start cals serve with "
            "--inputs"
        )
    root = inputs.resolve()
    try:
        path = (root / text).resolve(strict=True)
        return path if path.is_relative_to(root) and str(path) == str(path).strip() else None
    except (OSError, ValueError, RuntimeError):
        return None
