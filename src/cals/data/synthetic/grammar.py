"""Phones as a Markov chain: what comes before and after a segment can be sampled exactly."""

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


def _parse_shares(text: str) -> dict[str, float]:
    """Parse `phone share phone share ...`."""
    words = text.split()
    return {phone: float(share) for phone, share in zip(words[::2], words[1::2], strict=True)}


_VOWEL = _parse_shares("AH 12 IH 10 IY 5 EH 5 AE 5 AA 3 AO 3 UH 1.5 UW 3 ER 4 EY 4 AY 4 OW 4 AW 1.5 OY 0.5")
_ONSET = _parse_shares(
    "T 7 D 6 K 5 G 2.5 P 4 B 5 M 5 N 4 F 4 V 1.5 TH 1.5 DH 7 S 6 Z 0.7 SH 2 ZH 0.1 CH 1.5 JH 1.5 L 4 R 5 W 5 Y 2 HH 4"
)
_CODA = _parse_shares("T 8 D 7 K 4 P 2 B 1 G 1 M 4 N 10 NG 3 F 1.5 V 3 TH 0.7 S 5 Z 6 SH 0.7 CH 0.8 JH 0.6 L 5 R 6")
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
"""Probability that a consonant is followed by another one of its cluster, where it can be."""
_NO_ONSET, _NO_CODA, _PAUSES = 0.15, 0.4, 0.06
_WORD_ENDS = 0.6
_LEXICON_S = 30.0
"""Length of the speech from which words are taken."""


@dataclass(frozen=True, eq=False)
class PhoneChain:
    """States, each a phone in a position of the syllable, and the probabilities of their successors."""

    states: tuple[tuple[str, str], ...]
    """(phone, position)."""
    odds: F64 = field(repr=False)
    """Transition probabilities [s s], rows sum to 1."""

    @property
    def phones(self) -> tuple[str, ...]:
        """Phone of each state."""
        return tuple(phone for phone, _ in self.states)

    def compute_shares(self) -> F64:
        """Compute the share of each state among all phones spoken, [s]."""
        count = len(self.states)
        equations = np.vstack([self.odds.T - np.eye(count), np.ones(count)])
        shares: F64 = np.linalg.lstsq(equations, np.append(np.zeros(count), 1.0), rcond=None)[0]
        return np.asarray(np.clip(shares, 0, None) / np.clip(shares, 0, None).sum())

    def reverse(self) -> "PhoneChain":
        """Return the chain of the same speech backwards."""
        shares = self.compute_shares()
        joint = shares[:, None] * self.odds
        return PhoneChain(self.states, joint.T / np.maximum(joint.sum(axis=0)[:, None], 1e-300))

    def sample_next(self, states: I64, rng: np.random.Generator) -> I64:
        """Sample a successor of each state [n]."""
        return self._find_states(states + rng.random(len(states)))

    def _find_states(self, places: F64) -> I64:
        """Find the states at these places, row + share, in the cumulative probabilities of all rows."""
        count = len(self.states)
        index = np.searchsorted(self._cumulative_odds, places, side="right")
        return np.asarray(np.minimum(index, (places.astype(np.int64) + 1) * count - 1) % count)

    @cached_property
    def _cumulative_odds(self) -> F64:
        return np.asarray((np.arange(len(self.states))[:, None] + self.odds.cumsum(axis=1)).ravel())

    def mean_phone_s(self) -> float:
        """Compute the mean duration of the phones, without pauses."""
        shares = self.compute_shares() * (np.array(self.phones) != PAUSE)
        return float(shares @ [PHONES[phone].mean_s for phone in self.phones] / shares.sum())


def build_chain(order: PhoneOrder) -> PhoneChain:
    """Build the chain of English-like syllables, or of every phone after every other with equal probability."""
    if order not in ("english", "random"):
        raise ConfigError(f"phones: expected english or random, found {order!r}")
    return _build_english_chain() if order == "english" else _build_uniform_chain()


def _build_uniform_chain() -> PhoneChain:
    states = tuple((phone, "any") for phone in PHONES)
    odds = 1 - np.eye(len(states))
    return PhoneChain(states, odds / odds.sum(axis=1, keepdims=True))


