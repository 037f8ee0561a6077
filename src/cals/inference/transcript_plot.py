"""Plot of a transcript: reliability of each stream, above words, sound and lips."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cals.inference.transcript import Transcript
from cals.report.plots import open_figure

_COLOURS, _GREY, _DARK = {"audio": "#2a6f97", "video": "#c8553d"}, "#888888", "#eeeeee"
_LABELS = {"audio": "sound", "video": "lips"}
_ROWS = {"scores": 2.6, "words": 0.7, "sound": 0.8, "lips": 0.7}
"""Heights in inches."""
_WIDTH_IN, _MIN_IN, _MAX_IN = 1.1, 8.0, 40.0
"""Width of a second, and bounds of the whole width."""
_HORIZONTAL_IN = 0.6
"""Where a second is narrower, words are drawn upright."""
_MIN_GAP_IN = 0.13
"""Upright words nearer than this to the previous one are left out."""


def draw_transcript(transcript: Transcript, title: str, path: Path) -> None:
    """Write a PNG: reliability by stream with its spread over the channels, words at their times, sound and lips."""
    width = min(max(_MIN_IN, _WIDTH_IN * transcript.duration_s), _MAX_IN)
    with open_figure(
        path,
        len(_ROWS),
        size_in=(width, sum(_ROWS.values()) + 0.9),
        dpi=100,
        sharex=True,
        height_ratios=list(_ROWS.values()),
    ) as axes:
        for axis, draw in zip(axes[:, 0], (_draw_scores, _draw_words, _draw_sound, _draw_lips), strict=True):
            draw(axis, transcript, width)
        axes[0, 0].set_title(title)
        axes[0, 0].set_xlim(0, transcript.duration_s)
        axes[-1, 0].set_xlabel("seconds")


def _draw_scores(axis: Any, transcript: Transcript, _width: float) -> None:
    times = (np.arange(transcript.frames) + 0.5) / transcript.fps
    for stream, scores in transcript.scores.items():
        colour = _COLOURS[stream]
        axis.fill_between(times, scores.low, scores.high, color=colour, alpha=0.12, linewidth=0)
        axis.plot(times, scores.mean, color=colour, label=_LABELS[stream])
    if transcript.has_face is not None and not transcript.has_face.all():
        edges = np.flatnonzero(np.diff(np.concatenate([[False], ~transcript.has_face, [False]])))
        for number, (start, end) in enumerate(edges.reshape(-1, 2) / transcript.fps):
            axis.axvspan(start, end, color=_DARK, zorder=0, label=None if number else "no face")
    for segment in transcript.segments[1:]:
        axis.axvline(segment.start_s, color=_GREY, linestyle=":", linewidth=0.8)
    axis.set(ylim=(0, 1), ylabel="reliability")
    axis.grid(alpha=0.25)
    if transcript.scores:
        axis.legend(fontsize=8, loc="lower right", ncols=3)


def _draw_words(axis: Any, transcript: Transcript, width: float) -> None:
    horizontal = width >= _HORIZONTAL_IN * transcript.duration_s
    last_s = -np.inf
    for number, word in enumerate(transcript.words):
        middle_s = (word.start_s + word.end_s) / 2
        if not horizontal and (middle_s - last_s) * width < _MIN_GAP_IN * transcript.duration_s:
            continue
        last_s = middle_s
        baseline = 0.55 if horizontal and number % 2 else 0.05
        axis.plot((word.start_s, word.end_s), (baseline, baseline), color=_GREY, linewidth=1.5, solid_capstyle="butt")
        axis.text(
            middle_s,
            baseline + 0.08,
            word.text,
            fontsize=8,
            ha="center",
            va="bottom",
            rotation=0 if horizontal else 90,
            clip_on=True,
        )
    axis.set_ylim(0, 1)
    _hide(axis, "words")


def _draw_sound(axis: Any, transcript: Transcript, _width: float) -> None:
    if transcript.peaks is not None:
        times = np.arange(transcript.frames + 1) / transcript.fps
        axis.stairs(transcript.peaks, times, baseline=-transcript.peaks, fill=True, color=_COLOURS["audio"], alpha=0.7)
        peak = max(float(transcript.peaks.max(initial=0)), 1e-3)
        axis.set_ylim(-peak, peak)
    _hide(axis, "sound")


def _draw_lips(axis: Any, transcript: Transcript, width: float) -> None:
    """Draw mouths in square cells; a cell whose nearest kept frame has no face stays empty."""
    frames = np.array(list(transcript.mouths))
    cells = max(1, min(len(frames), int(width / _ROWS["lips"])))
    edges = np.linspace(0, transcript.frames, cells + 1)
    for start, end in pairwise(edges):
        mouth = transcript.mouths[int(frames[np.abs(frames + 0.5 - (start + end) / 2).argmin()])]
        if mouth is not None:
            extent = (start / transcript.fps, end / transcript.fps, 0, 1)
            axis.imshow(mouth, cmap="gray", vmin=0, vmax=255, extent=extent, aspect="auto")
    axis.set(xlim=(0, transcript.duration_s), ylim=(0, 1))
    _hide(axis, "lips")


def _hide(axis: Any, label: str) -> None:
    axis.set_ylabel(label)
    axis.set_yticks([])
    for side in ("top", "left", "right"):
        axis.spines[side].set_visible(False)
