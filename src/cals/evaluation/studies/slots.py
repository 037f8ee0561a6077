"""Slots of a memory that are addressed at each phone."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cals.evaluation.phones import Phone, PhoneRecogniser
from cals.metrics.bootstrap import F64
from cals.metrics.information import mutual_information
from cals.report.plots import open_figure
from cals.types import F32

SHUFFLES = 50
MIN_FRAMES = 10
"""Fewest frames of a phone that is plotted: rows of fewer are noise."""


class PhoneSegment(NamedTuple):
    """One spoken phone: its name, and the addresses [n s] of its frames."""

    phone: str
    address: F64


class Information(NamedTuple):
    """Mutual information of a frame's most addressed slot and its phone, in bits."""

    found: float
    shuffled: float
    """Mean of the same with the phones' names shuffled."""
    highest: float
    """Highest of the shuffled values."""
    phones: float
    """Entropy of the phones, the upper bound."""


def find_phones(recogniser: PhoneRecogniser, wav: F32, words: Sequence[Sequence[object]] | None) -> list[Phone]:
    """Find the phones of a prepared clip, aligned to its words where they are known."""
    return recogniser.find(wav, " ".join(str(word[2]) for word in words) if words else None)


def cut_phones(phones: Sequence[Phone], address: F64, fps: float) -> list[PhoneSegment]:
    """Cut the address [t s] into phones by the middles of frames; phones too short for a frame are left out."""
    middles_s = (np.arange(len(address)) + 0.5) / fps
    segments = [PhoneSegment(name, address[(middles_s >= start) & (middles_s < end)]) for name, start, end in phones]
    return [segment for segment in segments if len(segment.address)]


def measure_information(spoken: Sequence[PhoneSegment], seed: int) -> Information:
    """Measure the mutual information of slot and phone over all frames, and its value by chance."""
    lengths = [len(one.address) for one in spoken]
    slots = np.concatenate([one.address.argmax(axis=1) for one in spoken]).astype(np.int64)
    names = np.unique([one.phone for one in spoken], return_inverse=True)[1].astype(np.int64)
    phones = np.repeat(names, lengths)
    rng = np.random.default_rng(seed)
    shuffled = [mutual_information(slots, np.repeat(rng.permutation(names), lengths)) for _ in range(SHUFFLES)]
    return Information(
        found=mutual_information(slots, phones),
        shuffled=float(np.mean(shuffled)),
        highest=max(shuffled),
        phones=mutual_information(phones, phones),
    )


def tabulate_slots(spoken: Sequence[PhoneSegment]) -> tuple[list[str], F64]:
    """Return phones, and the mean weight [phones s] of every slot in their frames."""
    frames: dict[str, list[F64]] = {}
    for one in spoken:
        frames.setdefault(one.phone, []).append(one.address)
    addresses = {name: np.concatenate(blocks) for name, blocks in sorted(frames.items())}
    names = [name for name, blocks in addresses.items() if len(blocks) >= MIN_FRAMES] or list(addresses)
    return names, np.stack([addresses[name].mean(axis=0) for name in names])


def draw_slots(path: Path, names: Sequence[str], weights: F64, title: str) -> None:
    """Draw a heat map of phones [p] by slots, [p s], as PNG: the likelihood ratio of a slot at a phone to its mean.

    Slots of the same phone are side by side, and phones of similar slots one above the other.
    """
    ratio = weights / np.maximum(weights.mean(axis=0), 1e-12)
    rows = _order_rows(ratio)
    ratio = ratio[rows]
    columns = np.lexsort((-ratio.max(axis=0), ratio.argmax(axis=0)))
    with open_figure(path, size_in=(11, 1.5 + 0.2 * len(names)), dpi=110) as axes:
        axis = axes[0, 0]
        image = axis.imshow(np.log2(np.clip(ratio[:, columns], 0.25, 4)), aspect="auto", cmap="RdBu_r", vmin=-2, vmax=2)
        axis.set_yticks(range(len(names)), [names[row] for row in rows], fontsize=8)
        axis.set(xlabel="slots, by the phone that they are likeliest at", title=title)
        axis.figure.colorbar(image, label="log2 of weight at the phone / mean over phones", ax=axis)


def _order_rows(rows: F64) -> list[int]:
    """Order rows greedily from the first, each the nearest to the one before among those that remain."""
    remaining, order = list(range(1, len(rows))), [0]
    while remaining:
        distances = [float(np.square(rows[row] - rows[order[-1]]).sum()) for row in remaining]
        order.append(remaining.pop(int(np.argmin(distances))))
    return order
