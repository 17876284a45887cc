"""Gradient checks: a backward pass against central differences of its forward pass, element by element."""

import inspect
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from itertools import combinations

import numpy as np
import torch

Array = np.ndarray | torch.Tensor
EPSILON = np.finfo(np.float64).eps


@dataclass(frozen=True)
class GradientReport:
    """What a check found: a message for each fault, and a line for each input whose gradient agrees."""

    faults: tuple[str, ...]
    agreements: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.faults

    def __str__(self) -> str:
        return "\n".join([*(f"FAULT in {fault}" for fault in self.faults), *self.agreements])

    def raise_if_failed(self) -> None:
        if self.faults:
            raise AssertionError(str(self))


def relative_error(a: Array, b: Array) -> float:
    """The largest elementwise relative error, max |a - b| / max(1e-12, |a| + |b|), between 0 and 1.

    Empty arrays have error 0; NaN or infinity makes it infinite. Raises ValueError when the shapes differ.
    """
    a = _to_numpy(a, "a") / 4  # The sum of two of the largest floats would overflow.
    b = _to_numpy(b, "b") / 4
    if a.shape != b.shape:
        raise ValueError(f"the shapes of a and b differ: {a.shape} and {b.shape}")
    return float(_relative_errors(a, b, floor=0.25e-12).max(initial=0.0))


def numerical_gradient(f, x: Array, upstream: Array | None = None, *, step: float | None = None) -> Array:
    """The gradient of L(x) = sum(f(x) * upstream) by central differences D(h) = (L(x + h) - L(x - h)) / 2h.

    Richardson extrapolation, (4 D(h/2) - D(h)) / 3 and so on, removes the errors in h^2, h^4, ... h is doubled from
    a tiny step on, or fixed by `step`; each element keeps the value with the smallest estimated error.
    x is a float64 NumPy array or torch tensor; f gets copies of it. The result is like x, NaN where f is not finite
    on both sides. Raises TypeError when x is not float64, ValueError when upstream does not fit f(x).
    Source: Ridders 1982, doi 10.1016/S0141-1195(82)80057-0.
    """
    if not _describe(x).startswith("float64"):
        raise TypeError(f"x must be a float64 array, got {_describe(x)}")
    with np.errstate(all="ignore"):  # A step may leave the domain of f.
        slopes = Slopes(f, x, upstream)
        gradient = [slopes.extrapolate(i, step)[0] for i in range(slopes.x.size)]
    return _like(x, np.array(gradient, dtype=np.float64))


class Slopes:
    """Central differences of L(x) = sum(f(x) * upstream), one element of x at a time, and the rounding error of L."""

    def __init__(self, f, x: Array, upstream: Array | None):
        self.f = lambda moved: _to_numpy(f(_like(x, moved)))
        self.x = _to_numpy(x, "x").flatten()
        out = self.f(self.x.copy())
        weights = np.ones(out.shape) if upstream is None else _to_numpy(upstream)
        if weights.shape != out.shape:
            raise ValueError(f"upstream has shape {weights.shape}, but f(x) has {out.shape}")
        self.out = out.flatten()
        self.upstream = weights.flatten()
        size = np.abs(self.x)
        self.scale = np.where(size > 0, size, size.max(initial=0.0) or 1.0)
        # Along a short line, sixth differences remove what is smooth and multiply the variance of the rounding by
        # 924, the sum of their squared coefficients. Source: Moré and Wild 2011, doi 10.1137/100786125.
        line = 2.0**-27 * self.scale * np.random.default_rng(0).uniform(-1, 1, size.size)
        strays = np.diff([self.evaluate(..., k * line) for k in range(-8, 9)], n=6, axis=0)
        noise = np.nan_to_num(np.abs(strays).max(axis=0) / 924**0.5, posinf=0.0) + 2 * EPSILON * np.abs(self.out)
        self.rounding = 3 * np.hypot.reduce(noise * self.upstream)

    def evaluate(self, i, h) -> np.ndarray:
        """The outputs after element i has moved by h; NaN if f raises an error, since x has then left its domain."""
        x = self.x.copy()
        x[i] += h
        try:
            return self.f(x).flatten()
        except (ArithmeticError, ValueError, RuntimeError):
            return np.full_like(self.out, np.nan)

    def difference(self, i: int, h: float) -> float:
        """The central difference D(h) in element i."""
        width = (self.x[i] + h) - (self.x[i] - h)  # Both are rounded, so this is not quite 2h.
        return (self.evaluate(i, h) - self.evaluate(i, -h)) @ self.upstream / width

    def extrapolate(self, i: int, step: float | None = None) -> tuple[float, float]:
        """The slope in element i with the smallest estimated error, and that error."""
        steps = self.scale[i] * 2.0 ** np.arange(-30, 40) if step is None else (step / 2, step)
        best = np.nan
        best_error = np.inf
        row = []
        for h in steps:
            slope = self.difference(i, h)
            if not np.isfinite(slope) or best_error <= 1e-13 * abs(best):
                break
            narrower_row = row[:8]
            row = [slope]  # Entry m combines D(h), D(h/2), ..., D(h/2^m).
            for order, narrower in enumerate(narrower_row, start=1):
                wider = row[-1]
                slope = narrower + (narrower - wider) / (4.0**order - 1)
                row.append(slope)
                error = abs(slope - wider) + 2.0**order * self.rounding / h
                # A wide step may reach past a kink. It may refine what narrow steps found, but not contradict it.
                contradicts = abs(slope - best) > best_error + error
                if error < best_error and not contradicts:
                    best = slope
                    best_error = error
        return best, best_error


