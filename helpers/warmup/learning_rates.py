"""Question (e): which of four training-loss curves had which learning rate, on real runs and a quadratic."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from matplotlib.axes import Axes

from helpers.data import load_digits

LABELS = ("low", "optimal", "high", "very high")
RATES = {"A": 1.0, "B": 0.01, "C": 10.0, "D": 0.2}  # for the digits, shuffled as a question would be
SCALED_RATES = (0.02, 0.4, 1.9, 2.05)  # eta * lambda for the quadratic, in the order of LABELS


@dataclass(frozen=True)
class Shape:
    """What tells a loss curve from its companions; height 0 is the best run's end, 1 the common start."""

    level: float  # height of its end, logarithmic from 1 up to 4; between 4 and 5, sooner higher, when it blows up
    slowness: float  # mean height over the whole run
    steadiness: float  # the nearer to 1, the straighter its fall or the nearer it stays to its start
    rise: float  # its peak above the start, of the means of its fortieths


def label_learning_rates(curves: Mapping) -> dict:
    """Tell which of four training losses had the low, the optimal, the high and the very high learning rate.

    Of the 24 ways to hand out the labels it takes the one with most evidence. The low run is slower than the
    optimal one, falls along a straighter line than the two above it or hardly moves, does not rise above its
    start and often ends above the high one; the high run ends above the optimal one; the very high run ends
    above all. Scale, offset and unit of time do not matter.

    curves: maps four names to one-dimensional loss histories, each a list, array or tensor of any length that
    begins before the first update; it blows up where it turns NaN or infinite. Nothing is changed.
    Returns a dictionary from the names to "low", "optimal", "high" and "very high", each used once.
    Raises TypeError when curves is not a mapping; ValueError when it does not hold exactly four, when a
    history is empty, not one-dimensional or not of real numbers, and when every run blows up.
    """
    shapes = curve_shapes(curves)
    best = max(permutations(shapes), key=lambda names: _evidence(*(shapes[name] for name in names)))
    label = dict(zip(best, LABELS, strict=True))
    return {name: label[name] for name in shapes}


def curve_shapes(curves: Mapping) -> dict:
    """The Shape of each of four loss curves; arguments and errors are those of `label_learning_rates`."""
    if not isinstance(curves, Mapping):
        raise TypeError(f"curves must map names to loss histories, got {type(curves).__name__}")
    if len(curves) != len(LABELS):
        raise ValueError(f"the four labels need exactly four curves, got {len(curves)}")
    histories = {name: _read(name, history) for name, history in curves.items()}
    finite = [history for history in histories.values() if np.isfinite(history).all()]
    if not finite:
        raise ValueError("every run blows up, so nothing tells how low the loss could have come")
    with np.errstate(over="ignore"):
        lowest = min(_end(history) for history in finite)
        span = np.median([h[0] for h in histories.values() if np.isfinite(h[0])]) - lowest
        return {name: _shape((h - lowest) / (span if span > 0 else 1.0)) for name, h in histories.items()}


def _read(name: object, history) -> np.ndarray:
    try:
        if isinstance(history, torch.Tensor):
            history = (history.double() if history.is_floating_point() else history).numpy(force=True)
        values = np.asarray(history).astype(np.float64, casting="same_kind")
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"curve {name!r} is not a series of real numbers: {error}") from None
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"curve {name!r} must be one-dimensional and not empty, got shape {values.shape}")
    return values


