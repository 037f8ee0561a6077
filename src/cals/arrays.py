"""Arrays of two kinds, NumPy's and torch's: what geometry needs beyond the methods that both have.

So geometry is written once, differentiable in training, and runs where torch is not installed.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = Any
"""A NumPy array or a torch tensor; all arrays given to a function are of one kind, and so is its result."""
P = ParamSpec("P")
T = TypeVar("T")


def is_tensor(array: Array) -> bool:
    """Return whether `array` is torch's."""
    return not isinstance(array, np.ndarray | np.generic)


def get_namespace(array: Array) -> Any:
    """Return the module, numpy or torch, with the functions for `array`."""
    return sys.modules["torch"] if is_tensor(array) else np


def convert_like(values: NDArray[Any], like: Array) -> Array:
    """Convert a NumPy array to the kind of `like`, on its device; memory is shared where that is possible."""
    return get_namespace(like).asarray(values, device=like.device) if is_tensor(like) else values


def to_numpy(array: Array) -> NDArray[Any]:
    """Convert to NumPy, without gradients; memory is shared where that is possible."""
    return np.asarray(array.detach().cpu() if is_tensor(array) else array)


def copy_array(array: Array) -> Array:
    """Return a copy, through which gradients flow."""
    return array.clone() if is_tensor(array) else array.copy()


def square(array: Array) -> Array:
    """Compute the squares of all values."""
    return get_namespace(array).square(array)


def lerp(start: Array, end: Array, weight: Array) -> Array:
    """Interpolate linearly between two arrays."""
    return get_namespace(weight).lerp(start, end, weight) if is_tensor(weight) else start + weight * (end - start)


def measure_std(array: Array) -> Array:
    """Compute the standard deviation [] of a sample, with one degree of freedom less than values."""
    return array.std() if is_tensor(array) else array.std(ddof=1)


def softplus(array: Array) -> Array:
    """Compute log(1 + exp(x))."""
    return (
        get_namespace(array).nn.functional.softplus(array)
        if is_tensor(array)
        else np.logaddexp(array.dtype.type(0), array)
    )


def compute_squared_distances(a: Array, b: Array) -> Array:
    """Compute the squared distance of each row of `a` [n d] to each of `b` [m d], [n m]."""
    if is_tensor(a):
        return get_namespace(a).cdist(a, b).square()
    return np.square(a[:, None] - b).sum(-1)


def disable_autocast(function: Callable[P, T]) -> Callable[P, T]:
    """Disable torch's autocast for a geometric function: coordinates need full precision and are wrong in bfloat16."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        torch = sys.modules.get("torch")
        if torch is None:
            return function(*args, **kwargs)
        device = next((name for name in ("cuda", "mps") if torch.is_autocast_enabled(name)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return wrapper
