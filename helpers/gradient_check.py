"""Gradient checks: a backward pass against central differences of its forward pass, element by element."""

import inspect
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from itertools import combinations

import numpy as np
import torch

from helpers.arrays import Array, describe, give_back, to_float64


@np.errstate(all="ignore")
def relative_error(a: Array, b: Array) -> float:
    """The largest elementwise relative error, max |a - b| / max(1e-12, |a| + |b|); infinite for NaN or infinity.

    Raises ValueError when the shapes differ.
    """
    a = to_float64(a, "a")
    b = to_float64(b, "b")
    if a.shape != b.shape:
        raise ValueError(f"the shapes of a and b differ: {a.shape} and {b.shape}")
    errors = np.abs(a - b) / np.maximum(1e-12, np.abs(a) + np.abs(b))
    return float(np.nan_to_num(errors, nan=np.inf).max(initial=0.0))


@dataclass(frozen=True)
class GradientReport:
    """A message for each fault, and a line for each input whose gradient agrees."""

    faults: tuple[str, ...]
    agreements: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.faults

    def __str__(self) -> str:
        return "\n".join([*(f"FAULT in {fault}" for fault in self.faults), *self.agreements])


@np.errstate(all="ignore")  # A step may leave the domain of f.
def numerical_gradient(f, x: Array, upstream: Array | None = None, *, step: float | None = None) -> Array:
    """The gradient of L(x) = sum(f(x) * upstream) by central differences D(h) = (L(x + h) - L(x - h)) / 2h.

    h doubles from a tiny one on; `step` fixes it. Richardson extrapolation removes the errors in h^2, h^4, ...; the
    smallest estimated error decides (Ridders 1982, doi 10.1016/S0141-1195(82)80057-0). NaN where f is not finite.
    Raises TypeError if x is not float64, ValueError if upstream and f(x) differ in shape.
    """
    if not describe(x).startswith("float64"):
        raise TypeError(f"x must be a float64 array, got {describe(x)}")
    slopes = Slopes(f, x, upstream)
    gradient = [slopes.extrapolate(i, step)[0] for i in range(slopes.x.size)]
    return give_back(np.reshape(gradient, slopes.x.shape), x)


class Slopes:
    """Central differences of L(x) = sum(f(x) * upstream), and the rounding error of L."""

    def __init__(self, f, x: Array, upstream: Array | None):
        self.f = lambda moved: to_float64(f(give_back(np.asarray(moved), x)))
        self.x = to_float64(x, "x")
        out = self.f(self.x.copy())
        self.upstream = np.ones(out.shape) if upstream is None else to_float64(upstream)
        if self.upstream.shape != out.shape:
            raise ValueError(f"upstream has shape {self.upstream.shape}, but f(x) has {out.shape}")
        size = np.abs(self.x)
        self.scale = np.where(size > 0, size, size.max(initial=0.0) or 1.0)
        # Sixth differences along a line leave the rounding, times sqrt(924): Moré and Wild 2011, doi 10.1137/100786125
        line = 2.0**-27 * self.scale.ravel() * np.random.default_rng(0).uniform(0.1, 1, size.size)
        rises = [2 * k * line.max(initial=0.0) * self.difference(..., k * line) for k in range(1, 17)]
        noise = np.nan_to_num(np.abs(np.diff(rises, n=6)).max(), posinf=0.0) / 924**0.5
        self.rounding = 3 * noise + 6 * 2.0**-52 * np.hypot.reduce(out * self.upstream, axis=None)

    def difference(self, i, h) -> float:
        """D(h) in element i, or in all if i is `...`; NaN if f raises an error, since a step has left its domain."""
        shift = np.zeros(self.x.shape)
        shift.flat[i] = h
        above = self.x + shift
        below = self.x - shift
        width = np.max((above - below).flat[i], initial=0.0)  # Both are rounded, so this is not quite 2h.
        with suppress(ArithmeticError, ValueError, RuntimeError):
            return np.vdot(self.f(above) - self.f(below), self.upstream) / width
        return np.nan

    def extrapolate(self, i: int, step: float | None = None) -> tuple[float, float]:
        """The slope in element i with the smallest estimated error, and that error."""
        steps = self.scale.flat[i] * 2.0 ** np.arange(-30, 40) if step is None else (step / 2, step)
        best = np.nan
        best_error = np.inf
        row = []
        for h in steps:
            row.insert(0, self.difference(i, h))
            if not np.isfinite(row[0]) or best_error <= 1e-13 * abs(best):
                break
            for m in range(1, len(row)):  # Entry m combines D(h), D(h/2), ..., D(h/2^m).
                row[m] += (row[m] - row[m - 1]) / (4.0**m - 1)
                error = abs(row[m] - row[m - 1]) + 2.0**m * self.rounding / h
                # A wide step may reach past a kink. It may refine what narrow steps found, but not contradict it.
                if error < best_error and not abs(row[m] - best) > best_error + error:
                    best = row[m]
                    best_error = error
        return best, best_error


