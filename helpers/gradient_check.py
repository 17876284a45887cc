"""Gradient checks that a pass can be trusted by: every element is compared, and a failure names its fault."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial, wraps

import numpy as np
import torch

from helpers import checked_calls as calls
from helpers.agreement import EXCUSE, Agreement, judge
from helpers.central_differences import Slopes, like, nudged, numerical_gradient, to_numpy
from helpers.gradient_hints import explain
from helpers.interop import Array
from helpers.kept_state import state_kept

__all__ = ["GradientReport", "check_autograd", "check_gradients", "numerical_gradient", "relative_error"]

_FLOOR = 1e-12  # relative_error measures smaller values against this instead of against themselves
_SCALE = -(2.0**20)  # by which dout is multiplied to see whether backward is linear in it


@dataclass(frozen=True)
class GradientReport:
    """What a check found. It is true when the check passed, and then prints the same on every machine."""

    tolerance: float
    agreements: tuple[Agreement, ...] = ()
    refusal: str = ""

    @property
    def faults(self) -> tuple[str, ...]:
        """A message for each fault; empty when the check passed."""
        return (self.refusal,) if self.refusal else tuple(a.fault for a in self.agreements if a.fault)

    def __bool__(self) -> bool:
        return not self.faults

    def __str__(self) -> str:
        right = [f"{a.name}: {a.shape} agrees within {self.tolerance:g}" for a in self.agreements if not a.fault]
        return "\n".join([*(f"FAULT in {fault}" for fault in self.faults), *right])

    __repr__ = __str__

    def raise_if_failed(self) -> None:
        """Raise AssertionError, with every fault, unless the check passed."""
        if not self:
            raise AssertionError(str(self))


def relative_error(a: Array, b: Array) -> float:
    """The largest elementwise relative error, max |a - b| / max(1e-12, |a| + |b|), between 0 and 1.

    a and b have one shape, NumPy or torch, and any numeric dtype. The floor of 1e-12 keeps rounding noise
    around zero from counting as an error of 1. Empty arrays have error 0; a NaN or an infinity on either side
    makes the error infinite, so that it never passes.

    Raises ValueError when the shapes differ, TypeError for complex32.
    """
    a, b = to_numpy(a), to_numpy(b)
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    a, b = a / 4, b / 4  # so that the largest floats do not overflow
    return float(np.max(np.abs(a - b) / np.maximum(_FLOOR / 4, np.abs(a) + np.abs(b)), initial=0.0))


def check_gradients(
    forward: Callable, backward: Callable, inputs: Sequence[Array], *, tolerance: float = 1e-7, seed: int = 0
) -> GradientReport:
    """Compare the gradients of a backward pass with numerical ones, element by element.

    forward(*inputs) -> (out, cache); backward(dout, cache) -> one gradient an input. All arrays are float64,
    NumPy or torch. dout is random, of either sign and 0.5 to 1.5 in size. An element is right when
    |analytic - numerical| <= tolerance * (|analytic| + |numerical|) + rounding. The rounding of both sides is
    measured for that element. It never excuses more than 1e-6 of the input's largest slope, or 1e-4 where
    float64 itself can tell no better, as where out is 1e9 times the part of it that the input moves.

    The report fails, and says where and how, when a gradient is wrong, missing, not finite, or of another shape, kind
    or dtype than its input; when forward or backward changes an array that it was given, or gives something else when
    called again; when backward is not linear in dout; when forward ignores an input, so that the check would prove
    nothing; when an input or out is not a finite float64 array, or a gradient holds no more than the digits of
    float32. At a kink (ReLU at 0) no gradient exists; the report says so unless backward gives the mean of the slopes
    on both sides. The inputs are never changed, and arrays that the functions keep (running statistics in a
    dictionary, a module's buffers, an object's attributes) are put back.

    Raises TypeError when inputs is not a sequence, ValueError when the tolerance is not between 0 and 1.
    """
    if not isinstance(inputs, list | tuple):
        raise TypeError(f"inputs must be a list or tuple of arrays, got {type(inputs).__name__}")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie between 0 and 1, got {tolerance}")
    named = dict(zip(_names(forward, len(inputs)), inputs, strict=True))
    try:
        with state_kept(forward, backward), np.errstate(all="ignore"):
            return GradientReport(tolerance, _compare(forward, backward, named, tolerance, seed))
    except calls.Refusal as refusal:
        return GradientReport(tolerance, refusal=str(refusal))


def check_autograd(
    function: Callable, inputs: Sequence[torch.Tensor], *, tolerance: float = 1e-7, seed: int = 0
) -> GradientReport:
    """Check the gradients that autograd derives for function(*inputs) -> out, as check_gradients does.

    Raises TypeError when inputs is not a sequence of torch tensors.
    """
    if not (isinstance(inputs, list | tuple) and all(isinstance(x, torch.Tensor) for x in inputs)):
        raise TypeError("inputs must be a list or tuple of torch tensors")

    @wraps(function)
    def forward(*arrays):
        leaves = [x.detach().requires_grad_() for x in arrays]
        out = function(*leaves)
        return out, (out, leaves)

    def backward(dout, cache):
        out, leaves = cache
        if not out.requires_grad:
            return (None,) * len(leaves)
        return torch.autograd.grad(out, leaves, dout, retain_graph=True, allow_unused=True)

    with torch.inference_mode(False), torch.enable_grad():
        return check_gradients(forward, backward, inputs, tolerance=tolerance, seed=seed)


def _compare(forward, backward, named: dict[str, Array], tolerance: float, seed: int) -> tuple[Agreement, ...]:
    for name, x in named.items():
        calls.require_usable(name, x)
        calls.require(to_numpy(x).size > 0, f"{name}: is empty, so the check would prove nothing")
    calls.require(bool(named), "inputs: there are none, so the check would prove nothing")
    with suppress(Exception):  # another point comes first, so that a backward stuck with the first cache is wrong
        forward(*(like(x, to_numpy(x).ravel()[::-1].copy(), keep_grad=True) for x in named.values()))
    given, out, cache = calls.run(forward, named)
    first = to_numpy(out).copy()
    calls.require_repeatable(forward, named, first)
    dout = _random(out, seed)
    drawn = to_numpy(dout).copy()
    analytic = calls.gradients(backward, dout, cache, named)
    lent = [("dout", dout, drawn), ("out", out, first)]
    for name, now, before in [*lent, *zip(named, given, named.values(), strict=True)]:
        calls.require(calls.same(now, before), f"backward: changes {name}")
    calls.require_repeated(backward, dout, cache, named, analytic)
    scaled = calls.gradients(backward, like(dout, to_numpy(dout) * _SCALE), cache, named)
    zeros = calls.gradients(backward, like(dout, np.zeros_like(drawn)), cache, named)

    rounded = analytic
    with suppress(Exception):  # one rounding further may be outside the domain
        _, _, cache = calls.run(forward, {name: nudged(x, seed=k) for k, (name, x) in enumerate(named.items())})
        rounded = calls.gradients(backward, nudged(dout, seed=len(named)), cache, named)
    found, numerical = {}, {}
    for k, (name, x) in enumerate(named.items()):
        slopes = Slopes(partial(calls.output, forward, given, k), x, dout)
        rounding = np.nan_to_num(np.abs(rounded[name] - analytic[name]))  # what is NaN excuses nothing
        found[name], numerical[name] = judge(name, slopes, analytic[name], rounding, tolerance)
    calls.require_repeatable(forward, named, first)
    values = {name: to_numpy(x) for name, x in named.items()}
    for name, agreement in found.items():
        bent = _bent(analytic[name], scaled[name])
        if not bent and zeros[name].any():
            bent = "it is not linear in dout: where dout is zero everywhere, it is not"
        if not (bent or agreement.fault) and calls.same(analytic[name].astype(np.float32), analytic[name]):
            bent = "but float32 holds it exactly, so backward does not compute in float64"
        hint = bent or (agreement.fault and explain(name, values, analytic, numerical))
        if hint:
            found[name] = replace(agreement, fault=f"{agreement.fault or name + ': agrees'}; {hint}")
    return tuple(found.values())


def _bent(gradient: np.ndarray, scaled: np.ndarray) -> str:
    """How a gradient fails to be _SCALE times as large for _SCALE times the dout; empty where it does not."""
    if not np.isfinite(gradient).all():
        return ""
    if gradient.any() and calls.same(scaled, gradient):
        return "it ignores dout"
    off = np.where(scaled == gradient * _SCALE, 0, np.abs(scaled / _SCALE - gradient))  # where both overflow too
    index = tuple(int(j) for j in np.unravel_index(np.argmax(off), off.shape))
    if off[index] <= EXCUSE * np.abs(gradient).max():
        return ""
    per_dout = f"{gradient[index]:.6g} for dout, but {scaled[index] / _SCALE:.6g} times c for c dout"
    return f"it is not linear in dout: at {index} backward gives {per_dout}, with c = {_SCALE:.0f}"


def _random(out: Array, seed: int) -> Array:
    """A gradient for out, of either sign and 0.5 to 1.5 in size: no element drowns, none cancels."""
    rng, shape = np.random.default_rng(seed), tuple(out.shape)
    return like(out, rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape))


def _names(forward: Callable, count: int) -> list[str]:
    """The names of forward's parameters, or "input 0", "input 1", ... where it does not name them."""
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names[:count] if len(names) >= count else [f"input {k}" for k in range(count)]