def check_gradients(forward, backward, inputs, *, tolerance: float = 1e-7, seed: int = 0) -> GradientReport:
    """Compare the gradients of a backward pass with numerical ones, element by element.

    forward(*inputs) -> (out, cache); backward(dout, cache) -> one gradient an input. inputs: float64 arrays, NumPy or
    torch. dout is random. forward is called many times: hand it a copy of any state that it updates, such as bn_param.
    Passes when |analytic - numerical| <= tolerance * (|analytic| + |numerical|) + rounding in every element.
    Raises TypeError for inputs that are no list or tuple, ValueError for a tolerance outside (0, 1).
    """
    if not isinstance(inputs, list | tuple) or len(inputs) == 0:
        raise TypeError(f"inputs must be a list or tuple of arrays, got {inputs!r:.50}")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie between 0 and 1, got {tolerance}")
    names = []
    with suppress(ValueError):  # Some compiled functions have no signature.
        names = list(inspect.signature(forward).parameters)
    if len(names) < len(inputs):
        names = [f"input {k}" for k in range(len(inputs))]
    try:
        with np.errstate(all="ignore"):
            return _compare(forward, backward, dict(zip(names, inputs, strict=False)), tolerance, seed)
    except _MalformedError as error:
        return GradientReport((str(error),))


def check_autograd(function, inputs, *, tolerance: float = 1e-7, seed: int = 0) -> GradientReport:
    """Check the gradients that autograd derives for function(*inputs) -> out, as check_gradients does."""

    @wraps(function)
    def forward(*arrays):
        leaves = [torch.as_tensor(x).detach().requires_grad_() for x in arrays]
        out = function(*leaves)
        return out, (out, leaves)

    def backward(dout, cache):
        return torch.autograd.grad(*cache, dout, allow_unused=True)

    return check_gradients(forward, backward, inputs, tolerance=tolerance, seed=seed)


class _MalformedError(Exception):
    """A fault after which comparing values would mean nothing."""


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise _MalformedError(fault)


