"""What the report says of readings that are known."""

import math

import pytest

from cals.evaluation.reading.readings import ALL, ClipReading, ReadabilityReport, Reading, Score
from cals.models.reader import ReaderConfig

SLOTS = {"colour": ("blue", "red"), "letter": ("a", "b", "c")}
CONFIG = ReaderConfig(slots=SLOTS)


def clip(name: str, real: str, model: str, shuffled: str = "a") -> ClipReading:
    """Reads each word after what was said ("blue=red" is blue read as red), whose nearest in its slot is the first."""

    def readings(text: str) -> list[Reading]:
        pairs = [pair.split("=") for pair in text.split()]
        return [
            Reading(said, read, SLOTS["colour" if said in SLOTS["colour"] else "letter"][0]) for said, read in pairs
        ]

    readings_of = {"real": readings(real), "shuffled": readings(f"{shuffled}={shuffled}"), "model": readings(model)}
    return ClipReading(part="seen", clip=name, left_out=1, readings=readings_of)


@pytest.fixture
def report() -> ReadabilityReport:
    clips = [
        clip("one", "blue=blue a=a b=b", "blue=blue a=b b=a"),
        clip("two", "red=red a=a c=red", "red=red a=a c=c"),
    ]
    return ReadabilityReport({"reader": "a test"}, CONFIG, clips, {"seen": 0, "unseen": 5})


def score(report: ReadabilityReport, slot: str, method: str) -> Score:
    return next(s for s in report.compute_scores() if (s.slot, s.method) == (slot, method))


def test_shares_of_all_words_and_of_slots(report: ReadabilityReport) -> None:
    assert report.methods == ("real", "shuffled", "model")
    real, model = score(report, ALL, "real"), score(report, ALL, "model")
    assert (real.words, model.words) == (6, 6)
    assert real.accuracy.value == pytest.approx(5 / 6)
    assert model.accuracy.value == pytest.approx(4 / 6)
    assert model.of_real.value == pytest.approx(4 / 5)
    assert model.in_slot.value == pytest.approx(3 / 6)  # blue and both a
    assert score(report, "letter", "model").of_real.value == pytest.approx(2 / 3)
    assert score(report, "colour", "model").of_real == (1.0, 1.0, 1.0)
    assert math.isnan(real.of_real.value)
    assert math.isnan(score(report, ALL, "shuffled").of_real.value)


def test_intervals_are_over_clips(report: ReadabilityReport) -> None:
    """Two clips: drawn are the first twice, both, or the second twice."""
    low, high = score(report, ALL, "model").of_real[1:]
    assert (low, high) == pytest.approx((1 / 3, 3 / 2))
    alone = ReadabilityReport({}, CONFIG, report.clips[:1])
    assert score(alone, ALL, "model").of_real == (pytest.approx(1 / 3), None, None)


def test_tables_and_counts_are_readable(report: ReadabilityReport) -> None:
    text = report.format_markdown()
    assert "80.0 % (33-150)" in text
    assert "6 words of 2 clips read; 2 left out" in text
    assert "without known words: 5 clips of unseen" in text
    document = report.document()
    assert document["clips"][0]["readings"]["model"][1] == ("a", "b", "a")
    assert ClipReading.from_document(document["clips"][0]) == report.clips[0]
