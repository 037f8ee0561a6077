"""Hooks of `mkdocs build`: take files outside of docs/ into the site, and keep external scripts, styles and fonts out.

On GitHub a page links to `../CONTRIBUTING.md`; the site has docs/ only. So a linked file of the repository is copied to
`source/` in the site under its path, and links to and from such files are written anew.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
COPIES = "source/"
LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)(?=[)#])")
EXTERNAL = re.compile(
    r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=\"?(?:https?:)?//[^>]*>|<link\b[^>]*\bhref=\"?(?:https?:)?//[^>]*>"
)
ALWAYS = ("CONTRIBUTING.md", "CHANGELOG.md")


def find_path(page: str, link: str) -> str:
    """Return the path in the repository that `link` of the site's page `page` leads to on GitHub."""
    origin = page.removeprefix(COPIES) if page.startswith(COPIES) else f"docs/{page}"
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))


def map_path(path: str) -> str:
    """Return where the site has the repository's file `path`."""
    return path.removeprefix("docs/") if path.startswith("docs/") else COPIES + path


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside of docs/ that pages link to, and those that these link to in turn."""
    waiting = [(file.src_uri, file.content_string) for file in files.documentation_pages()]
    waiting += [(COPIES, f"[]({name})") for name in ALWAYS]
    while waiting:
        page, text = waiting.pop()
        for link in LINK.findall(text):
            path = find_path(page, link)
            uri = map_path(path)
            if path.startswith("docs/") or files.get_file_from_path(uri) or not (ROOT / path).is_file():
                continue
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
            if path.endswith(".md"):
                waiting.append((uri, (ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the places of the site."""
    here = page.file.src_uri

    def rewrite(match: re.Match[str]) -> str:
        return posixpath.relpath(map_path(find_path(here, match[1])), posixpath.dirname(here) or ".")

    return LINK.sub(rewrite, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Raise PluginError where a page loads anything from elsewhere."""
    found = EXTERNAL.search(output)
    if found:
        raise PluginError(f"{page.file.src_uri}: expected a page that loads nothing from elsewhere, found {found[0]}")
    return output
