"""`index.html` of an evaluation: one file beside its clips, which any browser opens from disk."""

import math
from collections.abc import Iterable, Mapping
from html import escape
from urllib.parse import quote

from cals.evaluation.outputs import COPY, REAL
from cals.evaluation.protocol.comparison import MEASURES, Cell, Measure, PairResult, Table
from cals.evaluation.protocol.report import (
    FRECHET,
    KINDS,
    OFFSETS,
    EvaluationReport,
    describe_direction,
    format_setting,
    format_title,
    format_value,
)
from cals.report.dot_plot import Dots, render_dot_plot
from cals.report.page import render_definitions, render_document, render_section, wrap_table

_NONE = '<span class="none" aria-label="none">–</span>'


def render_page(report: EvaluationReport) -> str:
    """Render the page; it loads nothing but the clips and the contact sheet."""
    sections = [_render_section(number, one, report) for number, one in enumerate(report.tables) if one.rows]
    links = "".join(
        f'<li><a href="#t{number}">{escape(format_title(one))}</a></li>'
        for number, one in enumerate(report.tables)
        if one.rows
    )
    settings = {name: format_setting(value) for name, value in report.settings.items()}
    names = ", ".join(method for method in report.methods if method not in (REAL, COPY))
    header = (
        f'<p class="eyebrow">cals evaluate</p><h1>{escape(names)}</h1>'
        f"<p>{escape(_capitalise(report.format_counts()))}</p>"
        f'<nav aria-label="Tables"><ul>{links}<li><a href="#failed">What is missing</a></li>'
        '<li><a href="#measured">What is measured</a></li></ul></nav>'
    )
    sections += [_render_sheet(report), _render_offsets(report), _render_failures(report), _render_meanings(report)]
    sections.append(render_section("how", "How it was made", render_definitions(settings)))
    return render_document(f"Evaluation: {names}", header, "".join(sections))


def _render_section(number: int, one: Table, report: EvaluationReport) -> str:
    plots = [
        _render_plot(measure, cells, format_title(one))
        for name, measure in MEASURES.items()
        if (cells := {method: row[name] for method, row in one.rows.items() if name in row})
    ]
    results = [r for r in report.results if (r.pair.part, r.pair.kind) == (one.part, one.kind)]
    body = (
        f"{_render_summary(one)}{_render_clips(results, report)}"
        f'<details open><summary>Plots: a dot a clip, means with their 95 % interval</summary><div class="plots">'
        f"{''.join(plots)}</div></details>"
        f"<details><summary>Every clip</summary>{_render_clip_table(one, results)}</details>"
    )
    return render_section(f"t{number}", format_title(one), body)


def _render_plot(measure: Measure, cells: Mapping[str, Cell], title: str) -> str:
    rows = {method: Dots(cell.values, cell.estimate) for method, cell in cells.items()}
    name = f"{measure.title} by method, {title}"
    return (
        f"<figure><figcaption><strong>{escape(measure.title)}</strong> {describe_direction(measure)}</figcaption>"
        f"{render_dot_plot(rows, name, best=measure.best, digits=measure.digits)}</figure>"
    )


def _render_summary(one: Table) -> str:
    head = "".join(f'<th scope="col">{escape(method)}</th>' for method in one.rows)
    lines = []
    for name, measure in MEASURES.items():
        if not any(name in row for row in one.rows.values()):
            continue
        best = one.find_best(name)
        cells = [
            f"<td{' class=best' if method in best else ''}>"
            f"{_split_interval(format_value(row.get(name), measure.digits, one.judged))}</td>"
            for method, row in one.rows.items()
        ]
        lines.append(_render_line(measure.title, describe_direction(measure), cells))
    if one.frechet:
        cells = [
            f"<td{' class=best' if m in one.nearest else ''}>{one.frechet[m][0]:.3f} "
            f"<small>{one.frechet[m][1]} windows</small></td>"
            if m in one.frechet
            else f"<td>{_NONE}</td>"
            for m in one.rows
        ]
        lines.append(_render_line(FRECHET.title, describe_direction(FRECHET), cells))
    lines.append(_render_line("failed pairs", "", [f"<td>{one.failed.get(m, 0)}</td>" for m in one.rows]))
    return wrap_table(
        f"<table><caption>{KINDS[one.kind]}: {one.judged} of {one.pairs} pairs judged. Means over clips with 95 % "
        f"bootstrap intervals; bold: the nearest to perfect among the generated ones with all clips.</caption>"
        f'<thead><tr><th scope="col">measure</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>',
        format_title(one),
    )


