"""Numerical gradients: central differences, Ridders' extrapolation, and how far they are to be trusted."""

from collections.abc import Callable
from functools import cached_property, partial

import numpy as np
import torch

from helpers.interop import Array

EPSILON = np.finfo(np.float64).eps


def numerical_gradient(
    f: Callable[[Array], Array], x: Array, upstream: Array | None = None, *, step: float | None = None
) -> Array:
    """The gradient of sum(f(x) * upstream), by central differences D(h) = (f(x + h) - f(x - h)) / 2h.

    Richardson extrapolation, (4 D(h/2) - D(h)) / 3 and so on, removes the errors in h^2, h^4, ...; for each
    element h falls from a quarter of its size, and the entry with the smallest estimated error is kept.

    x: float64, any shape, NumPy or torch; never changed, and f gets a fresh array each time. f returns an
    array or a number; upstream has its shape, ones by default. step: one fixed h, extrapolated once.
    Returns an array like x, NaN where f is not finite however small the step.

    Raises TypeError when x is not a float64 array or f is complex, ValueError when upstream does not fit.
    Source: Ridders, Accurate computation of F'(x) and F'(x) F''(x), Advances in Engineering Software, 1982.
    """
    if not is_float64(x):
        raise TypeError(f"x must be a float64 array, got {kind(x)}")
    with np.errstate(all="ignore"):  # a step may leave f's domain
        slopes = Slopes(lambda array: to_numpy(f(array)), x, upstream)
        elements = range(slopes.flat.size)
        if step is None:
            gradient = [slopes.search(i)[0] for i in elements]
        else:
            gradient = [(4 * slopes.at(i, step / 2) - slopes.at(i, step)) / 3 for i in elements]
    return like(x, np.array(gradient))


class Slopes:
    """The slopes of sum(f(x) * upstream) at x, one element at a time. f returns NumPy arrays."""

    def __init__(self, f: Callable[[Array], np.ndarray], x: Array, upstream: Array | None):
        self.f, self.flat, self.wrap = f, to_numpy(x).flatten(), partial(like, x, keep_grad=True)
        self.base = f(self.wrap(self.flat.copy())).copy()
        self.upstream = np.ones_like(self.base) if upstream is None else to_numpy(upstream)
        if self.base.dtype.kind == "c":
            raise TypeError("f must return real numbers, got complex")
        if self.upstream.shape != self.base.shape:
            raise ValueError(f"upstream has shape {self.upstream.shape}, but f(x) has {self.base.shape}")
        size, count = np.abs(self.flat), max(1, self.flat.size)
        spread = np.abs(self.flat - self.flat.sum() / count).sum() / count
        self.largest, small = np.maximum(size, spread), np.minimum(size, spread)
        self.largest[self.largest == 0] = 1.0
        self.smallest = np.where(small > 0, small, self.largest)
        self.usual = np.maximum(self.smallest, spread / 10)

    @cached_property
    def rounding(self) -> np.ndarray:
        """How far each output strays from a smooth curve along a short line through x: what f cannot know better."""
        rng = np.random.default_rng(0)
        places = rng.uniform(-1, 1, 9)
        length = np.maximum(2.0**-24 * self.smallest, 16 * EPSILON * np.abs(self.flat))
        line = length * rng.uniform(-1, 1, self.flat.size)
        moved = np.array([self.out(self.flat + place * line) - self.base for place in places]).reshape(9, -1)
        powers = np.vander(places, 5)
        strays = moved - powers @ (np.linalg.pinv(powers) @ moved)
        noise = np.nan_to_num(np.sqrt((strays**2).sum(0) / 4).reshape(self.base.shape), posinf=0)
        return np.maximum(noise, EPSILON * np.abs(self.base))

    def out(self, flat: np.ndarray) -> np.ndarray:
        """f there, in memory of its own; NaN where f refuses: it did not at x, so this is outside its domain."""
        try:
            return self.f(self.wrap(flat)).copy()
        except Exception:
            return np.full_like(self.base, np.nan)

    def ends(self, i: int, step: float) -> tuple[np.ndarray, np.ndarray, float]:
        """f one step above and one step below in element i, and how far apart the two points really are."""
        above, below = self.flat.copy(), self.flat.copy()
        above[i] += step
        below[i] -= step
        width = above[i] - below[i]  # before f, which may change what it is given
        return self.out(above), self.out(below), width

    def at(self, i: int, step: float) -> float:
        """The central difference: outputs are subtracted before they are summed, so the unmoved cancel."""
        above, below, width = self.ends(i, step)
        return np.vdot(above - below, self.upstream) / width

    def search(self, i: int) -> tuple[float, float, float]:
        """The slope in element i, its estimated error, and the part of that which is float64 rounding.

        Where steps below the element's size drown in rounding, as in 1 + x at x = 1e-9, larger ones refine
        what they found. The first is no simple fraction of x, at which a periodic function would mislead.
        """
        slope, error, noise = self._table(i, 0.2357 * self.largest[i], 1e-9 * self.smallest[i])
        for growth in (2.0**10, 2.0**20, 2.0**30):
            if error <= 1e-8 * abs(slope):
                return slope, error, noise
            start = growth * 0.2357 * self.largest[i]
            finer, less, _ = self._table(i, start, 2.0**-14 * start)
            less = max(less, abs(finer - slope))
            if less < min(error / 3, 1e-3 * abs(finer)):
                slope, error, noise = finer, less, min(noise, less)
        return slope, error, noise

    def _table(self, i: int, step: float, last: float) -> tuple[float, float, float]:
        """Ridders' table: every entry removes one more even power of the step from those before it.

        It ends where a smaller step only adds noise, unless a tiny step sees another slope: then the steps
        were still too wide for f, and a later entry that is sure of itself replaces what they gave.
        """
        best, row, touched = (np.nan, np.inf, np.inf), [], np.zeros(self.base.shape, dtype=bool)
        tiny = 1e-8 * self.largest[i]
        glimpse, blur = self.at(i, tiny), 10 * self.noise(self.rounding, tiny)
        while last < step < np.inf:
            above, below, width = self.ends(i, step)
            touched |= above != below
            noise = self.rounding + EPSILON * (np.abs(above) + np.abs(below))
            noise = self.noise(noise * touched if touched.any() else noise, width / 2)
            new = [np.vdot(above - below, self.upstream) / width]
            for order, old in enumerate(row[:8], start=1):
                slope = new[-1] + (new[-1] - old) / (4**order - 1)
                error = abs(slope - old) + noise
                sure = error < 1e-3 * abs(slope) and abs(slope - best[0]) > 10 * (error + best[1])
                if error < best[1] or sure:
                    best = slope, error, noise
                new.append(slope)
            if best[1] <= noise < np.inf and abs(best[0] - glimpse) <= 1e-3 * abs(glimpse) + blur:
                break
            row, step = new, step / 2
        return best

    def noise(self, rounding: np.ndarray, step: float | np.ndarray) -> float | np.ndarray:
        """The error of a central difference of outputs with these rounding errors, taken as independent."""
        return np.hypot.reduce(rounding * self.upstream, axis=None) / (2 * step)

    def has_kink(self, i: int) -> bool:
        """Whether the slopes to either side differ and stay what they are at a hundredth of the step."""
        sides = []
        for step in (1e-4 * self.usual[i], 1e-6 * self.usual[i]):
            above, below, width = self.ends(i, step)
            sides.append([np.vdot(rise, self.upstream) / width for rise in (above - self.base, self.base - below)])
        jump, change = abs(np.subtract(*sides[1])), np.abs(np.subtract(*sides)).sum()
        return bool(jump > 10 * change and jump > 1e-3 * np.abs(sides).max())


