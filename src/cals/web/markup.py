"""HTML of the page's own pieces: progress, messages, the faces to choose from, and the two videos side by side."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from cals.web.faces import FirstFaces
from cals.web.jobs import Progress
from cals.web.words import describe_progress


def build_url(path: Path) -> str:
    """Return the address under which Gradio serves a file of its folder."""
    return f"/gradio_api/file={quote(str(path))}"


def render_progress(progress: Progress, title: str) -> str:
    """Render a bar with what is being done and the time left."""
    value = "" if progress.share is None else f' value="{progress.share:.3f}"'
    text = escape(describe_progress(progress, title))
    return f'<div role="status" class="cals-note"><progress max="1"{value}></progress><p>{text}</p></div>'


def render_note(text: str) -> str:
    """Render a message that all is well."""
    return f'<div role="status" class="cals-note"><p>{escape(text)}</p></div>'


def render_error(text: str) -> str:
    """Render a message that something has to be done."""
    return f'<div role="alert" class="cals-note cals-error"><p>{escape(text)}</p></div>'


def render_faces(faces: FirstFaces, chosen: Sequence[str]) -> str:
    """Render the first picture with a button over each face."""
    width, height = faces.size
    buttons = []
    for number, (name, box) in enumerate(zip(faces.names, faces.boxes, strict=True)):
        place = (
            f"left:{100 * box.x0 / width:.2f}%;top:{100 * box.y0 / height:.2f}%;"
            f"width:{100 * box.width / width:.2f}%;height:{100 * box.height / height:.2f}%"
        )
        pressed = "true" if name in chosen else "false"
        buttons.append(
            f'<button type="button" class="cals-face" data-face="{number}" aria-pressed="{pressed}" '
            f'aria-label="{name}" style="{place}"><span>{number + 1}</span></button>'
        )
    return (
        f'<div class="cals-faces"><img src="{build_url(faces.still)}" alt="First picture with '
        f'{len(faces.boxes)} face(s)">{"".join(buttons)}</div>'
    )


def render_pair(faces: FirstFaces, video: Path, title: str) -> str:
    """Render original and result side by side with one button, and the download."""
    still = build_url(faces.still)
    original = (
        f'<img src="{still}" alt="the original photo">'
        if faces.is_photo
        else f'<video class="cals-original" src="{build_url(faces.path)}" poster="{still}" muted loop playsinline '
        'preload="auto" tabindex="-1"></video>'
    )
    result = f'<video class="cals-result" src="{build_url(video)}" playsinline preload="auto" tabindex="-1"></video>'
    return (
        f'<div class="cals-pair"><figure>{original}<figcaption>Original</figcaption></figure>'
        f"<figure>{result}<figcaption>{escape(title)}</figcaption></figure></div>"
        '<div class="cals-actions"><button type="button" class="cals-play">Play both</button>'
        f'<a class="cals-download" href="{build_url(video)}" download="{escape(video.name)}">Download {escape(title)}'
        "</a></div>"
    )


def render_lines(lines: Iterable[str]) -> str:
    """Render sentences as a list."""
    return f'<ul class="cals-lines">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>'


def render_table(rows: Iterable[tuple[str, str, Path | None]]) -> str:
    """Render the jobs of a batch: name, what became of it, and its download."""
    cells = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{escape(status)}</td><td>{_render_link(path)}</td></tr>"
        for name, status, path in rows
    )
    return f'<table class="cals-table"><tbody>{cells}</tbody></table>'


def _render_link(path: Path | None) -> str:
    if path is None:
        return ""
    return f'<a href="{build_url(path)}" download="{escape(path.name)}">Download</a>'