def _render_line(name: str, way: str, cells: Iterable[str]) -> str:
    return f'<tr><th scope="row">{escape(name)} <small>{way}</small></th>{"".join(cells)}</tr>'


def _split_interval(text: str) -> str:
    mean, _, interval = text.partition(" ")
    return f"{mean} <small>{interval.strip('()')}</small>" if mean else _NONE


def _render_clips(results: list[PairResult], report: EvaluationReport) -> str:
    with_clip = [result for result in results if result.pair.id in report.clips]
    figures = []
    for result in with_clip:
        pair, methods = result.pair, report.clips[result.pair.id]
        words = " | ".join(methods)
        own_sound = {"self": "its own sound", "rolled": "its own sound, rolled"}
        sound = own_sound.get(pair.kind, f"the sound of {pair.heard}")
        figures.append(
            f'<figure><video controls preload="metadata" playsinline src="clips/{quote(pair.id)}.mp4" '
            f'aria-label="{escape(f"{pair.face} saying {sound}: {words}", quote=True)}"></video>'
            f"<figcaption><strong>{escape(pair.face)}</strong> saying {escape(sound)}<br>"
            f"<small>{escape(words)}</small></figcaption></figure>"
        )
    return f'<div class="clips">{"".join(figures)}</div>' if figures else ""


def _render_clip_table(one: Table, results: list[PairResult]) -> str:
    names = [name for name in MEASURES if any(name in row for row in one.rows.values())]
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{escape(text)}</button></th>'
        for text in ("pair", "method", "frames", *(MEASURES[name].title for name in names))
    )
    lines = []
    for result in results:
        for method, scores in result.scores.items():
            cells = "".join(_render_number(scores.get(name), MEASURES[name].digits) for name in names)
            lines.append(
                f'<tr><th scope="row">{escape(result.pair.id)}</th><td>{escape(method)}</td>'
                f"<td>{result.used}</td>{cells}</tr>"
            )
    return wrap_table(
        f"<table class=sortable><caption>Every pair and method; the heads sort.</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>",
        f"Every clip, {format_title(one)}",
    )


def _render_number(number: float | None, digits: int) -> str:
    return "<td></td>" if number is None or not math.isfinite(number) else f"<td>{number:.{digits}f}</td>"


def _render_sheet(report: EvaluationReport) -> str:
    if not report.sheet:
        return ""
    body = (
        "<p>Of each clip: the real frames, the real mouths that belong to the rolled sound, and what was generated.</p>"
        f'<img src="{quote(report.sheet)}" loading="lazy" alt="Rows of lower faces: real, meant, generated">'
    )
    return render_section("sheet", "Mouths at the same moments", body)


def _render_offsets(report: EvaluationReport) -> str:
    if not report.offsets:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{one.late_frames:g}</td>'
        f"<td class=words>{escape(one.why)}</td></tr>"
        for name, one in report.offsets.items()
    )
    table = wrap_table(
        '<table><thead><tr><th scope="col">pair</th><th scope="col">frames of 1/25 s</th>'
        f'<th scope="col" class=words>why</th></tr></thead><tbody>{rows}</tbody></table>',
        OFFSETS,
    )
    return render_section("offsets", OFFSETS, table)


def _render_failures(report: EvaluationReport) -> str:
    lines = [(pair, "every method", reason) for pair, reason in report.exclusions.items()]
    lines += [
        (pair, name, why) for name, pairs in report.failures.items() for pair, why in pairs.items() if name != REAL
    ]
    rows = "".join(
        f'<tr><th scope="row">{escape(pair)}</th><td class=words>{escape(name)}</td>'
        f"<td class=words>{escape(why)}</td></tr>"
        for pair, name, why in lines
    )
    table = wrap_table(
        '<table><thead><tr><th scope="col">pair</th><th scope="col" class=words>method</th>'
        f'<th scope="col" class=words>why</th></tr></thead><tbody>{rows}</tbody></table>',
        "What is missing",
    )
    body = table if lines else "<p>Nothing: every method has a result for every pair.</p>"
    return render_section("failed", "What is missing", body)


def _render_meanings(report: EvaluationReport) -> str:
    meanings = {one.title: f"{one.meaning}; {describe_direction(one)}" for one in report.list_measures()}
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    return render_section("measured", "What is measured", f"{render_definitions(meanings)}<ul>{notes}</ul>")


def _capitalise(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
