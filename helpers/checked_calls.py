"""Calls of a forward and a backward pass, and what is required of them before their gradients mean anything."""

from collections.abc import Callable

import numpy as np
import torch

from helpers.central_differences import is_array, is_float64, kind, like, to_numpy
from helpers.interop import Array


class Refusal(Exception):  # noqa: N818 - it carries a finding
    """A fault after which comparing values would mean nothing."""


def require(holds: bool, fault: str) -> None:
    if not holds:
        raise Refusal(fault)


def require_usable(name: str, x: Array) -> None:
    require(is_float64(x), f"{name}: must be a float64 array, got {kind(x)}")
    for index in np.argwhere(~np.isfinite(to_numpy(x))).tolist():
        raise Refusal(f"{name}: is not finite at {tuple(index)}: {to_numpy(x)[tuple(index)]}")


def run(forward: Callable, named: dict[str, Array]) -> tuple[list[Array], Array, object]:
    """Fresh copies of the inputs, and the out and the cache that forward makes of them."""
    given = [like(x, to_numpy(x).copy(order="K"), keep_grad=True) for x in named.values()]
    result = forward(*given)
    is_pair = isinstance(result, tuple | list) and len(result) == 2
    require(is_pair, f"forward: must return the pair (out, cache), got {kind(result)}")
    for (name, x), now in zip(named.items(), given, strict=True):
        require(same(now, x), f"forward: changes {name}")
    require_usable("out", result[0])
    return given, *result


def output(forward: Callable, given: list[Array], k: int, x: Array) -> np.ndarray:
    return to_numpy(forward(*given[:k], x, *given[k + 1 :])[0])


def gradients(backward: Callable, dout: Array, cache: object, named: dict[str, Array]) -> dict[str, np.ndarray]:
    """The gradient of each input, as a NumPy copy."""
    result = backward(dout, cache)
    result = (result,) if len(named) == 1 and is_array(result) else result
    got = f"{len(result)} gradients" if isinstance(result, tuple | list) else kind(result)
    expected = f"{len(named)} gradients"
    require(got == expected, f"backward: must return {expected} ({', '.join(named)}), got {got}")
    for (name, x), gradient in zip(named.items(), result, strict=True):
        require(gradient is not None, f"{name}: its gradient is missing (None)")
        same_kind = is_float64(gradient) and isinstance(gradient, torch.Tensor) == isinstance(x, torch.Tensor)
        require(same_kind, f"{name}: its gradient must be a {kind(x)}, got {kind(gradient)}")
        shape, got = tuple(x.shape), tuple(gradient.shape)
        require(shape == got, f"{name}: its gradient must have shape {shape}, got {got}")
    return {name: to_numpy(gradient).copy() for name, gradient in zip(named, result, strict=True)}


def require_repeatable(forward: Callable, named: dict[str, Array], first: np.ndarray) -> None:
    repeated = same(run(forward, named)[1], first)
    require(repeated, "forward: is not deterministic: the same inputs give another output when it is called again")


def require_repeated(backward: Callable, dout: Array, cache: object, named: dict, analytic: dict) -> None:
    try:
        again = gradients(backward, dout, cache, named)
    except Exception as error:
        raise Refusal(f"backward: changes its cache: called again with it, it raises {error!r}") from error
    for name, gradient in analytic.items():
        require(same(again[name], gradient), f"{name}: backward changes its cache: called again, it gives another")


def same(a: Array, b: Array) -> bool:
    return np.array_equal(to_numpy(a), to_numpy(b), equal_nan=True)
