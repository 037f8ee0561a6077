"""Contact sheets of a network's output beside its target."""

from pathlib import Path

import numpy as np
from torch import Tensor

from cals.face.draw import encode_png, render_contact_sheet
from cals.files import replace_atomically

DIFFERENCE_GAIN = 4
"""Factor on differences: those that matter late in training would be too dark to be visible."""


def write_training_sheet(path: Path, reference: Tensor, target: Tensor, generated: Tensor) -> None:
    """Write a PNG with rows of reference, target, generated and their difference, [n 3 h w] in 0..1 each."""
    if not reference.shape == target.shape == generated.shape:
        raise ValueError(
            f"training sheet: expected three stacks of one shape, found {tuple(reference.shape)}, "
            f"{tuple(target.shape)} and {tuple(generated.shape)}"
        )
    rows = {
        "reference": reference,
        "target": target,
        "generated": generated,
        f"difference x{DIFFERENCE_GAIN}": DIFFERENCE_GAIN * (generated.float() - target.float()).abs(),
    }
    columns = len(reference)
    images = [image for row in rows.values() for image in _to_uint8(row)]
    labels = [text for name in rows for text in [name, *[""] * (columns - 1)]]
    sheet = render_contact_sheet(images, columns, labels)
    with replace_atomically(path) as partial:
        partial.write_bytes(encode_png(sheet))


def _to_uint8(images: Tensor) -> np.ndarray:
    """Convert floats [n 3 h w] in 0..1 to bytes [n h w 3]."""
    bytes_ = (images.detach().float().clamp(0, 1) * 255).round().byte()
    return bytes_.permute(0, 2, 3, 1).cpu().numpy()
