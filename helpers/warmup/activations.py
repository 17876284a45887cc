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
STARTS = 20


@dataclass(frozen=True)
class SilentUnits:
    """Of 32 hidden units in each of 20 networks, those that are negative on every digit, and whether they still learn.

    Lengths of a unit's change are relative to its weights' length when the large rate ends.
    """

    silenced: int  # units silent when the large rate ends
    moved: int  # of those, units whose weights have changed by the end
    change: np.ndarray  # (1 + STEPS[1],) how far their weights have moved since, mean over those units


def value_and_slope(activation, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An activation and its derivative, by automatic differentiation, at the points x; float64."""
    points = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    values = activation(points)
    (slopes,) = torch.autograd.grad(values.sum(), points)
    return values.detach().numpy(), slopes.numpy()


def follow_silent_units(leak: float) -> SilentUnits:
    """Train 64-32-10 on the digits with negative slope `leak`, and follow the units that fall silent.

    SGD on cross-entropy from 20 starts, the same ones and the same batches of 32 for every leak; leak 0 is ReLU.
    """
    changes = np.concatenate([_changes(leak, np.random.default_rng(start)) for start in range(STARTS)], axis=1)
    return SilentUnits(changes.shape[1], int((changes[-1] > 0).sum()), changes.mean(1))


def _changes(leak, rng):
    """How far the weights of the silent units of one network have moved after each sound step: (steps, units)."""
    images, labels = load_digits()
    x, target = images.reshape(-1, 64), np.eye(10)[labels]
    w, v = rng.normal(0, np.sqrt(2 / 64), (64, 32)), rng.normal(0, np.sqrt(2 / 32), (32, 10))
    b, c, visited = np.zeros(32), np.zeros(10), []
    for step in range(sum(STEPS)):
        if step == STEPS[0]:
            silent = (x @ w + b < 0).all(0)
            visited.append(w[:, silent])
        rate, rows = RATES[step >= STEPS[0]], rng.integers(0, len(x), 32)
        z = x[rows] @ w + b
        h = np.where(z > 0, z, leak * z)
        logits = h @ v + c
        p = np.exp(logits - logits.max(1, keepdims=True))
        error = (p / p.sum(1, keepdims=True) - target[rows]) / len(rows)
        back = error @ v.T * np.where(z > 0, 1, leak)
        v, c = v - rate * h.T @ error, c - rate * error.sum(0)
        w, b = w - rate * x[rows].T @ back, b - rate * back.sum(0)
        if step >= STEPS[0]:
            visited.append(w[:, silent])
    moves = np.stack(visited) - visited[0]
    return np.linalg.norm(moves, axis=1) / np.linalg.norm(visited[0], axis=0)


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
    """Draw how far the silent units' weights have moved against the steps at the sound rate."""
    for name, units in networks.items():
        axes.plot(100 * units.change, label=f"{name.replace('_', ' ')}, {units.silenced} units")
    axes.set(xlabel="SGD step after the rate fell", ylabel="change of their weights (%)", title="Silent units")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.06))
