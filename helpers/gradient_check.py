"""Gradient checks that name the fault, by central differences with Richardson extrapolation."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial, wraps
from types import ModuleType

import numpy as np
import torch

from helpers.interop import Array

_FLOOR = 1e-12  # relative_error compares smaller values with this instead of with themselves
_EPSILON = np.finfo(np.float64).eps
_SAFETY = 10  # how far a rounding error may exceed its estimate
_EXCUSE = 1e-6  # of the largest slope: no estimate of rounding may hide more than this


@dataclass(frozen=True)
class Agreement:
    """One input: the largest relative error beyond rounding, its index, and the two values there."""

    name: str
    shape: tuple[int, ...]
    error: float
    index: tuple[int, ...]
    analytic: float
    numerical: float
    fault: str = ""


@dataclass(frozen=True)
class GradientReport:
    """What a check found. It is true when it passed, and then prints the same on every machine."""

    tolerance: float
    agreements: tuple[Agreement, ...]
    refusal: str = ""

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, one message a fault; empty when the check passed."""
        return (self.refusal,) if self.refusal else tuple(a.fault for a in self.agreements if a.fault)

    @property
    def passed(self) -> bool:
        """Whether every gradient was checked and is right."""
        return not self.faults

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        right = [
            f"{a.name}: {a.shape} agrees within {self.tolerance:g}" for a in self.agreements if not a.fault
        ]
        return "\n".join([*(f"FAULT in {fault}" for fault in self.faults), *right])

    __repr__ = __str__

    def raise_if_failed(self) -> None:
        """Raise AssertionError, with every fault, unless the check passed."""
        if not self.passed:
            raise AssertionError(str(self))


def relative_error(a: Array, b: Array) -> float:
    """The largest elementwise relative error, max |a - b| / max(1e-12, |a| + |b|), between 0 and 1.

    `a` and `b` are arrays of one shape, NumPy or torch, of any numeric dtype. The floor 1e-12 keeps rounding noise
    around zero from counting as an error of 1. Empty arrays have error 0.0; a value that is NaN or infinite on either
    side makes the error infinite, so that it never passes.

    Raises ValueError when the shapes differ.
    """
    a, b = _numpy(a), _numpy(b)
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    a, b = a / 2, b / 2  # so that the sum of the largest floats does not overflow
    return float(np.max(np.abs(a - b) / np.maximum(_FLOOR / 2, np.abs(a) + np.abs(b)), initial=0.0))


def numerical_gradient(
    f: Callable[[Array], Array], x: Array, upstream: Array | None = None, *, step: float | None = None
) -> Array:
    """The gradient of sum(f(x) * upstream), by central differences D(h) = (f(x + h) - f(x - h)) / 2h.

    Richardson extrapolation, (16 D(h/4) - D(h)) / 15 and so on, removes the errors in h^2, h^4, ...; each element
    takes the steps from a quarter of its size downwards and keeps the entry with the smallest estimated error.

    x: float64, any shape, NumPy or torch; never changed, and f gets a fresh array each time. f returns an array or a
    number. upstream: of f(x)'s shape, ones by default. step: a fixed h, extrapolated once, instead of the search.
    Returns an array like x; an element around which f is not finite is NaN.

    Raises TypeError when x is not a float64 array, ValueError when upstream has another shape than f(x).
    Source: Ridders, Advances in Engineering Software 4(2), 1982.
    """
    if not _is_float64(x):
        raise TypeError(f"x must be a float64 array, got {_kind(x)}")
    with np.errstate(all="ignore"):
        slopes = _Slopes(lambda array: _numpy(f(array)), x, upstream)
        if step is None:
            found = [slopes.search(i)[0] for i in range(slopes.flat.size)]
        else:
            found = [(16 * slopes.at(i, step / 4) - slopes.at(i, step)) / 15 for i in range(slopes.flat.size)]
    return slopes.wrap(np.array(found, dtype=np.float64))