def is_array(x: object) -> bool:
    return isinstance(x, np.ndarray | np.generic | torch.Tensor) and not isinstance(x, np.ma.MaskedArray)


def is_float64(x: object) -> bool:
    return is_array(x) and not _hollow(x) and x.dtype == (torch.float64 if isinstance(x, torch.Tensor) else np.float64)


def kind(x: object) -> str:
    """What an object is, for a message: float64 NumPy array, float32 torch tensor, NoneType."""
    if isinstance(x, torch.Tensor):
        return f"{_hollow(x)}{str(x.dtype).removeprefix('torch.')} torch tensor"
    return f"{x.dtype} NumPy array" if is_array(x) else type(x).__name__


def _hollow(x: object) -> str:
    """What keeps a tensor from being an array of numbers, for a message: that it is sparse, nested or empty."""
    if not isinstance(x, torch.Tensor) or (x.layout is torch.strided and not x.is_nested and not x.is_meta):
        return ""
    return "nested " if x.is_nested else "meta " if x.is_meta else "sparse "


def to_numpy(x: Array) -> np.ndarray:
    """The values in float64 or complex128, on the same memory where that can be."""
    if isinstance(x, torch.Tensor):
        if x.dtype == torch.complex32:
            raise TypeError("torch cannot yet convert complex32 reliably; use complex64")
        if _hollow(x):
            raise TypeError(f"needs a dense array, got a {kind(x)}")
        return x.to(torch.complex128 if x.is_complex() else torch.float64).numpy(force=True)
    x = np.asarray(x)
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64, copy=False)


def like(example: Array, values: np.ndarray, keep_grad: bool = False) -> Array:
    """The values as the kind of array that the example is, in its shape, on its device."""
    values = np.asarray(values).reshape(tuple(example.shape))
    if not isinstance(example, torch.Tensor):
        return values
    return torch.from_numpy(values).to(example.device).requires_grad_(keep_grad and example.requires_grad)


def nudged(x: Array, seed: int) -> Array:
    """x with every element moved up or down by one rounding."""
    values = to_numpy(x).copy(order="K")
    values *= np.random.default_rng(seed).choice([1 - EPSILON, 1 + EPSILON], tuple(x.shape))
    return like(x, values, keep_grad=True)
