"""The tab for many videos at once, and for a video dubbed by subtitles."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from cals.errors import CalsError, ConfigError
from cals.inference.report import GenerateReport
from cals.types import ProgressCallback
from cals.web.engine import Engine
from cals.web.markup import render_table
from cals.web.sessions import Session
from cals.web.tab import Tab, check_consent

_MAX_JOBS = 50


@dataclass(frozen=True, kw_only=True)
class BatchItem:
    """One video to make."""

    name: str
    out: Path
    work: Callable[[ProgressCallback], GenerateReport]


def plan_batch(
    engine: Engine, faces: Sequence[Path], sounds: Sequence[Path], subtitles: Path | None, folder: Path
) -> list[BatchItem]:
    """Plan what is made of the files; ConfigError where that is not clear.

    With subtitles one video is dubbed by voices that are called by number. Else one face says each speech, each face
    says the one speech, or faces and speeches go together by name: anna.mp4 and anna.wav.
    """
    if not faces or not sounds:
        raise ConfigError("First choose the videos or photos, and the speeches.")
    if subtitles is not None:
        return [_plan_subtitles(engine, faces, sounds, subtitles, folder)]
    items = []
    for number, (face, sound) in enumerate(_pair(faces, sounds), 1):
        out = folder / f"{number:02d}-{face.stem}-{sound.stem}.mp4"
        items.append(
            BatchItem(name=f"{face.name} says {sound.name}", out=out, work=partial(engine.speak, face, sound, out))
        )
    if len(items) > _MAX_JOBS:
        raise ConfigError(f"Expected at most {_MAX_JOBS} videos at once, found {len(items)}; choose fewer.")
    return items


def _plan_subtitles(
    engine: Engine, faces: Sequence[Path], sounds: Sequence[Path], subtitles: Path, folder: Path
) -> BatchItem:
    if len(faces) != 1:
        raise ConfigError(f"Subtitles belong to one video; {len(faces)} were chosen.")
    voices, out = folder / "voices", folder / f"{faces[0].stem}-dub.mp4"
    voices.mkdir()
    for sound in sounds:
        shutil.copyfile(sound, voices / sound.name)
    work = partial(engine.dub_subtitles, faces[0], subtitles, voices, out)
    return BatchItem(name=f"{faces[0].name} by {subtitles.name}", out=out, work=work)


def _pair(faces: Sequence[Path], sounds: Sequence[Path]) -> list[tuple[Path, Path]]:
    if len(faces) == 1 or len(sounds) == 1:
        return [(face, sound) for face in faces for sound in sounds]
    by_name = {sound.stem.lower(): sound for sound in sounds}
    missing = [face.name for face in faces if face.stem.lower() not in by_name]
    if missing or len(by_name) != len(faces):
        raise ConfigError(
            "Give each speech the name of its video, such as anna.mp4 and anna.wav"
            + (f"; there is no speech called like {missing[0]}." if missing else "; there are more speeches.")
        )
    return [(face, by_name[face.stem.lower()]) for face in faces]


class BatchTab(Tab):
    """Files, a table of jobs, and the downloads."""

    def build(self, consent: gr.Checkbox) -> None:
        """Add the tab's pieces and events."""
        gr.Markdown(
            "One face with many speeches, many faces with one speech, or pairs by name (anna.mp4 and anna.wav). With "
            "subtitles: one video, and a voice for each line called by its number (1.wav, 2.wav)."
        )
        with gr.Row():
            inputs = [
                gr.File(
                    label="Videos or photos",
                    file_count="multiple",
                    file_types=["video", "image"],
                    elem_id="batch-faces",
                    height=160,
                ),
                gr.File(
                    label="Speeches or voices",
                    file_count="multiple",
                    file_types=["audio", "video"],
                    elem_id="batch-sounds",
                    height=160,
                ),
                gr.File(
                    label="Subtitles (optional)", file_types=[".srt", ".vtt"], elem_id="batch-subtitles", height=160
                ),
            ]
        button = gr.Button("Make all", variant="primary", elem_id="batch")
        self.build_cancel()
        table = gr.HTML(elem_id="batch-result", elem_classes="cals-slot")
        self.connect_cancel([self.connect(button, self._run_all, [consent, *inputs], [table])])

    def _run_all(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        yield from self.show_errors(self._run(values, self.sessions.get(request.session_hash)), 1)

    def _run(self, values: Sequence[Any], session: Session) -> Iterator[tuple[Any, ...]]:
        consent, faces, sounds, subtitles = values
        check_consent(consent)
        videos, speeches = (self.sessions.take(session, files or []) for files in (faces, sounds))
        cues = None if subtitles is None else self.sessions.take(session, [subtitles])[0]
        items = plan_batch(self.engine, videos, speeches, cues, session.create_folder())
        rows: list[tuple[str, str, Path | None]] = [(item.name, "waits", None) for item in items]
        for number, item in enumerate(items):
            title = f"{item.name} ({number + 1} of {len(items)})"
            rows[number] = (item.name, "in work", None)
            try:
                report = yield from self.run(session, title, item.work, (render_table(rows),))
                rows[number] = (item.name, f"done, {report.seconds:.1f} s", item.out)
            except CalsError as error:  # the others go on
                rows[number] = (item.name, self.sessions.describe_error(error), None)
        yield "", gr.Button(visible=False), render_table(rows)