def _compare(forward, backward, inputs: dict[str, Array], tolerance: float, seed: int) -> GradientReport:
    values, out, dout, analytic = _differentiate(forward, backward, inputs, seed, 1.0)
    numerical = {}
    faults = {}
    for name, x in inputs.items():
        slopes = Slopes(lambda moved, name=name: forward(*(inputs | {name: moved}).values())[0], x, dout)
        numerical[name], faults[name] = _judge(slopes, analytic[name], tolerance)
    factor = -(2.0**20)  # A power of two: a linear backward pass scales its gradients without rounding.
    _, again, _, scaled = _differentiate(forward, backward, inputs, seed, factor)
    same = np.array_equal(again, out, equal_nan=True)
    _require(same, "forward: is not deterministic: called again with the same inputs, it gives another output")
    for name, gradient in analytic.items():
        limit = 1e-3 * np.abs(gradient).max(initial=0.0)
        if (np.abs(scaled[name] - gradient) < limit).all():
            faults[name] = f"{faults[name] or 'agrees'}; it ignores dout"
        elif (np.abs(scaled[name] / factor - gradient) > limit).any():
            faults[name] = f"{faults[name] or 'agrees'}; it is not linear in dout"
        elif faults[name]:
            faults[name] += _explain(name, values, gradient, numerical)
    wrong = [f"{name}: {fault}" for name, fault in faults.items() if fault]
    right = [f"{name}: {analytic[name].shape} agrees within {tolerance:g}" for name in faults if not faults[name]]
    return GradientReport(tuple(wrong), tuple(right))


def _differentiate(forward, backward, inputs: dict[str, Array], seed: int, factor: float):
    """The inputs, the output, a random dout times the factor, and the gradients, in NumPy."""
    for name, x in inputs.items():
        _require(_describe(x).startswith("float64"), f"{name}: must be a float64 array, got {_describe(x)}")
    values = {name: _to_numpy(x, f"{name} of inputs").copy() for name, x in inputs.items()}
    lent = {name: _like(x, values[name].copy()) for name, x in inputs.items()}
    result = forward(*lent.values())
    is_pair = isinstance(result, tuple | list) and len(result) == 2
    _require(is_pair, f"forward: must return the pair (out, cache), got {_describe(result)}")
    out, cache = result
    _require_unchanged("forward", values, lent)
    _require(_describe(out).startswith("float64"), f"out: must be a float64 array, got {_describe(out)}")
    rng = np.random.default_rng(seed)
    dout = factor * rng.choice([-1.0, 1.0], out.shape) * rng.uniform(0.5, 1.5, out.shape)
    before = values | {"dout": dout, "out": _to_numpy(out).copy()}
    lent |= {"dout": _like(out, dout.copy()), "out": out}
    gradients = backward(lent["dout"], cache)
    _require_unchanged("backward", before, lent)
    if not isinstance(gradients, list | tuple):
        gradients = [gradients]
    _require(len(gradients) == len(inputs), f"backward: must return {len(inputs)} gradients, got {len(gradients)}")
    for (name, x), gradient in zip(inputs.items(), gradients, strict=True):
        wanted, got = _describe(x), _describe(gradient)
        _require(got == wanted, f"{name}: its gradient must be a {wanted}, got {got}")
    return values, before["out"], dout, dict(zip(inputs, map(_to_numpy, gradients), strict=True))


def _require_unchanged(function: str, before: dict[str, np.ndarray], lent: dict[str, Array]) -> None:
    for name, x in before.items():
        _require(np.array_equal(_to_numpy(lent[name]), x, equal_nan=True), f"{function}: changes {name}")


def _judge(slopes: Slopes, analytic: np.ndarray, tolerance: float) -> tuple[np.ndarray, str]:
    """The numerical gradient, and a message about the worst element of the analytic one if that is wrong."""
    a = analytic.ravel()
    h = 1e-5 * slopes.scale.max(initial=0.0)
    n = np.array([slopes.difference(i, h) for i in range(a.size)])
    error = np.full(a.size, slopes.rounding / h)
    # A plain difference settles an element if it agrees and its rounding is too small to have made it agree.
    largest = np.nan_to_num(np.abs(n)).max(initial=0.0)
    settled = (_relative_errors(a, n) <= tolerance) & (error <= 10 * tolerance * largest)
    for i in np.flatnonzero(~settled):
        n[i], error[i] = slopes.extrapolate(i)
    gradient = n.reshape(analytic.shape)
    # Rounding excuses between one unit in the last place and 1e-4 of the largest slope, whatever its estimate.
    largest = np.nan_to_num(np.abs(n)).max(initial=0.0)
    relative = _relative_errors(a, n, excuse=np.clip(3 * error, EPSILON * largest, 1e-4 * largest))
    wrong = relative > tolerance
    tiny = np.abs(n) * slopes.scale <= slopes.rounding
    if (np.abs(n) <= error).all() or (tiny.all() and wrong.any()):
        return gradient, "forward ignores it (every slope is zero to rounding), so the check would prove nothing"
    if not wrong.any():
        return gradient, ""
    worst = np.argmax(relative)
    index = tuple(map(int, np.unravel_index(worst, analytic.shape)))
    both = f"backward gives {a[worst]:.9g}, central differences give {n[worst]:.9g}"
    return gradient, f"at {index} {both}, a relative error of {relative[worst]:.2g}; wrong in {wrong.sum()} of {n.size}"


