"""Whether an analytic gradient agrees with the numerical one, as far as rounding lets anyone tell."""

import math
from dataclasses import dataclass

import numpy as np

from helpers.central_differences import Slopes

_SAFETY = 3  # rounding may be this many times its estimate; 0.6 times in 99 of 100 elements
EXCUSE = 1e-6  # of the largest slope: no estimated error may hide more than this,
_MOST = 1e-4  # nor may the rounding of float64 where out is a billion times what x moves


@dataclass(frozen=True)
class Agreement:
    """One input: its largest relative error beyond rounding, where that is, and the two gradients there."""

    name: str
    shape: tuple[int, ...]
    error: float
    index: tuple[int, ...]
    analytic: float
    numerical: float
    fault: str = ""


def judge(name: str, slopes: Slopes, analytic: np.ndarray, rounding: np.ndarray, tolerance: float):
    """The Agreement of one input, and its numerical gradient.

    A plain central difference settles nearly every element: it agrees, and its rounding is too small to have
    made it agree. The others are searched, the worst first, until one is found to be wrong; only there may
    rounding explain a difference, as far as it was measured.
    """
    a, rounding = analytic.ravel(), rounding.ravel()
    steps = 1e-5 * slopes.usual
    n = np.array([slopes.at(i, step) for i, step in enumerate(steps)])
    largest = np.max(np.abs(n), initial=0.0, where=np.isfinite(n))
    wrong = np.count_nonzero(_relative(a, n, EXCUSE * largest) > tolerance)
    share = f"{wrong} of {a.size} by plain differences" if wrong > 1 else f"1 of {a.size}"
    gap, noise, fault = _relative(a, n), slopes.noise(slopes.rounding, steps), ""
    known_zero = (n == 0) & (noise <= EXCUSE * largest)
    settled = (gap <= tolerance) & ((noise <= 10 * tolerance * np.abs(n)) | known_zero)
    order, drowned = _worst_first(gap), n == 0
    for i in order[~settled[order]]:
        n[i], error, least = slopes.search(i)
        drowned[i] = abs(n[i]) <= _SAFETY * error
        known = _SAFETY * (error + rounding[i])
        excuse = min(known, max(EXCUSE * largest, min(_SAFETY * (least + rounding[i]), _MOST * largest)))
        gap[i] = _relative(a[i], n[i], excuse)
        if gap[i] > tolerance and not fault:
            worst, fault = i, f"{_wrong_value(slopes, i, a[i], n[i], known)}; wrong in {share}"
        if fault and not drowned[i]:
            break
    if not fault:
        worst = np.argmax(gap)
    index = tuple(int(j) for j in np.unravel_index(worst, analytic.shape))
    fault = fault and f"{name}: at {index} {fault}"
    if drowned.all():
        fault = f"{name}: forward ignores it (every slope is zero to rounding), so the check would prove nothing"
    found = Agreement(name, analytic.shape, float(gap[worst]), index, float(a[worst]), float(n[worst]), fault)
    return found, n.reshape(analytic.shape)


def _worst_first(gap: np.ndarray) -> np.ndarray:
    """Indices by falling error; equal errors keep their order, however rounding tells them apart."""
    return np.argsort(-np.round(np.log10(gap), 2), kind="stable")


def _relative(a: np.ndarray, n: np.ndarray, excuse: float = 0.0) -> np.ndarray:
    """|a - n| less the excuse, over |a| + |n|: 0 where nothing is left, infinite where a gradient is not finite."""
    difference = np.abs(a - n) - excuse
    error = np.where(difference > 0, difference / (np.abs(a) + np.abs(n)), 0.0)
    return np.where(np.isfinite(difference), error, np.inf)


def _wrong_value(slopes: Slopes, i: int, a: float, n: float, known: float) -> str:
    digits = next((d for d in range(6, 17) if f"{a:.{d}g}" != f"{n:.{d}g}"), 17)
    both = f"backward gives {a:.{digits}g}, central differences give {n:.{digits}g}"
    if not np.isfinite(a):
        return f"{both}: the gradient is not finite"
    if not np.isfinite(n):
        return f"{both}: forward is not finite around this point"
    single = np.array_equal(slopes.base.astype(np.float32), slopes.base) and math.isclose(a, n, rel_tol=0.05)
    if abs(a - n) <= known or single:
        return f"{both}, within the rounding of forward or backward: do they compute in float64 throughout?"
    if slopes.has_kink(i):
        return f"{both}: forward has a kink here, where no gradient exists"
    return f"{both}, a relative error of {_relative(a, n):.2g}"
