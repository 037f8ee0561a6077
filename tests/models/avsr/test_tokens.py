"""Tokenisation: text to indices and back."""

import json
from dataclasses import asdict

import pytest

from cals.checkpoint import config_from_dict
from cals.errors import ConfigError, DataError
from cals.models.avsr.tokens import BLANK, CHARACTERS, UNKNOWN, Tokens, build_tokens, normalize_text


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("When You’re COOKING, chips -- at home!", "when you're cooking chips at home"),
        ("well-known  3,000\tcafés", "well known 3 000 cafes"),
        ("'cause it's the dogs' ' \" _ day", "'cause it's the dogs' day"),
        ("¿...?", ""),
    ],
)
def test_text_is_normalised(text: str, normal: str) -> None:
    assert normalize_text(text) == normal
    assert normalize_text(normal) == normal


def test_characters_go_round() -> None:
    tokens = Tokens()
    assert tokens.vocabulary == CHARACTERS
    assert (tokens.size, tokens.end) == (40, 39)
    found = tokens.encode("It’s 9 o'clock.")
    assert all(BLANK < token < tokens.end for token in found)
    assert tokens.decode([tokens.end, BLANK, *found, tokens.end]) == "it's 9 o'clock"
    assert tokens.encode("año ж") == [*tokens.encode("ano"), 1]  # what has no index is left out


def test_words_go_round_and_the_unknown_is_one_token() -> None:
    tokens = build_tokens(["Bin blue AT f", "bin red at g"], "words")
    assert tokens.vocabulary == ("at", "bin", "blue", "f", "g", "red")
    assert tokens.symbols[0] == UNKNOWN
    assert tokens.decode(tokens.encode("bin RED at z")) == f"bin red at {UNKNOWN}"
    assert tokens.encode("zebra") == [1]
    assert build_tokens(["a b", "b c b"], "words", min_count=2).vocabulary == ("b",)


def test_characters_of_a_corpus_are_added_to_the_usual_ones() -> None:
    assert build_tokens(["at home"], "characters") == Tokens(vocabulary=tuple(sorted(CHARACTERS)))
    assert set(build_tokens(["дом"], "characters").vocabulary) == {*CHARACTERS, *"дом"}


def test_they_survive_json() -> None:
    for tokens in (Tokens(), build_tokens(["bin blue"], "words")):
        assert config_from_dict(Tokens, json.loads(json.dumps(asdict(tokens)))) == tokens


def test_what_does_not_fit_is_refused() -> None:
    for vocabulary in ((), ("a", "a"), ("ab",)):
        with pytest.raises(ConfigError, match="expected characters, each once"):
            Tokens(vocabulary=vocabulary)
    for vocabulary in (("two words",), (UNKNOWN,), ("",)):
        with pytest.raises(ConfigError, match="expected words, each once"):
            Tokens(unit="words", vocabulary=vocabulary)
    with pytest.raises(DataError, match=r"indices in 0\.\.39"):
        Tokens().decode([40])
    with pytest.raises(DataError, match="expected texts"):
        build_tokens(["?!"], "characters")
