"""Frechet distance between two sets of features (FID for any features), and the features of FID-sync."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

F64 = NDArray[np.float64]


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Compute the distance of two sets of features [n d] with covariances A and B (Heusel et al., 2017).

    It is |mean a - mean b|^2 + tr(A + B - 2 (A B)^1/2), in float64, without the square root of an asymmetric matrix:
    the last trace is the sum of the singular values of A^1/2 B^1/2. This also holds where fewer samples than dimensions
    leave A or B singular. The distance is biased: it is larger for fewer samples, so only sets of equal size can be
    compared.
    """
    if min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"frechet: expected two sets of 2 or more features of one width, found {a.shape} and {b.shape}"
        )
    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_difference = a.mean(axis=0) - b.mean(axis=0)
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    cross_trace = np.linalg.svd(_matrix_sqrt(cov_a) @ _matrix_sqrt(cov_b), compute_uv=False).sum()
    return float(max(mean_difference @ mean_difference + np.trace(cov_a) + np.trace(cov_b) - 2 * cross_trace, 0.0))


def _matrix_sqrt(covariance: F64) -> F64:
    """Compute the square root [d d] of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)


def extract_trunk_features(encoder: nn.Module, windows: Tensor) -> Tensor:
    """Return the features of FID-sync [b channels]: a visual sync encoder's `layers` on windows [b ...], averaged.

    The mean is over positions. The shipped encoder gives 256 numbers of the lower half of a face over 5 frames, before
    the head that keeps only what correlates with sound. They are not the Inception features of published FIDs, and no
    figure here compares to those.
    """
    outputs: list[Tensor] = []
    hook = encoder.get_submodule("layers").register_forward_hook(lambda _module, _inputs, out: outputs.append(out))
    try:
        with torch.inference_mode():
            encoder(windows)
    finally:
        hook.remove()
    return outputs[0].flatten(2).mean(dim=2)
