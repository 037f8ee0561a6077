"""What the tabs share: consent, jobs that report their progress, and a way to cancel them."""

import logging
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import gradio as gr

from cals.errors import CalsError, ConfigError
from cals.types import ProgressCallback
from cals.web.engine import Engine
from cals.web.jobs import Job, JobCancelledError
from cals.web.markup import render_error, render_note, render_progress
from cals.web.sessions import Session, Sessions

_log = logging.getLogger(__name__)
T = TypeVar("T")
_CANCELLED = "Cancelled. Nothing was kept."
QUEUE: dict[str, Any] = {
    "concurrency_limit": 1,
    "concurrency_id": "model",
    "show_progress": "hidden",
    "api_visibility": "private",
}
"""Arguments of events that run the model: one at a time, the others wait for their turn."""
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


class Tab:
    """A tab with a note on the job, and a button that cancels it."""

    def __init__(self, engine: Engine, sessions: Sessions) -> None:
        self.engine, self.sessions = engine, sessions

    def build_cancel(self) -> None:
        """Add the note and the button."""
        self.note = gr.HTML(elem_classes="cals-slot")
        self.cancel = gr.Button("Cancel", visible=False, elem_classes="cals-cancel")

    def connect(
        self, button: gr.Button, work: Callable[..., Any], inputs: list[Any], outputs: list[Any]
    ) -> dict[str, Any]:
        """Run `work` when the button is pressed; it yields values of note, cancel button and `outputs`."""
        wait = button.click(_show_waiting, None, [self.note, self.cancel], queue=False, **QUICK)
        event: dict[str, Any] = wait.then(work, inputs, [self.note, self.cancel, *outputs], **QUEUE)
        return event

    def connect_cancel(self, events: list[dict[str, Any]]) -> None:
        """Let the button cancel `events`, whether they wait or run."""
        self.cancel.click(self._cancel, None, [self.note, self.cancel], cancels=events, queue=False, **QUICK)

    def run(
        self, session: Session, title: str, work: Callable[[ProgressCallback], T], others: tuple[Any, ...]
    ) -> Generator[tuple[Any, ...], None, T]:
        """Run a job, yield its progress and `others`, return its result or raise its error."""
        job = Job(work)
        session.begin(job)
        for progress in job.iterate_progress():
            yield render_progress(progress, title), gr.Button(visible=True), *others
        return job.get_result()

    def show_errors(self, steps: Iterator[tuple[Any, ...]], outputs: int) -> Iterator[tuple[Any, ...]]:
        """Yield what `steps` yield, at last an error that they raise, in words, with `outputs` left as they are."""
        try:
            yield from steps
            return
        except JobCancelledError:
            note = render_note(_CANCELLED)
        except Exception as error:
            if not isinstance(error, CalsError):
                _log.error("a job of the page failed", exc_info=error)
            note = render_error(self.sessions.describe_error(error))
        yield note, gr.Button(visible=False), *[gr.skip()] * outputs

    def _cancel(self, request: gr.Request) -> tuple[str, Any]:
        self.sessions.get(request.session_hash).cancel()
        return render_note(_CANCELLED), gr.Button(visible=False)


def check_consent(consent: bool) -> None:
    """Raise ConfigError where the box is not ticked."""
    if not consent:
        raise ConfigError("First tick the box at the top: everyone whose face or voice is used has to agree.")


def _show_waiting() -> tuple[str, Any]:
    return render_note("Waiting for its turn ..."), gr.Button(visible=True)
