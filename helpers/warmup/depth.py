"""Question (a): what depth buys over width, on networks that are built exactly rather than trained."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

Network = list[tuple[np.ndarray, np.ndarray]]  # weights (out, in) and biases (out,) of each layer, float64


def deep_network(folds: int) -> Network:
    """The tent 2 relu(x) - 4 relu(x - 1/2) composed `folds` times, two units a layer (Telgarsky, 2016)."""
    fold, biases = np.array([[2.0, -4.0], [2.0, -4.0]]), np.array([0.0, -0.5])
    return [(np.ones((2, 1)), biases), *[(fold, biases)] * (folds - 1), (fold[:1], np.zeros(1))]


def wide_network(folds: int) -> Network:
    """One layer of 2 * folds units, the best (see least_wrong): 1/2, then exact as far as the units last."""
    cells = 2**folds
    first = max(cells - 2 * folds, 0)
    kinks, changes = np.arange(first, cells) + 0.0, 2.0 * cells * (-1) ** np.arange(cells - first)
    level = 0.5 if first else 0.0
    kinks[0], changes[0] = first + level, cells
    return [(np.ones((len(kinks), 1)), -kinks / cells), (changes[None], np.array([level]))]


def measure(build: Callable[[int], Network], folds: np.ndarray) -> dict[str, np.ndarray]:
    """Parameters, linear pieces and wrong points of the networks built for each number of folds."""
    counts = {"parameters": lambda network, _: sum(weights.size + biases.size for weights, biases in network)}
    counts |= {"pieces": pieces, "wrong": wrong_points}
    return {name: np.array([count(build(k), k) for k in folds]) for name, count in counts.items()}


def evaluate(network: Network, x: np.ndarray) -> np.ndarray:
    """Outputs (n,) of a ReLU network for inputs x (n,)."""
    state = x[None]
    for weights, biases in network[:-1]:
        state = np.maximum(weights @ state + biases[:, None], 0)
    return (network[-1][0] @ state + network[-1][1])[0]


def pieces(network: Network, folds: int) -> int:
    """Linear pieces on [0, 1], counted exactly: kinks are multiples of 2^-(folds + 1), values are dyadic."""
    cells = 2 ** (folds + 2)
    slopes = np.diff(evaluate(network, np.arange(cells + 1) / cells)) * cells
    return 1 + int(np.count_nonzero(np.diff(slopes)))


def wrong_points(network: Network, folds: int) -> int:
    """How many of the points j / 2^folds, with targets 0, 1, 0, ..., 0, lie on the wrong side of 1/2."""
    points = np.arange(2**folds + 1)
    return int(np.count_nonzero((evaluate(network, points / 2**folds) > 0.5) != points % 2))


def least_wrong(folds: int) -> int:
    """Fewest wrong points of any one-layer network of 2 * folds ReLU units.

    n units make at most n + 1 pieces, each crosses 1/2 at most once: at most n + 2 runs on one side.
    A run of m points, whose targets alternate, has at least floor(m / 2) wrong.
    """
    return max(2 ** (folds - 1) - folds, 0)


def count_regions(widths: tuple[int, ...], side: int = 600) -> int:
    """In how many regions of the unit square a network built for it has different units switched on.

    Every layer but the last folds both coordinates, with half of its units each, into as many pieces (Montufar et al.,
    2014); the units of the last switch on at tangents of a parabola, every two of which cross within the square.
    Counted at the middles of side x side pixels, so that a region too small for them is missed.
    """
    x, y = np.broadcast_arrays(*np.ogrid[:side, :side])
    x, y, pattern = (x + 0.5) / side, (y + 0.5) / side, np.zeros((side, side), np.int64)
    for width in widths[:-1]:
        units = [[width // 2 * v - j for j in range(width // 2)] for v in (x, y)]
        for unit in units[0] + units[1]:
            pattern = 2 * pattern + (unit > 0)
        signs = [1, *(2 * (-1) ** j for j in range(1, width // 2))]
        x, y = (sum(sign * np.maximum(u, 0) for sign, u in zip(signs, half, strict=True)) for half in units)
    for t in np.arange(1, widths[-1] + 1) / (widths[-1] + 1):
        pattern = 2 * pattern + (y > 2 * t * x - t**2)
    return len(np.unique(pattern))


def draw_functions(axes: Axes, folds: int) -> None:
    """Draw what the deep and the wide network of 2 * folds units compute on [0, 1]."""
    x = np.arange(2 ** (folds + 1) + 1) / 2 ** (folds + 1)
    axes.plot(x, evaluate(deep_network(folds), x))
    axes.plot(x, evaluate(wide_network(folds), x))
    axes.text(0, 1.08, f"{folds} layers of 2", color="C0")
    axes.text(1, 1.08, f"1 layer of {2 * folds}", color="C1", ha="right")
    axes.set(xlabel="input x", ylabel="output", ylim=(-0.05, 1.25), title=f"{2 * folds} ReLU units")


def draw_counts(axes: Axes, folds: np.ndarray, deep: list, wide: list, ylabel: str) -> None:
    """Draw a count of the deep and of the wide networks against the number of units that both have."""
    for counts, marker, name in ((deep, "o", "deep"), (wide, "s", "one layer")):
        axes.plot(2 * folds, counts, marker=marker, markersize=5)
        axes.annotate(name, (2 * folds[-1], counts[-1]), (0, 7), textcoords="offset points", ha="right")
    axes.set(xlabel="ReLU units", ylabel=ylabel, xticks=2 * folds[1::2])
