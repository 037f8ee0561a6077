"""`cals verify`: what a file says of its making, and whether that still holds."""

import json
import sys
from pathlib import Path
from typing import Annotated

import tyro


def verify(
    file: Annotated[Path, tyro.conf.Positional],
    *,
    trust: Path | None = None,
    json_: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Tell what the signed manifest (C2PA) of a file says, whether the file was changed since, and who signed it.

    Exits 0 where the file is as it was signed, by whomever, and 1 where it was changed or has no valid manifest.

    Args:
        file: A video, photo or sound that may have a manifest, made by cals or by other software.
        trust: Root certificates that you trust, in one PEM file.
        json_: Print the result as JSON.
    """
    from cals.provenance.verify import verify_file

    result = verify_file(file, trust)
    print(json.dumps(result.document(), indent=1) if json_ else result.text())
    if not result.is_intact:
        sys.exit(1)
