"""How lips follow the phones: dominance functions that end, so that what a frame depends on is known exactly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cals.data.synthetic.grammar import Spoken
from cals.data.synthetic.phones import PHONES, Mouth
from cals.errors import ConfigError

F64 = NDArray[np.float64]
PARAMETERS = Mouth._fields


@dataclass(frozen=True, kw_only=True)
class Dominance:
    """Each phone's weight: full while it sounds, falling to exactly 0 at its reach before and after (ours).

    After Cohen and Massaro (1993), whose exponentials never end. The mouth at time t depends on the phones that
    overlap (t - after_s, t + before_s), on their borders therein, and on nothing else.
    """

    before_s: float = 0.4
    """How early a phone begins to shape the mouth: anticipation."""
    after_s: float = 0.4
    """How long it goes on to: carry-over."""
    hold: float = 0.5
    """Share of the reach within which the weight stays full; over the rest it falls as half a cosine."""

    def __post_init__(self) -> None:
        if not (0 <= self.before_s <= 2 and 0 <= self.after_s <= 2 and 0 <= self.hold < 1):
            raise ConfigError(f"reach: expected 0 to 2 s and a hold from 0 up to 1, found {self}")

    @classmethod
    def of_reach(cls, reach_s: float) -> "Dominance":
        """The same reach both ways."""
        return cls(before_s=reach_s, after_s=reach_s)

    @property
    def support_s(self) -> float:
        """The true window: the time around a moment outside of which nothing matters to its mouth."""
        return self.before_s + self.after_s

    def weights(self, ahead_s: F64, ago_s: F64, shares: F64) -> F64:
        """Weight of phones that begin in `ahead_s` and ended `ago_s` before (0 or less: not yet, not any more).

        `shares` are the phones' own parts of the reach; all arrays broadcast.
        """
        away = np.maximum(ahead_s, ago_s)
        reach = np.where(ahead_s > 0, self.before_s, self.after_s) * shares
        place = (away / np.maximum(reach, 1e-9) - self.hold) / (1 - self.hold)
        return np.where(away <= 0, 1.0, 0.5 + 0.5 * np.cos(np.pi * np.clip(place, 0, 1)))


def targets_and_strengths(phones: tuple[str, ...]) -> tuple[F64, F64, F64]:
    """Targets [n 3], strengths [n 3] and shares of the reach [n] of these phones."""
    known = [PHONES[phone] for phone in phones]
    return (
        np.array([phone.target for phone in known]),
        np.array([phone.strength for phone in known]),
        np.array([phone.reach for phone in known]),
    )


def mouth_at(spoken: Spoken, times_s: F64, dominance: Dominance) -> F64:
    """Opening, width and protrusion at these times, [t 3]: the targets' mean, weighted by dominance."""
    target, strength, shares = targets_and_strengths(spoken.phones)
    starts, ends = spoken.edges_s[:-1], spoken.edges_s[1:]
    # At an edge the later phone sounds: exactly one does at any time.
    ahead, ago = starts - times_s[:, None], times_s[:, None] - ends
    ago = np.where(ago == 0, 1e-12, ago)
    weights = dominance.weights(ahead, ago, shares)[..., None] * strength
    return np.asarray((weights * target).sum(axis=1) / weights.sum(axis=1))


def frame_times(frames: int, fps: int = 25) -> F64:
    """The middles of video frames, in seconds."""
    return (np.arange(frames) + 0.5) / fps
