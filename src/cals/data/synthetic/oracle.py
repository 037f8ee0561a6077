"""The upper bound of prediction from a window: the explained share of the middle frame's mouth, by Monte Carlo.

The best prediction from a window is the mean mouth over all speech that sounds like this within it. What lies outside
is sampled from the same grammar, many times. A phone that is cut by the window's edge is known by name, not in its
length beyond the edge.
"""

from dataclasses import dataclass, field

import numpy as np

from cals.data.synthetic.grammar import F64, I64, PhoneChain, PhoneSequence, speak
from cals.data.synthetic.mouth import Dominance, compute_mouth, look_up_phones
from cals.data.synthetic.phones import LONGEST, PHONES, SHORTEST

SHARE = 0.95
"""Share of the curve's gain at which the window is read."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ContextCurve:
    """Explained share of the variance against the window; without any window it is 0."""

    fps: int = 25
    ks: tuple[int, ...]
    """Frames on either side of the middle one; the window is (2 k + 1) / fps seconds."""
    explained: F64 = field(repr=False)
    """[k 3] of opening, width, protrusion."""

    @property
    def windows_s(self) -> F64:
        """Length of each window."""
        return (2 * np.array(self.ks) + 1) / self.fps

    @property
    def mean(self) -> F64:
        """[k] mean of the three, each relative to its own variance."""
        return np.asarray(self.explained.mean(axis=1))

    def window_s(self, share: float = SHARE, *, gain: bool = False) -> float:
        """Return `find_window` of the mean."""
        return find_window(self.windows_s, self.mean, share, gain=gain)


def find_window(windows_s: F64, explained: F64, share: float = SHARE, *, gain: bool = False) -> float:
    """Find the least window at which a curve reaches `share` of its best, interpolating linearly.

    The curve starts from 0 where nothing is heard. With `gain` only the gain over the first window counts, as in `cals
    context`; where that is negligible the result means nothing.
    """
    windows, curve = np.append(0.0, windows_s), np.append(0.0, explained)
    floor = float(explained[0]) if gain else 0.0
    goal = floor + share * (float(curve.max()) - floor)
    i = max(int(np.argmax(curve >= goal)), 1)
    rise = max(float(curve[i] - curve[i - 1]), 1e-12)
    return float(windows[i - 1] + (goal - curve[i - 1]) / rise * (windows[i] - windows[i - 1]))


def compute_oracle_curve(
    chain: PhoneChain,
    dominance: Dominance,
    ks: tuple[int, ...],
    *,
    seed: int = 0,
    moments: int = 400,
    completions: int = 48,
    fps: int = 25,
    deaf_s: float = 0.0,
) -> ContextCurve:
    """Compute the curve of the best possible predictor, from `moments` moments of speech of this grammar at tempo 1.

    `deaf_s` (under half a frame) is the part of the window at either edge that is not used, as the half of a spectrum's
    own window that lies beyond the cut. With 0, a phone is known as soon as 1 ms of it is heard.
    """
    rng = np.random.default_rng([seed, 20_01])
    margin_s = max(dominance.before_s, dominance.after_s) + max(ks) / fps + 1.0
    spoken = speak(chain, 2 * margin_s + moments * 0.4, rng)
    times = rng.uniform(margin_s, spoken.edges_s[-1] - margin_s, moments)
    truth = compute_mouth(spoken, times, dominance)
    explained: list[F64] = []
    for k in ks:
        half_s = (k + 0.5) / fps - deaf_s
        if half_s >= max(dominance.before_s, dominance.after_s):  # then nothing that matters is unknown
            explained.append(np.ones(3))
            continue
        completed = _sample_completions(chain, spoken, times, half_s, dominance, completions, rng)
        error = (truth - completed.mean(axis=1)) ** 2
        # The mean of so many draws strays itself; what it strays by is known from their spread.
        sampling_variance = completed.var(axis=1, ddof=1) / completions
        variance = np.maximum(truth.var(axis=0), 1e-12)  # what stands still is known
        explained.append(1 - (error - sampling_variance).mean(axis=0) / variance)
    return ContextCurve(fps=fps, ks=ks, explained=np.array(explained))


def _sample_completions(
    chain: PhoneChain,
    spoken: PhoneSequence,
    times: F64,
    half_s: float,
    dominance: Dominance,
    draws: int,
    rng: np.random.Generator,
) -> F64:
    """Sample mouths [t draws 3] of speech that is the same within `half_s` of each time, and random beyond."""
    edges, last = spoken.edges_s, len(spoken.phones) - 1
    left = np.clip(np.searchsorted(edges, times - half_s, side="right") - 1, 0, last)
    right = np.clip(np.searchsorted(edges, times + half_s, side="left") - 1, 0, last)
    starts, ends = _sample_outer_edges(spoken, times, half_s, left, right, draws, rng)
    top, bottom = _sum_known_phones(spoken, times, left, right, dominance, starts, ends)
    target, strength, shares = look_up_phones(chain.phones)
    means = np.array([PHONES[phone].mean_s for phone in chain.phones])
    for sign, edge, first in ((-1.0, starts, left), (1.0, ends, right)):
        walk = chain if sign > 0 else chain.reverse()
        states = np.repeat(spoken.places[first], draws)
        distance = edge.ravel() * sign  # seconds outward from the middle
        reach = dominance.before_s if sign > 0 else dominance.after_s
        while bool((distance < reach).any()):
            states = walk.sample_next(states, rng)
            absent = np.full_like(distance, -1.0)
            weights = dominance.compute_weights(
                *((distance, absent) if sign > 0 else (absent, distance)), shares[states]
            )
            weighted = (weights[:, None] * strength[states]).reshape(len(times), draws, 3)
            top += weighted * target[states].reshape(len(times), draws, 3)
            bottom += weighted
            distance = distance + means[states] * rng.uniform(SHORTEST, LONGEST, len(states))
    return np.asarray(top / bottom)


def _sample_outer_edges(
    spoken: PhoneSequence, times: F64, half_s: float, left: I64, right: I64, draws: int, rng: np.random.Generator
) -> tuple[F64, F64]:
    """Sample where the first known phone begins and the last one ends, in seconds from the middle, [t draws] each."""
    means = np.array([PHONES[phone].mean_s for phone in spoken.phones])
    first_end, last_start = spoken.edges_s[left + 1] - times, spoken.edges_s[right] - times
    shape = (len(times), draws)

    def sample(which: I64, known: F64) -> F64:
        low = np.maximum(SHORTEST * means[which], known)[:, None]
        return np.asarray(low + rng.random(shape) * np.maximum(LONGEST * means[which][:, None] - low, 0))

    starts = first_end[:, None] - sample(left, first_end + half_s)
    ends = last_start[:, None] + sample(right, half_s - last_start)
    # One phone all over the window: the longer it is, the more ways there are for it to lie so.
    known = np.full(len(times), 2 * half_s)
    low = np.maximum(SHORTEST * means[left] - known, 0)[:, None]
    high = np.maximum(LONGEST * means[left] - known, 0)[:, None]
    excess = np.sqrt(low**2 + rng.random(shape) * (high**2 - low**2))
    before = rng.random(shape) * excess
    alone = (left == right)[:, None]
    return np.where(alone, -half_s - before, starts), np.where(alone, half_s + excess - before, ends)


def _sum_known_phones(
    spoken: PhoneSequence, times: F64, left: I64, right: I64, dominance: Dominance, starts: F64, ends: F64
) -> tuple[F64, F64]:
    """Sum weighted targets and weights [t draws 3] of the phones that are heard."""
    target, strength, shares = look_up_phones(spoken.phones)
    top = np.zeros((*starts.shape, 3))
    bottom = np.zeros_like(top)
    for row, (low, high) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        begin = np.repeat(spoken.edges_s[None, low : high + 1] - times[row], starts.shape[1], axis=0)
        end = np.repeat(spoken.edges_s[None, low + 1 : high + 2] - times[row], starts.shape[1], axis=0)
        begin[:, 0], end[:, -1] = starts[row], ends[row]
        weights = dominance.compute_weights(begin, -end, shares[low : high + 1])[..., None] * strength[low : high + 1]
        top[row] = (weights * target[low : high + 1]).sum(axis=1)
        bottom[row] = weights.sum(axis=1)
    return top, bottom