@np.errstate(all="ignore")
def check_gradients(forward, backward, inputs, *, tolerance: float = 1e-7, seed: int = 0) -> GradientReport:
    """Compare the gradients of a backward pass with numerical ones, element by element.

    forward(*inputs) -> (out, cache) is called many times: hand it a copy of any state that it updates (bn_param).
    backward(dout, cache) -> one gradient per input. inputs are float64 arrays, NumPy or torch; dout is random.
    An element passes if |analytic - numerical| <= 2 * tolerance * |numerical| + rounding.
    Raises TypeError if inputs is no list or tuple or is empty, ValueError if tolerance is not between 0 and 1.
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
    inputs = dict(zip(names, inputs, strict=False))
    try:
        out, dout, analytic = _differentiate(forward, backward, inputs, seed)
        # Powers of two do not change the rounding, so these gradients are the same if backward is linear in dout.
        again, _, repeated = _differentiate(forward, backward, inputs, seed, factor=-(2.0**20))
        _require(np.array_equal(again, out, equal_nan=True), "forward: is not deterministic: two calls differ")
    except _MalformedError as error:
        return GradientReport((str(error),))
    numerical = {}
    faults = {}
    for name, x in inputs.items():
        slopes = Slopes(lambda moved, name=name: forward(*(inputs | {name: moved}).values())[0], x, dout)
        numerical[name], faults[name] = _judge(slopes, analytic[name], repeated[name], tolerance)
    slips = {name: _explain(name, inputs, analytic[name], repeated[name], numerical) for name in inputs if faults[name]}
    wrong = [f"{name}: {faults[name]}{slip}" for name, slip in slips.items()]
    right = [f"{name}: {tuple(x.shape)} agrees within {tolerance:g}" for name, x in inputs.items() if not faults[name]]
    return GradientReport(tuple(wrong), tuple(right))


def check_autograd(function, inputs, *, tolerance: float = 1e-7, seed: int = 0) -> GradientReport:
    """Check the gradients that autograd derives for function(*inputs) -> out, as check_gradients does."""

    @wraps(function)
    def forward(*inputs):
        leaves = [torch.as_tensor(x).detach().requires_grad_() for x in inputs]
        out = function(*leaves)
        return out, (out, leaves, inputs)

    def backward(dout, cache):
        gradients = torch.autograd.grad(*cache[:2], dout, allow_unused=True)
        return [g if g is None else give_back(g, x) for g, x in zip(gradients, cache[2], strict=True)]

    return check_gradients(forward, backward, inputs, tolerance=tolerance, seed=seed)


class _MalformedError(Exception):
    """A fault after which comparing values would mean nothing."""


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise _MalformedError(fault)


def _differentiate(forward, backward, inputs: dict[str, Array], seed: int, factor: float = 1.0):
    """The output, a random dout times a factor, and the gradients over the factor. Raises for what is malformed."""
    for name, x in inputs.items():
        _require(describe(x).startswith("float64"), f"{name}: must be a float64 array, got {describe(x)}")
    lent = {name: give_back(to_float64(x, f"{name} of inputs").copy(), x) for name, x in inputs.items()}
    result = forward(*lent.values())
    is_pair = isinstance(result, tuple | list) and len(result) == 2
    _require(is_pair, f"forward: must return the pair (out, cache), got {describe(result)}")
    out, cache = result
    _require(describe(out).startswith("float64"), f"out: must be a float64 array, got {describe(out)}")
    for name, x in inputs.items():
        _require(np.array_equal(to_float64(lent[name]), to_float64(x), equal_nan=True), f"forward: changes {name}")
    rng = np.random.default_rng(seed)
    dout = factor * rng.choice([-1.0, 1.0], out.shape) * rng.uniform(0.5, 1.5, out.shape)
    before = inputs | {"out": to_float64(out).copy(), "dout": dout}
    lent |= {"out": out, "dout": give_back(np.array(dout), out)}
    gradients = backward(lent["dout"], cache)
    for name, x in before.items():
        _require(np.array_equal(to_float64(lent[name]), to_float64(x), equal_nan=True), f"backward: changes {name}")
    gradients = gradients if isinstance(gradients, list | tuple) else [gradients]
    _require(len(gradients) == len(inputs), f"backward: must return {len(inputs)} gradients, got {len(gradients)}")
    for (name, x), g in zip(inputs.items(), gradients, strict=True):
        _require(describe(g) == describe(x), f"{name}: its gradient must be a {describe(x)}, got {describe(g)}")
    return before["out"], dout, {name: to_float64(g) / factor for name, g in zip(inputs, gradients, strict=True)}


def _judge(slopes: Slopes, a: np.ndarray, repeated: np.ndarray, tolerance: float) -> tuple[np.ndarray, str]:
    """The numerical gradient n, and a message about the worst element of the analytic one, a, if that is wrong."""
    largest = np.abs(a[np.isfinite(a)]).max(initial=0.0)
    h = 1e-5 * slopes.scale.max(initial=0.0)
    n = np.reshape([slopes.difference(i, h) for i in range(a.size)], a.shape)
    error = np.full(a.shape, slopes.rounding / h)
    # A plain difference settles an element if it agrees and its rounding is too small to have made it agree.
    settled = np.isclose(a, n, rtol=2 * tolerance, atol=0) & (error <= 10 * tolerance * largest)
    for i in np.flatnonzero(~settled):
        n.flat[i], error.flat[i] = slopes.extrapolate(i)
    a = np.where(np.abs(repeated - n) > np.abs(a - n), repeated, a)  # They differ if backward is not linear in dout.
    # Rounding excuses between one unit in the last place and 1e-4 of the largest slope, whatever its estimate.
    wrong = ~np.isclose(a, n, rtol=2 * tolerance, atol=np.clip(3 * error, 2.0**-52 * largest, 1e-4 * largest))
    if n.any() and not wrong.any():
        return n, ""
    if (np.abs(n) * slopes.scale <= slopes.rounding).all():
        return n, "forward ignores it (every slope is zero to rounding), so the check would prove nothing"
    relative = np.where(wrong, np.abs(a - n) / (np.abs(a) + np.abs(n)), 0.0)
    index = tuple(map(int, np.unravel_index(relative.argmax(), a.shape)))
    both = f"backward gives {a[index]:.9g}, central differences give {n[index]:.9g}"
    return n, f"at {index} {both}, a relative error of {relative[index]:.2g}; wrong in {wrong.sum()} of {n.size}"


def _explain(name: str, inputs: dict, a: np.ndarray, repeated: np.ndarray, numerical: dict) -> str:
    """The first usual slip that accounts for 99.9 % of the error in the gradient of an input, or nothing."""
    if np.linalg.norm(repeated - a) > 1e-3 * np.linalg.norm(a):
        return "; it ignores dout or is not linear in it"
    x = to_float64(inputs[name])
    n = numerical[name]
    guesses = [("it is zero everywhere", 0 * n), ("it has the opposite sign", -n)]
    for parameter, array in inputs.items():
        value = to_float64(array)
        if value.shape == n.shape:
            guesses.append((f"it is the gradient of {parameter}: are the two swapped?", numerical[parameter]))
        for axis in range(n.ndim - value.ndim + 1):
            if n.shape[axis : axis + value.ndim] == value.shape:
                factor = value.reshape(value.shape + (1,) * (n.ndim - value.ndim - axis))
                guesses.append((f"it has one factor {parameter} too many", n * factor))
                guesses.append((f"it lacks a factor {parameter}", n / factor))
    multiple = np.vdot(a, n) / np.vdot(n, n)
    guesses.append((f"it is {multiple:.6g} times the right one", multiple * n))
    for axes in [axes for count in range(x.ndim, 0, -1) for axes in combinations(range(x.ndim), count)]:
        if np.prod([x.shape[axis] for axis in axes]) >= 4:  # A mean and a slope always explain two elements.
            mean = n + (a - n).mean(axes, keepdims=True)
            guesses.append((f"the error is the same along axes {axes}: look at a mean or a sum over them", mean))
            centered = x - x.mean(axes, keepdims=True)
            slope = ((a - n) * centered).sum(axes, keepdims=True) / (centered**2).sum(axes, keepdims=True)
            guesses.append((f"the error follows {name} along axes {axes}: look at a variance", mean + slope * centered))
    slips = [f"; {slip}" for slip, guess in guesses if np.linalg.norm(a - guess) < 1e-3 * np.linalg.norm(a - n)]
    return "".join(slips[:1])
