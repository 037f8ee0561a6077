"""Tags of a file that are text."""

from pathlib import Path

from cals.errors import MediaError
from cals.media.opening import open_input


def read_comment(path: Path) -> str:
    """Read the comment of a media file; empty where it has none or cannot be read."""
    try:
        with open_input(path) as container:
            tags = {name.lower(): value for name, value in container.metadata.items()}
    except MediaError:
        return ""
    return tags.get("comment", "")
