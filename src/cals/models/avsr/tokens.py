"""Tokenisation: characters or words as indices, between the blank of CTC and the end of the sentence."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from cals.errors import ConfigError, DataError

Unit = Literal["characters", "words"]
BLANK = 0
"""Index of CTC's blank."""
UNKNOWN = "<unk>"
"""Token of every word outside the vocabulary; characters have no such token."""
CHARACTERS = (" ", "'", *"0123456789", *"abcdefghijklmnopqrstuvwxyz")
_APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼ＇`", "'"))
_WORD = re.compile(r"'*[^\W_](?:[^\W_]|')*")


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The vocabulary of a recogniser, as its config holds it.

    Index 0 is the blank, those of `symbols` follow, and the last one is both start and end of a sentence.
    """

    unit: Unit = "characters"
    vocabulary: tuple[str, ...] = CHARACTERS

    def __post_init__(self) -> None:
        valid = all(len(symbol) == 1 for symbol in self.vocabulary)
        if self.unit == "words":
            valid = all(symbol.split() == [symbol] and symbol != UNKNOWN for symbol in self.vocabulary)
        if not self.vocabulary or not valid or len(set(self.vocabulary)) < len(self.vocabulary):
            raise ConfigError(
                f"tokens: expected {self.unit}, each once, found {self.vocabulary!r:.200}; use `build_tokens`"
            )

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols of the indices 1, 2, ..."""
        return ((UNKNOWN,) if self.unit == "words" else ()) + self.vocabulary

    @property
    def size(self) -> int:
        """Number of indices."""
        return len(self.symbols) + 2

    @property
    def end(self) -> int:
        """Index of the start and the end of a sentence."""
        return self.size - 1

    @cached_property
    def _index(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self.symbols, start=1)}

    def encode(self, text: str) -> list[int]:
        """Encode text, normalised, as indices; unknown characters are dropped, unknown words become `UNKNOWN`."""
        index = self._index
        if self.unit == "words":
            return [index.get(word, index[UNKNOWN]) for word in normalize_text(text).split()]
        return [index[character] for character in normalize_text(text) if character in index]

    def decode(self, tokens: Iterable[int]) -> str:
        """Decode indices to text, without blanks and ends of sentences; DataError for an index out of range."""
        known = [token for token in tokens if token not in (BLANK, self.end)]
        if any(not BLANK < token < self.end for token in known):
            raise DataError(f"tokens: expected indices in 0..{self.end}, found {known}; decode with the model's tokens")
        return (" " if self.unit == "words" else "").join(self.symbols[token - 1] for token in known)


def normalize_text(text: str) -> str:
    """Normalise text to lower-case words with one space between them.

    Letters, digits and apostrophes stay; all other characters separate words. Accents are dropped, and typographic
    apostrophes become plain ones.
    """
    parted = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES).lower())
    plain = "".join(character for character in parted if not unicodedata.combining(character))
    return " ".join(_WORD.findall(plain))


def build_tokens(texts: Iterable[str], unit: Unit, *, min_count: int = 1) -> Tokens:
    """Build the vocabulary of a corpus: `CHARACTERS` and all others that occur, or words that occur `min_count` times.

    With `min_count` above 1 a word model learns unknown words. Raises DataError for texts without words.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        normal = normalize_text(text)
        counts.update(normal.split() if unit == "words" else normal)
    if not counts:
        raise DataError("tokens: expected texts with words in them, found none; choose clips whose transcript is known")
    if unit == "characters":
        return Tokens(vocabulary=_sort_symbols([*CHARACTERS, *counts]))
    return Tokens(
        unit="words", vocabulary=_sort_symbols([word for word, count in counts.items() if count >= min_count])
    )


def _sort_symbols(symbols: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(symbols)))
