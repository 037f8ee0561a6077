"""Tables and lists as Markdown."""

from collections.abc import Mapping, Sequence


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, aligned: bool = True) -> str:
    """Format a Markdown table; with `aligned`, columns line up as plain text too."""
    head, rows = _escape(head), [_escape(row) for row in rows]
    widths = [max(len(row[i]) for row in [head, *rows]) if aligned else 0 for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in [head, *rows]
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2 if aligned else 3) for w in widths) + "|")
    return "\n".join(lines)


def _escape(cells: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|") for cell in cells]


def format_settings(settings: Mapping[str, object]) -> str:
    """Format the settings of a report as a Markdown list."""
    return "\n".join(f"- {name}: {value}" for name, value in settings.items())
