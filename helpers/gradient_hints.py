"""What explains a wrong gradient: the usual slips, each tried on all of its elements."""

from collections.abc import Iterator

import numpy as np

Arrays = dict[str, np.ndarray]


def explain(name: str, values: Arrays, analytic: Arrays, numerical: Arrays) -> str:
    """The first slip that accounts for 99.9 % of the error in the gradient of the named input, or nothing.

    values, analytic and numerical hold, by input, its elements and its two gradients.
    """
    if not (analytic[name].any() and numerical[name].any()):
        return "" if analytic[name].any() else "the gradient is zero everywhere"
    error = analytic[name] - numerical[name]
    unit = np.abs(error).max()
    for guess, slip in _slips(name, values, error, numerical):
        if np.linalg.norm((analytic[name] - guess) / unit) <= 1e-3 * np.linalg.norm(error / unit):
            return slip
    return ""


def _slips(name: str, values: Arrays, error: np.ndarray, numerical: Arrays) -> Iterator[tuple[np.ndarray, str]]:
    """What the gradient would be after each slip, and its description."""
    right, x = numerical[name], values[name]
    yield -right, "it has the opposite sign"
    for other, gradient in numerical.items():
        if other != name and gradient.shape == right.shape:
            yield gradient, f"it is the gradient of {other}: are the two swapped?"
    for other, value in values.items():
        for factor in _aligned(value, right.shape):
            yield right * factor, f"it has one factor {other} too many"
            yield right / factor, f"it lacks a factor {other}"
    scale = np.vdot(error + right, right) / np.vdot(right, right)
    yield scale * right, f"it is {scale:.6g} times the right one"
    for axis in (None, *range(right.ndim)):
        axes = tuple(j for j in range(right.ndim) if j != axis)
        if np.prod([right.shape[j] for j in axes]) >= 4:  # two numbers always explain two elements
            level, centered = error.mean(axes, keepdims=True), x - x.mean(axes, keepdims=True)
            slope = (error * centered).sum(axes, keepdims=True) / (centered**2).sum(axes, keepdims=True)
            yield right + level, f"the error is the same along axes {axes}: look at a mean or a sum over them"
            yield right + level + slope * centered, f"the error follows {name} along axes {axes}: look at a variance"


def _aligned(value: np.ndarray, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """An input as a factor for an array of this shape: elementwise, or along an axis of its length."""
    if value.shape == shape:
        yield value
    elif value.ndim == 1:
        for axis, length in enumerate(shape):
            if length == value.size:
                yield value.reshape([length if j == axis else 1 for j in range(len(shape))])
