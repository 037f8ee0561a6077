"""The main tab: a face and a speech become a video."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import gradio as gr

import cals
from cals.errors import CalsError, ConfigError
from cals.options import STRENGTH_RANGE, EncodeOptions, GenerateOptions
from cals.web.engine import PREVIEW_S, DubRequest, DubResult
from cals.web.markup import render_error, render_faces, render_lines, render_pair
from cals.web.sessions import DAMAGED_OPTION, Session
from cals.web.tab import QUICK, Tab, check_consent
from cals.web.words import describe_report, describe_sync

MAX_SPEAKERS = 4
Slots = list[str | None]
"""The face that each sound belongs to."""
_LENGTHS = [
    ("As long as the speech; a shorter video runs back and forth", "bounce"),
    ("As long as the speech; a shorter video starts again", "loop"),
    ("As long as the speech; a shorter video stands still at its end", "audio"),
    ("As long as the video", "video"),
]
_SILENCES = [
    ("The mouth rests", "rest"),
    ("The mouth moves as in the video", "keep"),
    ("The mouth moves with any sound, for songs", "drive"),
]
_SMALL_CRF = 27
_QUALITIES = [("As good as the original", "best"), ("A smaller file", "small")]


def assign_slots(slots: Slots, chosen: Sequence[str]) -> Slots:
    """Assign the sounds to the chosen faces: who stays keeps theirs, who is new takes that of one who left."""
    waiting = [name for name in chosen if name not in slots]
    return [slot if slot in chosen else (waiting.pop(0) if waiting else None) for slot in slots]


class DubTab(Tab):
    """Face, speech, options; preview and result."""

    def build(self, consent: gr.Checkbox) -> None:
        """Add the tab's pieces and events."""
        with gr.Row():
            with gr.Column():
                self._build_inputs()
                self._build_options()
            with gr.Column():
                with gr.Row(elem_classes="cals-run"):
                    preview = gr.Button(f"Preview {PREVIEW_S} s", elem_id="preview")
                    make = gr.Button("Make the video", variant="primary", elem_id="make")
                self.build_cancel()
                self._result = gr.HTML(elem_id="result", elem_classes="cals-slot")
                self._report = gr.HTML(elem_id="report", elem_classes="cals-slot")
        inputs = [consent, self._slots, *self._sounds, *self._options]
        outputs = [self._result, self._report]
        events = [
            self.connect(preview, self._preview, inputs, outputs),
            self.connect(make, self._make, inputs, outputs),
        ]
        self.connect_cancel(events)
        for source in (self._upload, self._record):
            source.change(
                self._show_faces, [source, self._slots], [self._faces, self._who, self._slots, *self._sounds], **QUICK
            )
        self._who.change(
            self._choose,
            [self._who, self._slots],
            [self._slots, *self._sounds],
            trigger_mode="always_last",
            queue=False,
            **QUICK,
        )

    def _build_inputs(self) -> None:
        with gr.Tabs():
            with gr.Tab("Video or photo"):
                self._upload = gr.File(
                    label="Who speaks: a video or photo with a face",
                    file_types=["video", "image"],
                    elem_id="face",
                    height=140,
                )
            with gr.Tab("Record"):
                self._record = gr.Video(
                    label="Record a face",
                    sources=["webcam"],
                    include_audio=True,
                    webcam_options=gr.WebcamOptions(mirror=False),
                    elem_id="record",
                )
        self._faces = gr.HTML(elem_id="faces", elem_classes="cals-slot")
        self._who = gr.CheckboxGroup(
            [], label="Who speaks", info="Click a face, or tick several: a sound each.", visible=False, elem_id="who"
        )
        self._slots = gr.State([None] * MAX_SPEAKERS)
        self._sounds = [
            gr.Audio(
                label="Speech",
                type="filepath",
                sources=["upload", "microphone"],
                editable=False,
                buttons=[],
                visible=number == 0,
                elem_id=f"speech{number}",
            )
            for number in range(MAX_SPEAKERS)
        ]

    def _build_options(self) -> None:
        low, high = STRENGTH_RANGE
        default = GenerateOptions()
        with gr.Accordion("Options", open=False):
            self._options = [
                gr.Slider(
                    low,
                    high,
                    value=default.strength,
                    step=0.05,
                    label="Strength of the mouth's motion",
                    visible=self.engine.has_strength,
                ),
                gr.Radio(_LENGTHS, value=default.length, label="Length, where one person speaks"),
                gr.Radio(_SILENCES, value=default.silence, label="Where nobody speaks"),
                gr.Radio(_QUALITIES, value="best", label="Quality"),
                gr.Checkbox(label=DAMAGED_OPTION, container=False),
            ]

    def _show_faces(self, file: str | None, slots: Slots, request: gr.Request) -> tuple[Any, ...]:
        session = self.sessions.get(request.session_hash)
        session.faces = None
        hidden = ("", gr.CheckboxGroup([], value=[], visible=False), *self._lay_out(slots, []))
        if file is None:
            return hidden
        try:
            (path,) = self.sessions.take(session, [file])
            faces = session.faces = self.engine.find_faces(path, session.create_folder())
        except CalsError as error:
            return (render_error(self.sessions.describe_error(error)), *hidden[1:])
        largest = max(range(len(faces.boxes)), key=lambda number: faces.boxes[number].width)
        chosen = [faces.names[largest]]
        who = gr.CheckboxGroup(faces.names, value=chosen, visible=len(faces.names) > 1)
        return render_faces(faces, chosen), who, *self._lay_out(slots, chosen)

    def _choose(self, chosen: list[str], slots: Slots) -> tuple[Any, ...]:
        return self._lay_out(slots, chosen[:MAX_SPEAKERS])

    def _lay_out(self, slots: Slots, chosen: Sequence[str]) -> tuple[Any, ...]:
        """Return the new slots and the fields for sounds that belong to them."""
        slots = assign_slots(slots, chosen)
        fields = []
        for number, name in enumerate(slots):
            if name is None and (chosen or number):
                fields.append(gr.Audio(visible=False, value=None))
            else:
                fields.append(gr.Audio(visible=True, label=f"What {name} says" if len(chosen) > 1 else "Speech"))
        return slots, *fields

    def _preview(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        yield from self.show_errors(self._run("preview", values, self.sessions.get(request.session_hash)), 2)

    def _make(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        yield from self.show_errors(self._run("video", values, self.sessions.get(request.session_hash)), 2)

    def _run(self, title: str, values: Sequence[Any], session: Session) -> Iterator[tuple[Any, ...]]:
        request, is_preview = self._read(values, session), title == "preview"
        work = partial(self.engine.preview if is_preview else self.engine.generate, request, session.create_folder())
        result = yield from self.run(session, f"Making the {title}", work, (gr.skip(), gr.skip()))
        yield (
            "",
            gr.Button(visible=False),
            render_pair(request.faces, result.video, title),
            render_lines(_describe(result, is_preview=is_preview)),
        )

    def _read(self, values: Sequence[Any], session: Session) -> DubRequest:
        """Read the form; CalsError for what is missing."""
        consent, slots, *rest = values
        sounds, (strength, length, silence, quality, damaged) = rest[:MAX_SPEAKERS], rest[MAX_SPEAKERS:]
        check_consent(consent)
        if session.faces is None:
            raise ConfigError("First choose a video or photo that shows a face.")
        given = {name: sound for name, sound in zip(slots, sounds, strict=True) if name is not None}
        if not given:
            raise ConfigError("First click the face that is to speak.")
        for name, sound in given.items():
            if sound is None:
                raise ConfigError("First choose or record a speech" + (f" for {name}." if len(given) > 1 else "."))
        paths = self.sessions.take(session, given.values())
        return DubRequest(
            faces=session.faces,
            speeches=dict(zip(given, paths, strict=True)),
            options=GenerateOptions(strength=float(strength), length=length, silence=silence, keep_going=damaged),
            encode=EncodeOptions(crf=_SMALL_CRF if quality == "small" else None),
        )


def _describe(result: DubResult, *, is_preview: bool) -> list[str]:
    lines = describe_report(result.report, result.names)
    if not is_preview and len(result.names) == 1:
        lines.append(describe_sync(result.sync))
    lines.append(
        f"The file carries a note that its mouth is generated, by cals {cals.__version__} with the model "
        f"{result.report.model}. Say so too where you show it."
    )
    return lines
