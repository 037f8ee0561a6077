"""The tab that measures whether lips and sound of a video fit."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from cals.errors import ConfigError
from cals.web.markup import render_lines
from cals.web.sessions import Session
from cals.web.tab import Tab
from cals.web.words import describe_score


class ScoreTab(Tab):
    """A video and its offset."""

    def build(self) -> None:
        """Add the tab's pieces and events."""
        gr.Markdown("Do sound and lips of a video fit together, and by how much is the sound early or late?")
        video = gr.File(label="A video with a face and speech", file_types=["video"], elem_id="score-video", height=140)
        button = gr.Button("Measure", variant="primary", elem_id="score")
        self.build_cancel()
        lines = gr.HTML(elem_id="score-result", elem_classes="cals-slot")
        self.connect_cancel([self.connect(button, self._score, [video], [lines])])

    def _score(self, file: str | None, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        yield from self.show_errors(self._run(file, self.sessions.get(request.session_hash)), 1)

    def _run(self, file: str | None, session: Session) -> Iterator[tuple[Any, ...]]:
        if file is None:
            raise ConfigError("First choose a video.")
        (path,) = self.sessions.take(session, [file])
        result = yield from self.run(session, "Measuring", partial(self.engine.score, path), ("",))
        yield "", gr.Button(visible=False), render_lines(describe_score(result))
