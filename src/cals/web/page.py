"""The page: its three tabs and how it looks."""

from pathlib import Path

import gradio as gr

from cals.web.batch_tab import BatchTab
from cals.web.dub_tab import DubTab
from cals.web.engine import Engine
from cals.web.score_tab import ScoreTab
from cals.web.sessions import Sessions

_FOLDER = Path(__file__).parent
STYLE = _FOLDER / "page.css"
HEAD = (
    "<style>@media (max-width: 640px) { .main.app { padding: 0.5rem !important; } }</style>"  # beyond `STYLE`'s reach
    f"<script>{(_FOLDER / 'page.js').read_text(encoding='utf-8')}</script>"
)
_SYSTEM_FONTS, _SYSTEM_MONO = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
_CLEAN_S = (600, 6 * 3600)
"""Files whose page was never heard of again go after the second, looked for after the first."""


def build_theme() -> gr.themes.Base:
    """Build a theme that fetches no fonts."""
    return gr.themes.Default(primary_hue="indigo", font=_SYSTEM_FONTS, font_mono=_SYSTEM_MONO)


def build_page(engine: Engine, sessions: Sessions) -> gr.Blocks:
    """Build the page over loaded models."""
    page: gr.Blocks
    with gr.Blocks(title="cals", analytics_enabled=False, delete_cache=_CLEAN_S) as page:
        gr.HTML(
            "<h1>cals</h1><p>Drop a video or photo of a face and a speech, and get a video in which the face says it. "
            "Files stay on the machine that runs this page, and go when you close it.</p>",
            elem_classes="cals-head",
        )
        consent = gr.Checkbox(
            label="Everyone whose face or voice I use here has agreed to it.", elem_id="consent", container=False
        )
        with gr.Tabs():
            with gr.Tab("Make a video"):
                DubTab(engine, sessions).build(consent)
            with gr.Tab("Many"):
                BatchTab(engine, sessions).build(consent)
            with gr.Tab("Check"):
                ScoreTab(engine, sessions).build()

        def close_session(request: gr.Request) -> None:
            sessions.close(request.session_hash)

        page.unload(close_session)
        page.load(None, js="() => { document.body.dataset.cals = 'ready'; }")
    page.queue(max_size=32, api_open=False)
    return page
