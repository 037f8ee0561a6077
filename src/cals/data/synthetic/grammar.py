"""What is spoken: phones as a Markov chain, so that what may come before and after a stretch can be drawn exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cals.data.synthetic.phones import CONSONANTS, LONGEST, PAUSE, PHONES, SHORTEST, VOWELS
from cals.errors import ConfigError

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
PhoneOrder = Literal["english", "random"]
LEAD_S = 0.12
"""Least pause at both ends of a clip."""


def _shares(text: str) -> dict[str, float]:
    """`phone share phone share ...`."""
    words = text.split()
    return {phone: float(share) for phone, share in zip(words[::2], words[1::2], strict=True)}


_VOWEL = _shares("AH 12 IH 10 IY 5 EH 5 AE 5 AA 3 AO 3 UH 1.5 UW 3 ER 4 EY 4 AY 4 OW 4 AW 1.5 OY 0.5")
_ONSET = _shares(
    "T 7 D 6 K 5 G 2.5 P 4 B 5 M 5 N 4 F 4 V 1.5 TH 1.5 DH 7 S 6 Z 0.7 SH 2 ZH 0.1 CH 1.5 JH 1.5 L 4 R 5 W 5 Y 2 HH 4"
)
_CODA = _shares("T 8 D 7 K 4 P 2 B 1 G 1 M 4 N 10 NG 3 F 1.5 V 3 TH 0.7 S 5 Z 6 SH 0.7 CH 0.8 JH 0.6 L 5 R 6")
"""Rough shares of English syllables, ours."""
_CLUSTERS = {
    "P": "L R", "B": "L R", "T": "R W", "D": "R", "K": "L R W", "G": "L R", "F": "L R", "TH": "R", "SH": "R",
    "S": "P T K M N L W",
}  # fmt: skip
_CODA_CLUSTERS = {
    "N": "T D S Z", "L": "T D Z", "R": "T D N M Z K", "K": "S T", "T": "S", "P": "S T", "M": "P Z", "S": "T",
    "NG": "K Z",
}  # fmt: skip
_IN_CLUSTER, _IN_CODA_CLUSTER = 0.3, 0.25
"""How often a consonant that can be followed by another one in its cluster is."""
_NO_ONSET, _NO_CODA, _PAUSES = 0.15, 0.4, 0.06
_WORD_ENDS = 0.6
_LEXICON_S = 30.0
"""Length of the speech that words are taken from."""


@dataclass(frozen=True, eq=False)
class PhoneChain:
    """States, each a phone in a place of the syllable, and the odds of their successors."""

    states: tuple[tuple[str, str], ...]
    """(phone, place)."""
    odds: F64 = field(repr=False)
    """[s s], rows sum to 1."""

    @property
    def phones(self) -> tuple[str, ...]:
        return tuple(phone for phone, _ in self.states)

    def stationary(self) -> F64:
        """Share of each state among all phones spoken, [s]."""
        count = len(self.states)
        equations = np.vstack([self.odds.T - np.eye(count), np.ones(count)])
        shares: F64 = np.linalg.lstsq(equations, np.append(np.zeros(count), 1.0), rcond=None)[0]
        return np.asarray(np.clip(shares, 0, None) / np.clip(shares, 0, None).sum())

    def reversed(self) -> "PhoneChain":
        """The same speech heard backwards."""
        shares = self.stationary()
        joint = shares[:, None] * self.odds
        return PhoneChain(self.states, joint.T / np.maximum(joint.sum(axis=0)[:, None], 1e-300))

    def after(self, states: I64, rng: np.random.Generator) -> I64:
        """A successor of each state [n]."""
        return self._drawn(states + rng.random(len(states)))

    def _drawn(self, places: F64) -> I64:
        """The states at these places, row + share, of all rows' odds laid end to end."""
        count = len(self.states)
        found = np.searchsorted(self._ends, places, side="right")
        return np.asarray(np.minimum(found, (places.astype(np.int64) + 1) * count - 1) % count)

    @cached_property
    def _ends(self) -> F64:
        return np.asarray((np.arange(len(self.states))[:, None] + self.odds.cumsum(axis=1)).ravel())

    def mean_phone_s(self) -> float:
        """Mean duration of what is spoken, pauses left out."""
        shares = self.stationary() * (np.array(self.phones) != PAUSE)
        return float(shares @ [PHONES[phone].mean_s for phone in self.phones] / shares.sum())