def _build_english_chain() -> PhoneChain:
    states = [(PAUSE, "pause"), *((phone, "vowel") for phone in VOWELS)]
    states += [(phone, "onset") for phone in CONSONANTS if phone in _ONSET]
    states += [(phone, "onset 2") for phone in sorted({p for seconds in _CLUSTERS.values() for p in seconds.split()})]
    states += [(phone, "coda") for phone in CONSONANTS if phone in _CODA]
    states += [(p, "coda 2") for p in sorted({p for seconds in _CODA_CLUSTERS.values() for p in seconds.split()})]
    number = {state: i for i, state in enumerate(states)}
    odds = np.zeros((len(states), len(states)))

    def add_odds(row: int, place: str, shares: Mapping[str, float], weight: float) -> None:
        total = sum(shares.values())
        for phone, share in shares.items():
            odds[row, number[phone, place]] += weight * share / total

    def syllable(row: int, weight: float) -> None:
        add_odds(row, "onset", _ONSET, weight * (1 - _NO_ONSET))
        add_odds(row, "vowel", _VOWEL, weight * _NO_ONSET)

    for (phone, place), row in number.items():
        remaining = 1.0
        clusters, cluster_odds = (_CLUSTERS, _IN_CLUSTER) if place == "onset" else (_CODA_CLUSTERS, _IN_CODA_CLUSTER)
        if place in ("onset", "coda") and phone in clusters:
            add_odds(row, f"{place} 2", dict.fromkeys(clusters[phone].split(), 1.0), cluster_odds)
            remaining -= cluster_odds
        if place in ("onset", "onset 2"):
            add_odds(row, "vowel", _VOWEL, remaining)
        elif place == "vowel":
            add_odds(row, "coda", _CODA, 1 - _NO_CODA)
            add_odds(row, "pause", {PAUSE: 1.0}, _NO_CODA * _PAUSES)
            syllable(row, _NO_CODA * (1 - _PAUSES))
        elif place == "pause":
            syllable(row, 1.0)
        else:
            add_odds(row, "pause", {PAUSE: 1.0}, remaining * _PAUSES)
            syllable(row, remaining * (1 - _PAUSES))
        odds[row, [i for i, (other, _) in enumerate(states) if other == phone]] = 0  # doubled phones sound as one
    return PhoneChain(tuple(states), odds / odds.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class PhoneSequence:
    """A phone sequence without gaps."""

    phones: tuple[str, ...]
    edges_s: F64
    """[n + 1], rising: phone i lasts from edge i to edge i + 1."""
    places: I64
    """[n] states in the chain; -1 where another synthesiser chose the phones."""
    words: tuple[tuple[float, float, str], ...] = ()
    """(start, end, text) in seconds."""

    def list_times(self) -> list[tuple[float, float, str]]:
        """Return (start, end, phone) in seconds, to 0.1 ms."""
        edges = self.edges_s.round(4).tolist()
        return list(zip(edges[:-1], edges[1:], self.phones, strict=True))


def sample_durations(phones: tuple[str, ...], rng: np.random.Generator, tempo: float = 1.0) -> F64:
    """Sample a duration in seconds for each phone; `tempo` 2 is twice as fast."""
    means = np.array([PHONES[phone].mean_s for phone in phones])
    return np.asarray(means * rng.uniform(SHORTEST, LONGEST, len(phones)) / tempo)


def speak(chain: PhoneChain, seconds: float, rng: np.random.Generator, tempo: float = 1.0) -> PhoneSequence:
    """Sample speech of exactly that length, between pauses."""
    states, durations_s = [chain.phones.index(PAUSE)], [LEAD_S]
    while True:
        state = int(chain.sample_next(np.array(states[-1:]), rng)[0])
        length = float(sample_durations((chain.phones[state],), rng, tempo)[0])
        if sum(durations_s) + length > seconds - LEAD_S:
            break
        states.append(state)
        durations_s.append(length)
    speech = _close_with_pause(chain, states, durations_s, seconds)
    return replace(speech, words=_time_words(speech, _group_words(speech.phones, rng), "-"))


def draw_lexicon(chain: PhoneChain, count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Sample `count` different words of two phones or more, as states of the chain."""
    words: dict[tuple[str, ...], tuple[int, ...]] = {}
    while len(words) < count:
        speech = speak(chain, _LEXICON_S, rng)
        for group in _group_words(speech.phones, rng):
            if len(group) > 1 and len(words) < count:
                words.setdefault(tuple(speech.phones[i] for i in group), tuple(speech.places[group].tolist()))
    return list(words.values())


def speak_words(
    chain: PhoneChain, lexicon: Sequence[tuple[int, ...]], seconds: float, rng: np.random.Generator, tempo: float = 1.0
) -> PhoneSequence:
    """Sample words of a lexicon independently, to exactly that length, between pauses."""
    pause = chain.phones.index(PAUSE)
    states, durations_s, groups = [pause], [LEAD_S], []
    while True:
        word = lexicon[int(rng.integers(len(lexicon)))]
        lengths = sample_durations(tuple(chain.phones[state] for state in word), rng, tempo).tolist()
        if sum(durations_s) + sum(lengths) > seconds - LEAD_S:
            break
        groups.append(list(range(len(states), len(states) + len(word))))
        states += word
        durations_s += lengths
    speech = _close_with_pause(chain, states, durations_s, seconds)
    return replace(speech, words=_time_words(speech, groups, ""))


def _close_with_pause(chain: PhoneChain, states: list[int], durations_s: list[float], seconds: float) -> PhoneSequence:
    """Close the speech with a pause up to exactly that length."""
    pause = chain.phones.index(PAUSE)
    if states[-1] != pause:
        states.append(pause)
        durations_s.append(0.0)
    durations_s[-1] += seconds - sum(durations_s)
    edges = np.append(0.0, np.cumsum(durations_s))
    edges[-1] = seconds
    return PhoneSequence(tuple(chain.phones[state] for state in states), edges, np.array(states))


def _group_words(phones: tuple[str, ...], rng: np.random.Generator) -> list[list[int]]:
    """Group the places of phones into words, each with a vowel where the speech has one."""
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


def _time_words(speech: PhoneSequence, groups: list[list[int]], between: str) -> tuple[tuple[float, float, str], ...]:
    """Return (start, end, text) of words, named by their phones."""
    edges = speech.edges_s
    return tuple(
        (
            round(float(edges[group[0]]), 4),
            round(float(edges[group[-1] + 1]), 4),
            between.join(speech.phones[i] for i in group),
        )
        for group in groups
    )