def check_gradients(
    forward: Callable, backward: Callable, inputs: Sequence[Array], *, tolerance: float = 1e-7, seed: int = 0
) -> GradientReport:
    """Compare the gradients of a backward pass with numerical ones, element by element.

    forward(*inputs) -> (out, cache); backward(dout, cache) -> one gradient an input. All arrays are float64, NumPy
    or torch. dout is random, of either sign and 0.5 to 1.5 in size. An element is right when
    |analytic - numerical| <= tolerance * (|analytic| + |numerical|) + rounding, where the rounding of both sides is
    measured at that element, and never excuses more than 1e-6 of the input's largest slope.

    The report fails, and says where and how, when a gradient is wrong, missing, misshapen, of another kind or dtype,
    or not finite; when forward or backward changes an array it was given, or gives different results when called
    again; when backward is not linear in dout; when forward ignores an input, so that the check would prove nothing;
    or when an input is not float64. At a kink (ReLU at 0) there is no gradient to agree with, and the report says so.
    Inputs are never changed, nor are arrays kept in dictionaries or objects that forward and backward hold.

    Raises TypeError when inputs is not a sequence of arrays, ValueError when tolerance is not between 0 and 1.
    """
    if not isinstance(inputs, list | tuple):
        raise TypeError(f"inputs must be a list or tuple of arrays, got {type(inputs).__name__}")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie between 0 and 1, got {tolerance}")
    named = dict(zip(_names(forward, len(inputs)), inputs, strict=True))
    try:
        with _state_kept(forward, backward), np.errstate(all="ignore"):
            return GradientReport(tolerance, _compare(forward, backward, named, tolerance, seed))
    except _Refusal as refusal:
        return GradientReport(tolerance, (), str(refusal))


def check_autograd(
    function: Callable, inputs: Sequence[Array], *, tolerance: float = 1e-7, seed: int = 0
) -> GradientReport:
    """Check what autograd derives for a torch function, function(*inputs) -> out: the same report and the same faults.

    Raises TypeError when inputs is not a sequence of torch tensors.
    """
    if not (isinstance(inputs, list | tuple) and all(isinstance(x, torch.Tensor) for x in inputs)):
        raise TypeError("inputs must be a list or tuple of torch tensors")

    @wraps(function)
    def forward(*arrays):
        leaves = [array.detach().requires_grad_() for array in arrays]
        out = function(*leaves)
        return out, (out, leaves)

    def backward(dout, cache):
        out, leaves = cache
        if not out.requires_grad:
            return (None,) * len(leaves)
        return torch.autograd.grad(out, leaves, dout, retain_graph=True, allow_unused=True)

    return check_gradients(forward, backward, inputs, tolerance=tolerance, seed=seed)


class _Refusal(Exception):  # noqa: N818 - what it carries is a finding, not an error
    """A fault after which comparing values would mean nothing."""


def _require(condition: bool, fault: str) -> None:
    if not condition:
        raise _Refusal(fault)


