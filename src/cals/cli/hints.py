"""What a command line that cannot be meant as it stands probably means."""

import difflib
import re
from collections.abc import Iterable, Sequence

_FILE_NAME = re.compile(r"-.*\.[A-Za-z]\w{1,4}", re.DOTALL)


def hint_for(arguments: Sequence[str], commands: Iterable[str]) -> str | None:
    """One line about a misspelt command, or a file name that would be read as an option; None if there is neither."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
        names = list(commands)
        near = difflib.get_close_matches(arguments[0].lower(), names, n=1)
        todo = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(names)}"
        return f"expected a command, found '{arguments[0]}'; {todo}"
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if _FILE_NAME.fullmatch(argument) and not argument.startswith("--"):
            where = f"{before}: " if before.startswith("--") else ""
            return f"{where}expected a file, found '{argument}', which reads as an option; write './{argument}'"
    return None
