"""Picture and table of docs/architecture.md are those of the code."""

import pytest

from rooms import PAGE, PICTURE, read_graph, reduce_graph, render_page, render_picture


def test_page_is_up_to_date() -> None:
    graph, page = read_graph(), PAGE.read_text(encoding="utf-8")
    assert PICTURE.read_text(encoding="utf-8") == render_picture(graph), f"{PICTURE.name} is old: run `make renew`"
    assert page == render_page(page, graph), f"the table of {PAGE.name} is old: run `make renew`"


def test_a_new_import_changes_picture_and_table() -> None:
    graph, page = read_graph(), PAGE.read_text(encoding="utf-8")
    assert "losses" not in graph["inference"]
    changed = graph | {"inference": graph["inference"] | {"losses"}}
    assert render_picture(changed) != render_picture(graph)
    assert render_page(page, changed) != render_page(page, graph)


def test_implied_imports_are_not_drawn() -> None:
    graph = {"top": {"middle", "bottom"}, "middle": {"bottom"}, "bottom": set()}
    assert reduce_graph(graph) == {"top": {"middle"}, "middle": {"bottom"}, "bottom": set()}


def test_a_circle_is_an_error() -> None:
    with pytest.raises(AssertionError, match="imports itself"):
        reduce_graph({"one": {"two", "three"}, "two": {"three"}, "three": {"one"}})