class _Slopes:
    """The slopes of sum(f(x) * upstream) at x, one element at a time. f returns NumPy arrays."""

    def __init__(self, f: Callable, x: Array, upstream: Array | None):
        self.f, self.flat, self.wrap = f, _numpy(x).ravel().copy(), partial(_like, x)
        self.base = f(self.wrap(self.flat)).copy()
        self.upstream = np.ones_like(self.base) if upstream is None else _numpy(upstream)
        if self.upstream.shape != self.base.shape:
            raise ValueError(f"upstream has shape {self.upstream.shape}, but f(x) has {self.base.shape}")
        size = np.abs(self.flat)
        spread = np.abs(self.flat - self.flat.sum() / max(1, size.size)).sum() / max(1, size.size)
        sizes = np.stack([size, np.full_like(size, spread)])
        self.largest = np.where(sizes.max(0) > 0, sizes.max(0), 1.0)
        self.smallest = np.where(sizes.min(0) > 0, sizes.min(0), self.largest)
        self.usual = np.maximum(self.smallest, spread / 10)

    @cached_property
    def rounding(self) -> np.ndarray:
        """How far each output moves when every input moves by one rounding: no float64 code knows it better."""
        moved = [np.abs(self.f(_moved(self.wrap(self.flat), seed)) - self.base) for seed in range(3)]
        return np.maximum(np.max(moved, axis=0), _EPSILON * np.abs(self.base))

    def ends(self, i: int, step: float) -> tuple[np.ndarray, np.ndarray, float]:
        """f one step above and one step below in element i, and how far apart the two points really are."""
        above, below = self.flat.copy(), self.flat.copy()
        above[i] += step
        below[i] -= step
        width = above[i] - below[i]
        try:
            return self.f(self.wrap(above)).copy(), self.f(self.wrap(below)), width  # f may reuse its memory
        except (ArithmeticError, ValueError):  # outside f's domain
            return np.full_like(self.base, np.nan), self.base, width

    def at(self, i: int, step: float) -> float:
        """The central difference: outputs are subtracted before they are summed, so that unmoved ones cancel."""
        above, below, width = self.ends(i, step)
        return np.vdot(above - below, self.upstream) / width

    def search(self, i: int) -> tuple[float, float]:
        """The slope in element i and its estimated error: the best entry of Ridders' table."""
        best, error, row, step = np.nan, np.inf, [], self.largest[i] / 4
        while step > 1e-9 * self.smallest[i]:
            above, below, width = self.ends(i, step)
            change = above - below
            noise = self.rounding + _EPSILON * (np.abs(above) + np.abs(below))
            noise = np.linalg.norm((noise * self.upstream)[change != 0]) / width
            new = [np.vdot(change, self.upstream) / width]
            for order, old in enumerate(row[:5], start=1):
                new.append(new[-1] + (new[-1] - old) / (16**order - 1))
                estimate = max(abs(new[-1] - new[-2]), abs(new[-1] - old)) + noise
                if estimate < error:
                    best, error = new[-1], estimate
            if noise >= error:  # from here on a smaller step only adds noise
                break
            row, step = new, step / 4
        return float(best), float(error)

    def has_kink(self, i: int) -> bool:
        """Whether the slopes to either side differ by as much at a hundredth of the step: a bend would fade."""
        jumps = []
        for step in (1e-4 * self.usual[i], 1e-6 * self.usual[i]):
            above, below, width = self.ends(i, step)
            left, right = np.vdot(self.base - below, self.upstream), np.vdot(above - self.base, self.upstream)
            jumps.append(abs(right - left) / width)
        return jumps[1] > max(0.5 * jumps[0], 1e-3 * (abs(left) + abs(right)) / width)


def _compare(
    forward, backward, named: dict[str, Array], tolerance: float, seed: int
) -> tuple[Agreement, ...]:
    names = list(named)
    for name, x in named.items():
        _require(_is_float64(x), f"{name}: must be a float64 array, got {_kind(x)}")
        _require(_numpy(x).size > 0, f"{name}: is empty, so the check would prove nothing")
        _require_finite(name, x)
    given, out, cache = _run(forward, named)
    first = _numpy(out).copy()
    _require(
        _same(_run(forward, named)[1], first),
        "forward: is not deterministic, equal inputs give unequal outputs",
    )
    dout = _random(out, seed)
    analytic = _gradients(backward, dout, cache, named)
    for name, now, before in [
        ("dout", dout, _random(out, seed)),
        ("out", out, first),
        *zip(names, given, named.values(), strict=True),
    ]:
        _require(_same(now, before), f"backward: changes {name}")
    _require_linear(backward, dout, cache, named, analytic)
    _, _, cache = _run(forward, {name: _moved(x, 0) for name, x in named.items()})
    moved = _gradients(backward, _moved(dout, 1), cache, named)

    judged = []
    for k, (name, x) in enumerate(named.items()):
        slopes = _Slopes(partial(_output, forward, given, k), x, dout)
        rounding = np.abs(moved[k] - analytic[k])
        judged.append(_judge(name, slopes, analytic[k], rounding, tolerance))
    _require(
        _same(_run(forward, named)[1], first),
        "forward: is not deterministic, its output drifts from call to call",
    )
    numerical = [values for _, values in judged]
    hints = [
        _hint(k, list(named), [_numpy(x) for x in named.values()], analytic, numerical)
        for k in range(len(named))
    ]
    return tuple(
        replace(found, fault=found.fault + hint) if found.fault else found
        for (found, _), hint in zip(judged, hints, strict=True)
    )