def _end(history: np.ndarray) -> float:
    return float(np.median(history[-max(1, len(history) // 4) :]))


def _shape(height: np.ndarray) -> Shape:
    kept = height[: np.isfinite(height).cumprod().sum()]
    lost = len(height) - len(kept)
    clipped = np.append(kept.clip(-1, 3), np.full(lost, 3.0))
    slowness = float(clipped.mean())
    peak = max(float(part.mean()) for part in np.array_split(clipped, min(len(clipped), 40)))
    rise = max(peak - 1, 0.0)
    if lost:
        return Shape(4 + 1 / (1 + len(kept)), slowness, 0.0, rise)
    end = _end(kept)
    trend = -float(np.corrcoef(clipped, np.arange(len(clipped)))[0, 1]) if np.ptp(clipped) > 1e-9 else 0.0
    steadiness = max(trend, 1 - float(np.abs(clipped - 1).mean())) if len(clipped) > 2 else 0.0
    return Shape(end if end < 1 else min(1 + float(np.log(end)), 4.0), slowness, steadiness, rise)


def _evidence(low: Shape, optimal: Shape, high: Shape, very_high: Shape) -> float:
    """The clauses of the rule, each worth about a point where it speaks clearly, the fourth a quarter of a point."""
    slow, fast = (max(shape.slowness, 1e-6) ** 2 for shape in (low, optimal))
    return (
        (slow - fast) / (slow + fast)
        + (2 * low.steadiness - high.steadiness - very_high.steadiness)
        - low.rise
        + (min(low.level, 1) - min(high.level, 1)) / 4
        + np.sign(high.level - optimal.level)
        + (very_high.level - max(low.level, optimal.level, high.level))
    )


def train_on_digits(rates: Mapping = RATES, steps: int = 300) -> dict[str, np.ndarray]:
    """Losses (steps,), in nats, of a ReLU network 64-32-32-10 at each rate, on the same batches of 8."""
    rng = np.random.default_rng(0)
    images, labels = load_digits()
    images, targets = (images - images.mean(0)).reshape(len(images), 64), np.eye(10)[labels]
    start = [rng.normal(0, np.sqrt(2 / size[0]), size) for size in ((64, 32), (32, 32), (32, 10))]
    weights = [np.stack([w] * len(rates)) for w in start]  # a leading axis for the runs
    biases = [np.zeros((len(rates), 1, w.shape[1])) for w in start]
    rate, losses = np.array(list(rates.values()))[:, None, None], np.empty((len(rates), steps))
    with np.errstate(over="ignore", invalid="ignore"):  # a run that blows up is part of the lesson
        for step in range(steps):
            rows = rng.integers(0, len(images), 8)
            hidden = [images[rows]]
            for w, b in zip(weights[:2], biases[:2], strict=True):
                hidden.append(np.maximum(hidden[-1] @ w + b, 0))
            logits = hidden[-1] @ weights[2] + biases[2]
            logits = logits - logits.max(2, keepdims=True)
            total = np.exp(logits).sum(2, keepdims=True)
            losses[:, step] = (np.log(total.squeeze(2)) - (logits * targets[rows]).sum(2)).mean(1)
            slope = (np.exp(logits) / total - targets[rows]) / len(rows)
            for layer in (2, 1, 0):
                below = slope @ weights[layer].mT * (hidden[layer] > 0)
                weights[layer] = weights[layer] - rate * (hidden[layer].mT @ slope)
                biases[layer] = biases[layer] - rate * slope.sum(1, keepdims=True)
                slope = below
    return dict(zip(rates, losses, strict=True))


def train_on_quadratic(steps: int = 100, runs: int = 4000) -> np.ndarray:
    """Losses (4, runs, steps) of SGD on w^2/2 from w = 3 at SCALED_RATES, gradient noise of variance 1/4."""
    rng = np.random.default_rng(1)
    rates, size = np.array(SCALED_RATES)[:, None], (len(SCALED_RATES), runs)
    w = [np.full(size, 3.0)]
    for _ in range(steps - 1):
        w.append(w[-1] - rates * (w[-1] + rng.normal(0, 0.5, size)))
    return np.stack(w, axis=2) ** 2 / 2


def noise_floor(rate):
    """Mean loss at which that SGD settles, eta s^2 / (2 (2 - eta lambda)), for eta lambda below 2."""
    return rate * 0.25 / (2 * (2 - rate))


def draw_curves(row: np.ndarray, curves: Mapping, titles: Mapping) -> None:
    """Draw each curve on its own Axes of a row, all to one scale, and its running median over 15 steps."""
    for axes, (name, losses) in zip(row, curves.items(), strict=True):
        axes.plot(losses, "C5-", linewidth=0.7)
        smooth = [np.median(losses[max(0, step - 7) : step + 8]) for step in range(len(losses))]
        axes.plot(smooth, "C0-")
        axes.set(title=titles[name], xlabel="SGD step", ylim=(0, 4.4))
    row[0].set_ylabel("training loss (nats)")


def draw_quadratic(axes: Axes, losses: np.ndarray) -> None:
    """Draw the mean loss a step at each rate, and dotted the floor that the theory gives for it."""
    for label, rate, curve in zip(LABELS, SCALED_RATES, losses.mean(1), strict=True):
        (line,) = axes.plot(curve, label=rf"{label}, $\eta\lambda$ = {rate:g}")
        if rate < 2:
            axes.axhline(noise_floor(rate), color=line.get_color(), linestyle=":", linewidth=1.2)
    axes.set(xlabel="SGD step", ylabel="mean loss", yscale="log", ylim=(8e-4, 100))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
