"""Co-articulation by dominance functions of finite support: what a frame depends on is known exactly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cals.data.synthetic.grammar import PhoneSequence
from cals.data.synthetic.phones import PHONES, Mouth
from cals.errors import ConfigError

F64 = NDArray[np.float64]
PARAMETERS = Mouth._fields


@dataclass(frozen=True, kw_only=True)
class Dominance:
    """Weight of each phone: full while it sounds, falling to exactly 0 at its reach before and after (ours).

    After Cohen and Massaro (1993), whose exponentials never end. The mouth at time t depends on the phones that overlap
    (t - after_s, t + before_s), on their borders therein, and on nothing else.
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
    def from_reach(cls, reach_s: float) -> "Dominance":
        """Build a dominance of the same reach both ways."""
        return cls(before_s=reach_s, after_s=reach_s)

    @property
    def support_s(self) -> float:
        """The true window: nothing outside of this time around a moment matters to its mouth."""
        return self.before_s + self.after_s

    def compute_weights(self, ahead_s: F64, ago_s: F64, shares: F64) -> F64:
        """Compute the weight of phones that begin in `ahead_s` and ended `ago_s` before; at most 0 is not yet, not any
        more.

        `shares` are the phones' own parts of the reach; all arrays broadcast.
        """
        away = np.maximum(ahead_s, ago_s)
        reach = np.where(ahead_s > 0, self.before_s, self.after_s) * shares
        place = (away / np.maximum(reach, 1e-9) - self.hold) / (1 - self.hold)
        return np.where(away <= 0, 1.0, 0.5 + 0.5 * np.cos(np.pi * np.clip(place, 0, 1)))


def look_up_phones(phones: tuple[str, ...]) -> tuple[F64, F64, F64]:
    """Look up targets [n 3], strengths [n 3] and shares of the reach [n] of these phones."""
    entries = [PHONES[phone] for phone in phones]
    return (
        np.array([phone.target for phone in entries]),
        np.array([phone.strength for phone in entries]),
        np.array([phone.reach for phone in entries]),
    )


def compute_mouth(spoken: PhoneSequence, times_s: F64, dominance: Dominance) -> F64:
    """Compute opening, width and protrusion at these times, [t 3]: the dominance-weighted mean of the targets."""
    target, strength, shares = look_up_phones(spoken.phones)
    starts, ends = spoken.edges_s[:-1], spoken.edges_s[1:]
    # At an edge the later phone sounds: exactly one does at any time.
    ahead_s, ago_s = starts - times_s[:, None], times_s[:, None] - ends
    ago_s = np.where(ago_s == 0, 1e-12, ago_s)
    weights = dominance.compute_weights(ahead_s, ago_s, shares)[..., None] * strength
    return np.asarray((weights * target).sum(axis=1) / weights.sum(axis=1))


def compute_frame_times(frames: int, fps: int = 25) -> F64:
    """Return the middles of video frames, in seconds."""
    return (np.arange(frames) + 0.5) / fps
