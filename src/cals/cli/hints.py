"""Hints for command lines with a probable typing error."""

import difflib
import re
from collections.abc import Iterable, Sequence

_FILE_NAME = re.compile(r"-.*\.[A-Za-z]\w{1,4}", re.DOTALL)


def find_hint(arguments: Sequence[str], commands: Iterable[str]) -> str | None:
    """Return one line about a misspelt command, or a file name that reads as an option; None if there is neither."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
        names = list(commands)
        matches = difflib.get_close_matches(arguments[0].lower(), names, n=1)
        advice = f"did you mean {matches[0]}?" if matches else f"choose one of {', '.join(names)}"
        return f"expected a command, found '{arguments[0]}'; {advice}"
    for previous, argument in zip(["", *arguments], arguments, strict=False):
        if _FILE_NAME.fullmatch(argument) and not argument.startswith("--"):
            prefix = f"{previous}: " if previous.startswith("--") else ""
            return f"{prefix}expected a file, found '{argument}', which reads as an option; write './{argument}'"
    return None
