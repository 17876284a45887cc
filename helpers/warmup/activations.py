"""Question (f): Leaky ReLU beside ReLU and its look-alikes, and the units that each of the two loses."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from matplotlib.axes import Axes

from helpers.data import load_digits

LEAK = 0.01
LOOK_ALIKES = {
    "Leaky ReLU, 0.01": lambda x: F.leaky_relu(x, LEAK),
    "PReLU, 0.25 at first": lambda x: F.leaky_relu(x, 0.25),
    "ELU": F.elu,
    "GELU": F.gelu,
    "SiLU": F.silu,
    "softplus": F.softplus,
}
STEPS, RATES = (20, 100), (1.0, 0.3)  # first a rate that throws units out of the data, then a sound one

EVERY = 4  # steps between two counts


@dataclass(frozen=True)
class SilentUnits:
    """Of 32 hidden units, those that are negative on every digit, and whether they still learn."""

    counts: np.ndarray  # (sum(STEPS) / EVERY,) units silent, counted after every fourth step
    silenced: int  # units silent when the large rate ends
    moved: int  # of those, units whose weights have changed by the end


def value_and_slope(activation, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An activation and its derivative, by automatic differentiation, at the points x; float64."""
    points = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    values = activation(points)
    (slopes,) = torch.autograd.grad(values.sum(), points)
    return values.detach().numpy(), slopes.numpy()


def count_silent_units(leak: float) -> SilentUnits:
    """Train 64-32-10 on the digits with negative slope `leak`, and follow the units that fall silent.

    SGD on cross-entropy, the same start and batches of 32 for every leak; leak 0 is ReLU.
    """
    rng = np.random.default_rng(0)
    images, labels = load_digits()
    x, target = images.reshape(-1, 64), np.eye(10)[labels]
    w, v = rng.normal(0, np.sqrt(2 / 64), (64, 32)), rng.normal(0, np.sqrt(2 / 32), (32, 10))
    b, c, counts, silent = np.zeros(32), np.zeros(10), [], None
    for step in range(sum(STEPS)):
        if step == STEPS[0]:
            silenced, w_then = silent, w
        rate, rows = RATES[step >= STEPS[0]], rng.integers(0, len(x), 32)
        z = x[rows] @ w + b
        h = np.where(z > 0, z, leak * z)
        logits = h @ v + c
        p = np.exp(logits - logits.max(1, keepdims=True))
        error = (p / p.sum(1, keepdims=True) - target[rows]) / len(rows)
        back = error @ v.T * np.where(z > 0, 1, leak)
        v, c = v - rate * h.T @ error, c - rate * error.sum(0)
        w, b = w - rate * x[rows].T @ back, b - rate * back.sum(0)
        if step % EVERY == EVERY - 1:
            silent = (x @ w + b < 0).all(0)
            counts.append(silent.sum())
    moved = silenced & (w != w_then).any(0)
    return SilentUnits(np.array(counts), int(silenced.sum()), int(moved.sum()))


def draw_value_and_slope(left: Axes, right: Axes, leak: float) -> None:
    """Draw Leaky ReLU beside ReLU on the left, their derivatives on the right."""
    x = np.linspace(-4, 4, 801)  # the kink is a point of it, and the derivative jumps there
    for label, activation in (("ReLU", F.relu), (f"Leaky ReLU, {leak:g}", lambda z: F.leaky_relu(z, leak))):
        values, slopes = value_and_slope(activation, x)
        left.plot(x, values, label=label)
        right.plot(x, slopes, label=label)
    left.set(xlabel="x", ylabel="f(x)", title="Value")
    right.set(xlabel="x", ylabel="f'(x)", title="Derivative", ylim=(-0.1, 1.1))
    left.legend()


def draw_look_alikes(grid: np.ndarray) -> None:
    """Draw each look-alike near zero on its own Axes of a grid, over ReLU."""
    x = np.linspace(-4, 1.5, 551)
    for axes, (name, activation) in zip(grid.flat, LOOK_ALIKES.items(), strict=True):
        axes.plot(x, np.maximum(x, 0), "C6:", linewidth=1.2)
        axes.plot(x, value_and_slope(activation, x)[0], "C0-")
        axes.set(title=name, ylim=(-1.15, 1.5))
    for axes in grid[-1]:
        axes.set_xlabel("x")
    for axes in grid[:, 0]:
        axes.set_ylabel("f(x)")


def draw_silent_units(axes: Axes, **networks: SilentUnits) -> None:
    """Draw the number of silent units against the step for the networks, and where the rate drops."""
    for name, network in networks.items():
        axes.step(EVERY * np.arange(1, 1 + len(network.counts)), network.counts, label=name.replace("_", " "))
    axes.axvline(STEPS[0], color="C6", linewidth=1)
    axes.text(STEPS[0] + 3, 0.3, f"rate {RATES[0]:g} before, {RATES[1]:g} after")
    axes.set(xlabel="SGD step", ylabel="silent units of 32", title="Units negative on every digit", ylim=(0, None))
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.88))