def _judge(name, slopes: _Slopes, analytic: np.ndarray, rounding: np.ndarray, tolerance: float):
    """The Agreement of one input, and its numerical gradient.

    A plain central difference settles nearly every element. The others are searched, the worst first, until one is
    found to be wrong: only there may rounding explain a difference, as far as it was measured.
    """
    a, rounding = analytic.ravel(), rounding.ravel()
    n = np.array([slopes.at(i, 1e-5 * size) for i, size in enumerate(slopes.usual)])
    limit = _EXCUSE * np.max(np.abs(n), initial=0.0, where=np.isfinite(n))
    wrong = np.count_nonzero(~(np.abs(a - n) <= tolerance * (np.abs(a) + np.abs(n)) + limit))
    gap, fault = _relative(np.abs(a - n), a, n), ""
    for i in _worst_first(gap):
        if gap[i] <= tolerance:
            break
        n[i], error = slopes.search(i)
        known = _SAFETY * (error + rounding[i])
        gap[i] = _relative(np.maximum(0.0, np.abs(a[i] - n[i]) - min(known, limit)), a[i], n[i])
        if gap[i] > tolerance:
            fault = f"{_wrong_value(slopes, a[i], n[i], i, known)}; wrong in {max(wrong, 1)} of {a.size}"
            break
    worst = int(i if fault else _worst_first(gap)[0])
    index = tuple(int(j) for j in np.unravel_index(worst, analytic.shape))
    if fault:
        fault = f"{name}: at {index} {fault}"
    if not n.any():
        fault = f"{name}: forward ignores it (every slope is zero), so the check would prove nothing"
    found = Agreement(name, analytic.shape, float(gap[worst]), index, float(a[worst]), float(n[worst]), fault)
    return found, n.reshape(analytic.shape)


def _worst_first(gap: np.ndarray) -> np.ndarray:
    """Indices in falling order of the error; errors that differ by less than 1 % keep theirs, whatever the rounding."""
    with np.errstate(divide="ignore"):
        return np.argsort(-np.round(np.log10(gap), 2), kind="stable")


def _wrong_value(slopes: _Slopes, a: float, n: float, i: int, known: float) -> str:
    digits = next((d for d in range(6, 17) if f"{a:.{d}g}" != f"{n:.{d}g}"), 17)
    fault = f"backward gives {a:.{digits}g}, central differences give {n:.{digits}g}"
    if not np.isfinite(a):
        return f"{fault}: the gradient is not finite"
    if not np.isfinite(n):
        return f"{fault}: forward is not finite around this point"
    if abs(a - n) <= known:
        return f"{fault}, within the rounding of forward and backward: do they compute in float64 throughout?"
    if slopes.has_kink(i):
        return f"{fault}: forward has a kink here, where no gradient exists"
    return f"{fault}, a relative error of {_relative(abs(a - n), a, n):.2g}"


def _hint(k: int, names: list[str], values: list, analytic: list, numerical: list) -> str:
    """What explains nearly all of the difference, when something simple does."""
    a, n = analytic[k], numerical[k]
    if not a.any():
        return "; the gradient is zero everywhere"
    for guess, text in _explanations(k, names, values, a, numerical):
        if np.linalg.norm(a - guess) <= 1e-3 * np.linalg.norm(a - n):
            return f"; {text}"
    return ""


def _explanations(k, names, values, a, numerical) -> Iterator[tuple[np.ndarray, str]]:
    n, x, error = numerical[k], values[k], a - numerical[k]
    yield -n, "it has the opposite sign"
    for name, other in zip(names, numerical, strict=True):
        if name != names[k] and other.shape == n.shape:
            yield other, f"it is the gradient of {name}: the two are swapped"
    for name, value in zip(names, values, strict=True):
        for factor in _aligned(value, n.shape):
            yield n * factor, f"it has one factor {name} too many"
            yield n / factor, f"it lacks a factor {name}"
    factor = np.vdot(a, n) / np.vdot(n, n)
    yield factor * n, f"it is {factor:.6g} times the right one"
    for axis in (None, *range(n.ndim)):
        axes = tuple(j for j in range(n.ndim) if j != axis)
        if n.size >= 4 * (1 if axis is None else n.shape[axis]):
            mean, centered = error.mean(axes, keepdims=True), x - x.mean(axes, keepdims=True)
            slope = (error * centered).sum(axes, keepdims=True) / (centered**2).sum(axes, keepdims=True)
            yield n + mean, f"the error is the same along axes {axes}: look at a mean or a sum over them"
            yield (
                n + mean + slope * centered,
                f"the error follows {names[k]} along axes {axes}: look at a variance",
            )


