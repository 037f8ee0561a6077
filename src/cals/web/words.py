"""What the page says, in plain words: reports, offsets and times."""

from collections.abc import Iterator, Sequence
from typing import Any

from cals.face.skip_reasons import AT_EDGE, OCCLUDED, TOO_LARGE, TOO_SMALL, TURNED_AWAY
from cals.inference.report import GenerateReport
from cals.inference.score import SyncResult
from cals.inference.stream import GENERATED, NO_FACE
from cals.web.jobs import Progress

_REASONS = {
    NO_FACE: "was not seen",
    OCCLUDED: "had something before the mouth",
    TURNED_AWAY: "was turned away",
    TOO_SMALL: "was too small",
    TOO_LARGE: "was larger than the picture",
    AT_EDGE: "was cut by the edge of the picture",
}
"""Status of a frame -> what the page says of the face. Others are as they should be: silence, nothing to say."""
_MIN_GAP_S = 0.2
"""Times that are nearer than this are told as one."""
_MAX_TIMES = 4


def describe_report(report: GenerateReport, names: Sequence[str]) -> list[str]:
    """Describe what happened to each face, a sentence each; `names` are those of the faces, in the report's order."""
    share = 100 * report.generated / max(report.frames, 1)
    lines = [f"{report.seconds:.1f} seconds; the mouth moves in {share:.0f} % of the pictures."]
    if not report.has_speech:
        lines.append("No speech was found in the sound (music or noise?), so the mouth rests.")
    for number, name in enumerate(names):
        statuses = [(frame["time_s"], _get_status(frame, number)) for frame in report.per_frame or ()]
        who = "The face" if len(names) == 1 else name
        for reason, phrase in _REASONS.items():
            times = _format_times(statuses, reason, report.seconds)
            if times:
                lines.append(f"{who} {phrase} at {times}; the video is unchanged there.")
    if len(lines) == 1 and report.generated:
        lines.append("Every face was seen whenever it spoke.")
    return lines


def describe_sync(result: SyncResult | None) -> str:
    """Describe the offset of lips and sound."""
    if result is None:
        return "Lips and sound could not be compared: too short, or too few pictures with the face."
    offset_ms = abs(result.offset_ms)
    if not result.offset_frames:
        return "Lips and sound are in step."
    return f"The sound comes {offset_ms:.0f} ms {'later' if result.offset_frames > 0 else 'earlier'} than the lips."


def describe_score(result: SyncResult) -> list[str]:
    """Describe a score, the main thing first."""
    return [
        describe_sync(result),
        f"{100 * result.in_step:.0f} % of {result.judged} moments are in step by themselves.",
        f"LSE-C (confidence, higher is better): {result.lse_c:.2f}. LSE-D (distance, lower is better): "
        f"{result.lse_d:.2f}. These compare only with numbers by the same encoders, {result.encoders}.",
    ]


def describe_progress(progress: Progress, title: str) -> str:
    """Describe how far a job is, and how long it will take."""
    if progress.share is None:
        return f"{title}: looking at the faces"
    left = "" if progress.left_s is None else f", {format_time(progress.left_s)} left"
    return f"{title}: {100 * progress.share:.0f} %{left}"


def format_time(time_s: float) -> str:
    """Format a time for people: 8 s, 2 min 10 s."""
    minutes, seconds = divmod(max(1, round(time_s)), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _get_status(frame: dict[str, Any], number: int) -> str:
    return str(frame["people"][number]["status"] if "people" in frame else frame.get("status", GENERATED))


def _format_times(statuses: Sequence[tuple[float, str]], reason: str, end_s: float) -> str:
    """Format when a status holds, at most a few times; empty where it never does."""
    times = list(_join_times(statuses, reason, end_s))
    shown = ", ".join(f"{start:.1f}-{end:.1f}" for start, end in times[:_MAX_TIMES])
    more = f" and {len(times) - _MAX_TIMES} more times" if len(times) > _MAX_TIMES else ""
    return f"{shown} s{more}" if times else ""


def _join_times(statuses: Sequence[tuple[float, str]], reason: str, end_s: float) -> Iterator[tuple[float, float]]:
    """Yield from when to when a status holds, short gaps left out."""
    ends = [time_s for time_s, _ in statuses[1:]] + [end_s]
    start: float | None = None
    last = 0.0
    for (time_s, status), frame_end in zip(statuses, ends, strict=False):
        if status != reason:
            continue
        if start is not None and time_s - last > _MIN_GAP_S:
            yield start, last
            start = None
        start = time_s if start is None else start
        last = frame_end
    if start is not None:
        yield start, last
