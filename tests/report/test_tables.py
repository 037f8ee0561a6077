"""Tables, lists and numbers as they are written."""

import json
import math

from cals.metrics.bootstrap import Estimate
from cals.report.rounding import round_estimate, round_for_json
from cals.report.tables import format_settings, format_table


def test_columns_of_a_table_line_up_or_not() -> None:
    rows = [["first", "1"], ["2nd", "1000"]]
    assert format_table(["name", "n"], rows).splitlines() == [
        "| name  | n    |",
        "|-------|------|",
        "| first | 1    |",
        "| 2nd   | 1000 |",
    ]
    assert format_table(["name", "n"], rows, aligned=False).splitlines() == [
        "| name | n |",
        "|---|---|",
        "| first | 1 |",
        "| 2nd | 1000 |",
    ]


def test_settings_are_a_list() -> None:
    assert format_settings({"model": "a", "clips": None}) == "- model: a\n- clips: None"


def test_numbers_are_what_json_can_hold() -> None:
    document = {"a": 1 / 3, "b": [math.nan, math.inf, 2], "c": ("x", None), "d": {"e": -math.inf}}
    rounded = round_for_json(document)
    assert rounded == {"a": 0.33333, "b": [None, None, 2], "c": ["x", None], "d": {"e": None}}
    assert json.loads(json.dumps(rounded, allow_nan=False)) == rounded
    assert round_estimate(Estimate(1 / 3)) == [0.33333, None, None]
    assert round_estimate(Estimate(math.nan, 0.0, 2 / 3)) == [None, 0.0, 0.66667]
