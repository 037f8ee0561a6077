"""The frame of a page is well-formed, and shows text as text."""

from xml.etree import ElementTree

from cals.report.page import render_definitions, render_document, render_section, wrap_table


def test_text_is_shown_as_text() -> None:
    table = wrap_table("<table></table>", 'a "table"')
    body = render_section("how", "How & why", render_definitions({"<b>": "x < y"}) + table)
    tree = ElementTree.fromstring(body)
    assert tree.get("aria-labelledby") == "how"
    assert [tree.findtext(path) for path in ("h2", "dl/div/dt", "dl/div/dd")] == ["How & why", "<b>", "x < y"]
    assert tree.find("div").get("aria-label") == 'a "table"'
    page = render_document("A < B", "<h1>A</h1>", body)
    assert page.startswith("<!DOCTYPE html>")
    assert "<title>A &lt; B</title>" in page
    assert f"<header><h1>A</h1></header><main>{body}</main>" in page