def _aligned(value: np.ndarray, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """An input as a factor of an array of this shape: elementwise, or along each axis of its length."""
    if value.shape == shape:
        yield value
    elif value.ndim == 1:
        for axis, length in enumerate(shape):
            if length == value.size:
                yield value.reshape([-1 if j == axis else 1 for j in range(len(shape))])


def _run(forward: Callable, named: dict[str, Array]) -> tuple[list[Array], Array, object]:
    """Fresh copies of the inputs, and what forward makes of them."""
    given = [_fresh(x) for x in named.values()]
    result = forward(*given)
    pair = isinstance(result, tuple | list) and len(result) == 2
    _require(pair, f"forward: must return the pair (out, cache), got {_kind(result)}")
    for (name, x), now in zip(named.items(), given, strict=True):
        _require(_same(now, x), f"forward: changes {name}")
    out = result[0]
    _require(_is_float64(out), f"out: must be a float64 array, got {_kind(out)}")
    _require_finite("out", out)
    return given, *result


def _output(forward: Callable, given: list[Array], k: int, x: Array) -> np.ndarray:
    return _numpy(forward(*given[:k], x, *given[k + 1 :])[0])


def _gradients(backward: Callable, dout: Array, cache: object, named: dict[str, Array]) -> list[np.ndarray]:
    """One gradient an input, as NumPy copies."""
    result = backward(dout, cache)
    if len(named) == 1 and _is_array(result):
        result = (result,)
    counted = isinstance(result, tuple | list) and len(result) == len(named)
    got = f"{len(result)} gradients" if isinstance(result, tuple | list) else _kind(result)
    _require(counted, f"backward: must return one gradient an input ({', '.join(named)}), got {got}")
    for (name, x), gradient in zip(named.items(), result, strict=True):
        _require(gradient is not None, f"{name}: its gradient is missing (None)")
        right = _is_float64(gradient) and isinstance(gradient, torch.Tensor) == isinstance(x, torch.Tensor)
        _require(right, f"{name}: its gradient must be a {_kind(x)}, got {_kind(gradient)}")
        shape = tuple(gradient.shape)
        _require(
            shape == tuple(x.shape), f"{name}: its gradient must have shape {tuple(x.shape)}, got {shape}"
        )
    return [_numpy(gradient).copy() for gradient in result]


def _require_linear(backward, dout, cache, named, analytic) -> None:
    """Backward must give the same again from the same cache, and -2**20 times as much for -2**20 times the dout."""
    try:
        again = _gradients(backward, _fresh(dout), cache, named)
    except Exception as error:
        raise _Refusal(
            f"backward: fails when called again with the same cache ({error!r}): it changes it"
        ) from error
    scaled = _gradients(backward, _like(dout, _numpy(dout) * -(2.0**20)), cache, named)
    for name, gradient, second, large in zip(named, analytic, again, scaled, strict=True):
        same = _same(gradient, second)
        _require(
            same,
            f"{name}: backward gives another gradient when called again with the same cache: it changes it",
        )
        _require(not (gradient.any() and _same(gradient, large)), f"{name}: its gradient ignores dout")
        off = np.abs(large / -(2.0**20) - gradient)
        proportional = not np.isfinite(gradient).all() or np.all(off <= _EXCUSE * np.abs(gradient).max())
        _require(proportional, f"{name}: its gradient is not proportional to dout")


def _require_finite(name: str, x: Array) -> None:
    bad = np.argwhere(~np.isfinite(_numpy(x)))
    if len(bad):
        index = tuple(int(j) for j in bad[0])
        raise _Refusal(f"{name}: is not finite at {index}: {_numpy(x)[index]}")


def _random(out: Array, seed: int) -> Array:
    """A gradient like out, of either sign and 0.5 to 1.5 in size: no element is lost, no two need be equal."""
    rng, shape = np.random.default_rng(seed), tuple(out.shape)
    return _like(out, np.where(rng.random(shape) < 0.5, -1.0, 1.0) * rng.uniform(0.5, 1.5, shape))


def _moved(x: Array, seed: int) -> Array:
    """x with every element moved up or down by one rounding."""
    rng = np.random.default_rng(seed)
    return _like(x, _numpy(x) * (1 + _EPSILON * np.where(rng.random(tuple(x.shape)) < 0.5, -1.0, 1.0)))


def _relative(difference: np.ndarray, a: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The difference over |a| + |n|: 0 where nothing differs, infinite where a value is not finite."""
    error = np.where(difference > 0, difference / (np.abs(a) + np.abs(n)), 0.0)
    return np.where(np.isfinite(a) & np.isfinite(n), error, np.inf)


def _names(forward: Callable, count: int) -> list[str]:
    """The names of forward's parameters, or "input 0", "input 1", ... where it does not name them."""
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names[:count] if len(names) >= count else [f"input {k}" for k in range(count)]


def _is_array(x: object) -> bool:
    return isinstance(x, np.ndarray | np.generic | torch.Tensor) and not isinstance(x, np.ma.MaskedArray)


def _is_float64(x: object) -> bool:
    return _is_array(x) and x.dtype in (np.float64, torch.float64)


def _kind(x: object) -> str:
    library = "torch" if isinstance(x, torch.Tensor) else "NumPy"
    return f"{str(x.dtype).removeprefix('torch.')} {library} array" if _is_array(x) else type(x).__name__


def _numpy(x: Array) -> np.ndarray:
    """The values, shared where that can be, in float64 or complex128."""
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().to(torch.complex128 if x.is_complex() else torch.float64).resolve_conj().numpy()
    x = np.asarray(x)
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64, copy=False)


def _like(example: Array, values: np.ndarray) -> Array:
    """The values, reshaped, as the kind of array that the example is; torch keeps a leaf's requires_grad."""
    values = np.ascontiguousarray(values).reshape(tuple(example.shape))
    if not isinstance(example, torch.Tensor):
        return values
    tensor = torch.from_numpy(values).to(example.device)
    return tensor.requires_grad_(example.requires_grad and example.is_leaf)


def _fresh(x: Array) -> Array:
    return _like(x, _numpy(x).copy())


def _same(a: Array, b: Array) -> bool:
    return np.array_equal(_numpy(a), _numpy(b), equal_nan=True)


@contextmanager
def _state_kept(*functions: Callable) -> Iterator[None]:
    """Afterwards put back the arrays that the functions hold: running statistics, for one."""
    holders = [holder for function in functions for holder in _holders(function, set())]
    saved = [
        {key: (x, _numpy(x).copy()) for key, x in holder.items() if _is_mutable(x)} for holder in holders
    ]
    try:
        yield
    finally:
        for holder, arrays in zip(holders, saved, strict=True):
            new = [key for key, x in holder.items() if _is_mutable(x) and key not in arrays]
            for key in (
                new if arrays or len(new) < len(holder) else ()
            ):  # what was empty is a log, not a state
                del holder[key]
            for key, (x, before) in arrays.items():
                holder[key] = x
                if not _same(x, before):
                    with torch.no_grad():
                        x[...] = before if isinstance(x, np.ndarray) else torch.from_numpy(before)


def _holders(thing: object, seen: set[int]) -> Iterator[dict]:
    """The dictionaries in which a function keeps arrays: its closure's, its module's, its object's."""
    if id(thing) in seen or isinstance(thing, ModuleType | type):
        return
    seen.add(id(thing))
    inside = ()
    if isinstance(thing, dict):
        yield thing
    elif _is_mutable(thing):
        yield {"": thing}
    elif isinstance(thing, torch.nn.Module):
        yield from (module._buffers for module in thing.modules())
    elif isinstance(thing, partial):
        inside = (thing.func, *thing.args, *thing.keywords.values())
    elif inspect.ismethod(thing):
        inside = (thing.__self__,)
    elif inspect.isfunction(thing):
        names = inspect.getclosurevars(thing)
        inside = (*names.nonlocals.values(), *names.globals.values())
    elif isinstance(getattr(thing, "__dict__", None), dict):
        yield vars(thing)
    for part in inside:
        yield from _holders(part, seen)


def _is_mutable(x: object) -> bool:
    return isinstance(x, np.ndarray | torch.Tensor)
