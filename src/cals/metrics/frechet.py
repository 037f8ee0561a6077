"""Frechet distance between two sets of features (FID, by whatever features it is given), and features of our own."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

F64 = NDArray[np.float64]


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """|mean a - mean b|^2 + tr(A + B - 2 (A B)^1/2) for features [n d] with covariances A and B (Heusel et al., 2017).

    In float64, and without the square root of a matrix that is not symmetric: the last trace is the sum of the
    singular values of A^1/2 B^1/2, which also holds where fewer samples than dimensions leave A or B singular. It is
    biased: few samples look further apart than many, so only sets of equal size can be compared.
    """
    if min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"frechet: expected two sets of 2 or more features of one width, found {a.shape} and {b.shape}"
        )
    a, b = a.astype(np.float64), b.astype(np.float64)
    apart = a.mean(axis=0) - b.mean(axis=0)
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    shared = np.linalg.svd(_root(cov_a) @ _root(cov_b), compute_uv=False).sum()
    return float(max(apart @ apart + np.trace(cov_a) + np.trace(cov_b) - 2 * shared, 0.0))


def _root(covariance: F64) -> F64:
    """Square root of a symmetric matrix without negative eigenvalues, [d d]."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)


def trunk_features(encoder: nn.Module, windows: Tensor) -> Tensor:
    """The features of FID-sync: what a visual sync encoder's `layers` see of windows [b ...], averaged over place.

    [b channels]; with the shipped encoder 256 numbers of the lower half of a face over 5 frames, before the head
    that keeps only what sound tells. Not the Inception features of published FIDs, which no figure here compares to.
    """
    seen: list[Tensor] = []
    hook = encoder.get_submodule("layers").register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    try:
        with torch.inference_mode():
            encoder(windows)
    finally:
        hook.remove()
    return seen[0].flatten(2).mean(dim=2)
