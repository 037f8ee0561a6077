"""Which slots of a memory are addressed at which phones."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cals.evaluation.phones import Phone, PhoneRecogniser
from cals.evaluation.studies.plots import plotter
from cals.metrics.bootstrap import F64
from cals.metrics.information import mutual_information
from cals.types import F32

SHUFFLES = 50
FEWEST_FRAMES = 10
"""Phones of fewer frames are not drawn: their rows would be noise."""


class Spoken(NamedTuple):
    """One phone as it was said once: its name, and how each of its frames addresses the slots, [n s]."""

    phone: str
    address: F64


class Information(NamedTuple):
    """What the most addressed slot of a frame says of its phone, in bits."""

    found: float
    shuffled: float
    """The mean of the same with the phones' names dealt out anew among all that was said."""
    highest: float
    """The highest of these."""
    phones: float
    """What there is to say: the entropy of the phones."""


def find_phones(recogniser: PhoneRecogniser, wav: F32, words: Sequence[Sequence[object]] | None) -> list[Phone]:
    """The phones of a prepared clip: those of its words where they are known."""
    return recogniser.find(wav, " ".join(str(word[2]) for word in words) if words else None)


def cut_phones(phones: Sequence[Phone], address: F64, fps: float) -> list[Spoken]:
    """The frames [t s] of each phone, those whose middle lies in it; phones too short for one are left out."""
    middles_s = (np.arange(len(address)) + 0.5) / fps
    found = [Spoken(name, address[(middles_s >= start) & (middles_s < end)]) for name, start, end in phones]
    return [spoken for spoken in found if len(spoken.address)]


def measure_information(spoken: Sequence[Spoken], seed: int) -> Information:
    """Mutual information of slot and phone over all frames, and what it would be if they had nothing to do."""
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


def tabulate_slots(spoken: Sequence[Spoken]) -> tuple[list[str], F64]:
    """Phones, and the mean weight of every slot in their frames, [phones s]."""
    frames: dict[str, list[F64]] = {}
    for one in spoken:
        frames.setdefault(one.phone, []).append(one.address)
    every = {name: np.concatenate(found) for name, found in sorted(frames.items())}
    names = [name for name, found in every.items() if len(found) >= FEWEST_FRAMES] or list(every)
    return names, np.stack([every[name].mean(axis=0) for name in names])


def draw_slots(path: Path, names: Sequence[str], weights: F64, title: str) -> None:
    """A heat map of phones [p] by slots as PNG, [p s]: how much likelier a slot is at a phone than on the whole.

    Slots that like the same phone stand side by side, and phones that like the same slots one above the other.
    """
    pyplot = plotter()
    likelier = weights / np.maximum(weights.mean(axis=0), 1e-12)
    rows = _order(likelier)
    likelier = likelier[rows]
    columns = np.lexsort((-likelier.max(axis=0), likelier.argmax(axis=0)))
    figure, axis = pyplot.subplots(figsize=(11, 1.5 + 0.2 * len(names)))
    image = axis.imshow(np.log2(np.clip(likelier[:, columns], 0.25, 4)), aspect="auto", cmap="RdBu_r", vmin=-2, vmax=2)
    axis.set_yticks(range(len(names)), [names[row] for row in rows], fontsize=8)
    axis.set(xlabel="slots, by the phone that they are likeliest at", title=title)
    figure.colorbar(image, label="log2 of weight at the phone / mean over phones")
    figure.tight_layout()
    figure.savefig(path, dpi=110, format="png")
    pyplot.close(figure)


def _order(rows: F64) -> list[int]:
    """Rows one after another, each the nearest to the one before of those that are left; from the first one on."""
    left, order = list(range(1, len(rows))), [0]
    while left:
        away = [float(np.square(rows[place] - rows[order[-1]]).sum()) for place in left]
        order.append(left.pop(int(np.argmin(away))))
    return order