def chain_of(order: PhoneOrder) -> PhoneChain:
    """English-like syllables, or every phone after every other with the same odds."""
    if order not in ("english", "random"):
        raise ConfigError(f"phones: expected english or random, found {order!r}")
    return _english() if order == "english" else _uniform()


def _uniform() -> PhoneChain:
    states = tuple((phone, "any") for phone in PHONES)
    odds = 1 - np.eye(len(states))
    return PhoneChain(states, odds / odds.sum(axis=1, keepdims=True))


def _english() -> PhoneChain:
    states = [(PAUSE, "pause"), *((phone, "vowel") for phone in VOWELS)]
    states += [(phone, "onset") for phone in CONSONANTS if phone in _ONSET]
    states += [(phone, "onset 2") for phone in sorted({p for seconds in _CLUSTERS.values() for p in seconds.split()})]
    states += [(phone, "coda") for phone in CONSONANTS if phone in _CODA]
    states += [(p, "coda 2") for p in sorted({p for seconds in _CODA_CLUSTERS.values() for p in seconds.split()})]
    number = {state: i for i, state in enumerate(states)}
    odds = np.zeros((len(states), len(states)))

    def lead(row: int, place: str, shares: Mapping[str, float], weight: float) -> None:
        total = sum(shares.values())
        for phone, share in shares.items():
            odds[row, number[phone, place]] += weight * share / total

    def syllable(row: int, weight: float) -> None:
        lead(row, "onset", _ONSET, weight * (1 - _NO_ONSET))
        lead(row, "vowel", _VOWEL, weight * _NO_ONSET)

    for (phone, place), row in number.items():
        left = 1.0
        clusters, often = (_CLUSTERS, _IN_CLUSTER) if place == "onset" else (_CODA_CLUSTERS, _IN_CODA_CLUSTER)
        if place in ("onset", "coda") and phone in clusters:
            lead(row, f"{place} 2", dict.fromkeys(clusters[phone].split(), 1.0), often)
            left -= often
        if place in ("onset", "onset 2"):
            lead(row, "vowel", _VOWEL, left)
        elif place == "vowel":
            lead(row, "coda", _CODA, 1 - _NO_CODA)
            lead(row, "pause", {PAUSE: 1.0}, _NO_CODA * _PAUSES)
            syllable(row, _NO_CODA * (1 - _PAUSES))
        elif place == "pause":
            syllable(row, 1.0)
        else:
            lead(row, "pause", {PAUSE: 1.0}, left * _PAUSES)
            syllable(row, left * (1 - _PAUSES))
        odds[row, [i for i, (other, _) in enumerate(states) if other == phone]] = 0  # doubled phones sound as one
    return PhoneChain(tuple(states), odds / odds.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Spoken:
    """Phones without a gap between them."""

    phones: tuple[str, ...]
    edges_s: F64
    """[n + 1], rising: phone i lasts from edge i to edge i + 1."""
    places: I64
    """[n] states in the chain; -1 where another voice than ours chose the phones."""
    words: tuple[tuple[float, float, str], ...] = ()
    """(start, end, text) in seconds."""

    def timed(self) -> list[tuple[float, float, str]]:
        """(start, end, phone) in seconds, to 0.1 ms."""
        edges = self.edges_s.round(4).tolist()
        return list(zip(edges[:-1], edges[1:], self.phones, strict=True))


def durations(phones: tuple[str, ...], rng: np.random.Generator, tempo: float = 1.0) -> F64:
    """A duration in seconds for each phone; `tempo` 2 is twice as fast."""
    means = np.array([PHONES[phone].mean_s for phone in phones])
    return np.asarray(means * rng.uniform(SHORTEST, LONGEST, len(phones)) / tempo)


def speak(chain: PhoneChain, seconds: float, rng: np.random.Generator, tempo: float = 1.0) -> Spoken:
    """Speech of exactly that length, between pauses."""
    states, lasting = [chain.phones.index(PAUSE)], [LEAD_S]
    while True:
        state = int(chain.after(np.array(states[-1:]), rng)[0])
        length = float(durations((chain.phones[state],), rng, tempo)[0])
        if sum(lasting) + length > seconds - LEAD_S:
            break
        states.append(state)
        lasting.append(length)
    spoken = _between_pauses(chain, states, lasting, seconds)
    return replace(spoken, words=_time_words(spoken, _group_words(spoken.phones, rng), "-"))


def draw_lexicon(chain: PhoneChain, count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Draw `count` different words of two phones or more, as states of the chain."""
    words: dict[tuple[str, ...], tuple[int, ...]] = {}
    while len(words) < count:
        spoken = speak(chain, _LEXICON_S, rng)
        for group in _group_words(spoken.phones, rng):
            if len(group) > 1 and len(words) < count:
                words.setdefault(tuple(spoken.phones[i] for i in group), tuple(spoken.places[group].tolist()))
    return list(words.values())


def speak_words(
    chain: PhoneChain, lexicon: Sequence[tuple[int, ...]], seconds: float, rng: np.random.Generator, tempo: float = 1.0
) -> Spoken:
    """Words of a lexicon in any order, of exactly that length, between pauses; no grammar says which comes next."""
    pause = chain.phones.index(PAUSE)
    states, lasting, groups = [pause], [LEAD_S], []
    while True:
        word = lexicon[int(rng.integers(len(lexicon)))]
        lengths = durations(tuple(chain.phones[state] for state in word), rng, tempo).tolist()
        if sum(lasting) + sum(lengths) > seconds - LEAD_S:
            break
        groups.append(list(range(len(states), len(states) + len(word))))
        states += word
        lasting += lengths
    spoken = _between_pauses(chain, states, lasting, seconds)
    return replace(spoken, words=_time_words(spoken, groups, ""))


def _between_pauses(chain: PhoneChain, states: list[int], lasting: list[float], seconds: float) -> Spoken:
    pause = chain.phones.index(PAUSE)
    if states[-1] != pause:
        states.append(pause)
        lasting.append(0.0)
    lasting[-1] += seconds - sum(lasting)
    edges = np.append(0.0, np.cumsum(lasting))
    edges[-1] = seconds
    return Spoken(tuple(chain.phones[state] for state in states), edges, np.array(states))


def _group_words(phones: tuple[str, ...], rng: np.random.Generator) -> list[list[int]]:
    """Places of phones that make up a word, each with a vowel where the speech has one."""
    groups: list[list[int]] = [[]]
    for i, phone in enumerate(phones):
        if phone == PAUSE:
            groups.append([])
            continue
        has_vowel = any(phones[j] in VOWELS for j in groups[-1])
        if has_vowel and phone in CONSONANTS and rng.random() < _WORD_ENDS:
            groups.append([])
        groups[-1].append(i)
    return [group for group in groups if group]


def _time_words(spoken: Spoken, groups: list[list[int]], between: str) -> tuple[tuple[float, float, str], ...]:
    """(start, end, text) of words, named by their phones."""
    edges = spoken.edges_s
    return tuple(
        (
            round(float(edges[group[0]]), 4),
            round(float(edges[group[-1] + 1]), 4),
            between.join(spoken.phones[i] for i in group),
        )
        for group in groups
    )
