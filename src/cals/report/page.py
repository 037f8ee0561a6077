"""Frame of an HTML page of results: one file in one style, which any browser opens from disk."""

from collections.abc import Mapping
from html import escape

from cals.report.page_style import SCRIPT, STYLE


def render_document(title: str, header: str, main: str) -> str:
    """Render a page from HTML of its header and of its main part; without scripts only sorting is missing."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<header>{header}</header><main>{main}</main><script>{SCRIPT}</script></body></html>"
    )


def render_section(anchor: str, title: str, body: str) -> str:
    """Render a section that links reach by `#anchor`; `body` is HTML."""
    return f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{escape(title)}</h2>{body}</section>'


def render_definitions(meanings: Mapping[str, str]) -> str:
    """Render a list of terms, or settings, with what they are."""
    lines = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in meanings.items())
    return f"<dl>{lines}</dl>"


def wrap_table(table: str, name: str) -> str:
    """Wrap a table in a region that keyboards can scroll."""
    return f'<div class="wide" role="region" tabindex="0" aria-label="{escape(name, quote=True)}">{table}</div>'