def _relative_errors(a: np.ndarray, b: np.ndarray, *, excuse=0.0, floor: float = 1e-300) -> np.ndarray:
    """The relative error of each element, less an excuse; infinite if a value is not finite."""
    with np.errstate(all="ignore"):
        errors = (np.abs(a - b) - excuse) / np.maximum(floor, np.abs(a) + np.abs(b))
    return np.where(np.isfinite(a) & np.isfinite(b), errors, np.inf)


def _explain(name: str, values: dict, wrong: np.ndarray, numerical: dict) -> str:
    """The first usual slip that accounts for 99.9 % of the error in the gradient of an input, or nothing."""
    right = numerical[name]
    error = wrong - right
    guesses = [(0 * right, "it is zero everywhere"), (-right, "it has the opposite sign")]
    for other, value in values.items():
        if other != name and value.shape == right.shape:
            guesses.append((numerical[other], f"it is the gradient of {other}: are the two swapped?"))
        for axis in range(right.ndim - value.ndim + 1):
            if right.shape[axis : axis + value.ndim] == value.shape:
                factor = value.reshape(value.shape + (1,) * (right.ndim - value.ndim - axis))
                guesses.append((right * factor, f"it has one factor {other} too many"))
                guesses.append((right / factor, f"it lacks a factor {other}"))
    scale = np.vdot(wrong, right) / np.vdot(right, right)
    guesses.append((scale * right, f"it is {scale:.6g} times the right one"))
    x = values[name]
    for axes in [axes for count in range(x.ndim, 0, -1) for axes in combinations(range(x.ndim), count)]:
        if np.prod([x.shape[axis] for axis in axes]) >= 4:  # A mean and a slope always explain two elements.
            centered = x - x.mean(axes, keepdims=True)
            slope = (error * centered).sum(axes, keepdims=True) / (centered**2).sum(axes, keepdims=True)
            level = right + error.mean(axes, keepdims=True)
            line = level + slope * centered
            guesses.append((level, f"the error is the same along axes {axes}: look at a mean or a sum over them"))
            guesses.append((line, f"the error follows {name} along axes {axes}: look at a variance"))
    for guess, slip in guesses:
        if np.linalg.norm(wrong - guess) < 1e-3 * np.linalg.norm(error):
            return f"; {slip}"
    return ""


def _describe(x: object) -> str:
    """What an object is, for a message: float64 ndarray of shape (3,)."""
    x = np.asarray(x) if isinstance(x, np.generic) else x
    if type(x) is not np.ndarray and not isinstance(x, torch.Tensor):
        return type(x).__name__
    return f"{str(x.dtype).removeprefix('torch.')} {type(x).__name__} of shape {tuple(x.shape)}"


def _to_numpy(x: Array, name: str = "an array") -> np.ndarray:
    """The values in float64, on the same memory if possible; raises TypeError unless they are dense and real."""
    try:
        if isinstance(x, torch.Tensor):
            x = (x if x.is_complex() else x.double()).numpy(force=True)
        return np.asarray(x).astype(np.float64, casting="same_kind", copy=False)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be dense and hold real numbers, got {_describe(x)}") from None


def _like(example: Array, values: np.ndarray) -> Array:
    """The values as the kind of array that the example is, in its shape."""
    values = np.asarray(values).reshape(tuple(example.shape))
    return torch.from_numpy(values).to(example.device) if isinstance(example, torch.Tensor) else values
