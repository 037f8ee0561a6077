"""How far a face's mouth goes when it is drawn: found by drawing it and looking, once for each person."""

import torch
from torch import Tensor

LEVELS = (0.0, 1.0, 2.0)
"""Openings tried on, in standard deviations of speech."""
USUAL = 0.7
"""The usual response (mean of twelve GRID clips, 0.5 to 0.9): a moved mouth shows a face mesh less than a real one."""
_USUAL_WEIGHT = 2.0
"""What the usual response counts, in squared pixels of opening: as much as a handful of trials."""
_LEAST, _MOST = 0.55, 1.1


def measured_response(told: Tensor, shown: Tensor) -> Tensor:
    """Response [] by ridge regression over trials [n] in pixels of opening.

    A mouth told to open wider by `told` is seen to do so by `shown`: a share of it and a little that never changes.
    """
    rows = torch.stack([told, torch.ones_like(told)], dim=1).double()
    weight = _USUAL_WEIGHT * torch.eye(2, dtype=torch.float64, device=told.device)
    usual = torch.tensor([USUAL, 0.0], dtype=torch.float64, device=told.device)
    found = torch.linalg.solve(rows.T @ rows + weight, rows.T @ shown.double() + weight @ usual)
    return found[0].clamp(_LEAST, _MOST).float()
