"""Reports, offsets and progress in words."""

from collections import Counter
from pathlib import Path
from typing import Any

from cals.inference.report import GenerateReport
from cals.inference.score import SyncResult
from cals.metrics.lse import lse_from_distances
from cals.web.jobs import Progress
from cals.web.markup import render_error, render_table
from cals.web.words import describe_progress, describe_report, describe_sync, format_time


def build_report(statuses: list[Any], speech_s: float = 1.0) -> GenerateReport:
    """A report at 10 frames/s; a frame of several people has a list."""
    frames: list[dict[str, Any]] = [
        {"index": number, "time_s": number / 10}
        | ({"people": [{"status": one} for one in status]} if isinstance(status, list) else {"status": status})
        for number, status in enumerate(statuses)
    ]
    first = [status[0] if isinstance(status, list) else status for status in statuses]
    return GenerateReport(
        model="m",
        face=Path("f"),
        audio=None,
        out=Path("o"),
        frames=len(frames),
        seconds=len(frames) / 10,
        counts=Counter(first),
        per_frame=frames,
        voice_s=len(frames) / 10,
        speech_s=speech_s,
    )


def test_a_report_says_who_was_not_seen_when() -> None:
    statuses = ["generated"] * 10 + ["no face"] * 5 + ["generated"] * 5 + ["covered"] * 10 + ["silence"] * 10
    lines = describe_report(build_report(statuses), ["Face 1"])
    assert lines == [
        "4.0 seconds; the mouth moves in 38 % of the pictures.",
        "The face was not seen at 1.0-1.5 s; the video is unchanged there.",
        "The face had something before the mouth at 2.0-3.0 s; the video is unchanged there.",
    ]


def test_a_report_of_several_says_whose_face() -> None:
    statuses: list[Any] = [["generated", "generated"]] * 5 + [["generated", "turned away"]] * 5
    lines = describe_report(build_report(statuses), ["Face 1", "Face 2"])
    assert lines[1:] == ["Face 2 was turned away at 0.5-1.0 s; the video is unchanged there."]
    assert describe_report(build_report([["generated", "silence"]] * 9), ["A", "B"])[1:] == [
        "Every face was seen whenever it spoke."
    ]


def test_many_gaps_are_counted_and_short_ones_joined() -> None:
    line = describe_report(build_report((["no face"] + ["generated"] * 9) * 6), ["Face 1"])[1]
    assert line.startswith("The face was not seen at 0.0-0.1, 1.0-1.1, 2.0-2.1, 3.0-3.1 s and 2 more times")
    line = describe_report(build_report(["no face", "generated"] * 6), ["Face 1"])[1]
    assert line.startswith("The face was not seen at 0.0-1.1 s")


def test_sound_without_speech_is_told() -> None:
    assert "No speech was found" in describe_report(build_report(["silence"] * 9, speech_s=0), ["Face 1"])[1]


def test_offsets_are_told_in_words() -> None:
    import numpy as np

    def build(offset: int) -> SyncResult:
        distances = np.full((20, 31), 10.0, np.float32)
        distances[:, 15 + offset] = 1
        total = lse_from_distances(distances)
        return SyncResult(
            encoders="e", fps=25, total=total, in_step=1, frames=20, judged=20, no_face=0, no_sound=0, stretches=()
        )

    assert describe_sync(build(0)) == "Lips and sound are in step."
    texts = {describe_sync(build(offset)) for offset in (-3, 3)}
    assert texts == {
        "The sound comes 120 ms later than the lips.",
        "The sound comes 120 ms earlier than the lips.",
    }
    assert "could not be compared" in describe_sync(None)


def test_progress_and_times_are_short() -> None:
    assert describe_progress(Progress(done=1, total=4, elapsed_s=20), "Video") == "Video: 25 %, 1 min 0 s left"
    assert describe_progress(Progress(done=0, total=None, elapsed_s=0), "Video") == "Video: looking at the faces"
    assert format_time(0.2) == "1 s"


def test_names_of_files_are_no_markup() -> None:
    assert "<script>" not in render_error("<script>alert(1)</script>")
    assert "<img" not in render_table([("<img src=x>", "done", Path('/tmp/"><img src=x>.mp4'))])
