"""Question (d): choose a model on validation data, and measure what choosing does to the validation score."""

from dataclasses import dataclass
from math import comb

import numpy as np
from matplotlib.axes import Axes

from helpers.data import FORMS, load_digits

TRAINING = 150  # digits
PENALTIES = 10.0 ** np.arange(-6, 4)  # of the squared weights: the smaller, the more freely the model fits


@dataclass(frozen=True)
class Selection:
    """Error rates in [0, 1] on the three sets, one for each of PENALTIES, and the index of the choice."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    chosen: int


def select_penalty(apart: bool = True, seed: int = 0) -> Selection:
    """Choose the ridge penalty of a digit classifier by its error on the validation set.

    150 random features relu(x W); regularized least squares fits their readout to 150 digits of the training set.
    The three sets come from different filled-in forms, nearly always of other writers; if not apart, all digits are
    shuffled first.
    """
    rng = np.random.default_rng(seed)
    images, labels = load_digits()
    parts = np.split(np.arange(len(images)) if apart else rng.permutation(len(images)), FORMS[:2])
    train = parts[0] = rng.choice(parts[0], TRAINING, replace=False)
    pixels = images.reshape(-1, 64) - images[train].reshape(-1, 64).mean(0)  # preprocessing learns there too
    features = np.maximum(pixels @ rng.normal(0, 1 / 8, (64, 150)), 0)
    gram, target = features[train].T @ features[train], features[train].T @ np.eye(10)[labels[train]]
    errors = np.empty((3, len(PENALTIES)))
    for index, penalty in enumerate(PENALTIES):
        readout = np.linalg.solve(gram + penalty * np.eye(len(gram)), target)
        wrong = (features @ readout).argmax(1) != labels
        errors[:, index] = [wrong[part].mean() for part in parts]
    return Selection(*errors, chosen=int(errors[1].argmin()))


def expected_best(classifiers: int = 100, points: int = 100) -> float:
    """Expected best score of m coin flippers on n points: sum over k < n of (1 - P(k or fewer)^m) / n."""
    at_most = np.cumsum([comb(points, k) / 2**points for k in range(points)])
    return float((1 - at_most**classifiers).sum() / points)


def choose_among_coin_flips(repeats: int = 2000, classifiers: int = 100, points: int = 100) -> np.ndarray:
    """Scores (2, repeats) in [0, 1] of the best coin flipper: where it was chosen, and on new points."""
    rng = np.random.default_rng(0)
    validation = rng.binomial(points, 0.5, (repeats, classifiers)).max(1)
    return np.stack([validation, rng.binomial(points, 0.5, repeats)]) / points


def draw_selection(axes: Axes, selection: Selection) -> None:
    """Draw the three errors against the penalty, complexity growing to the right, and mark the choice."""
    for name, marker in (("train", "o"), ("validation", "s"), ("test", "^")):
        axes.plot(PENALTIES, 100 * getattr(selection, name), marker=marker, markersize=5, label=name)
    axes.axvline(PENALTIES[selection.chosen], color="C6", linewidth=1)
    axes.set(xscale="log", xlabel="ridge penalty (falling: more complex)", ylabel="error (%)")
    axes.set_title(f"Validation chooses {PENALTIES[selection.chosen]:g}")
    axes.invert_xaxis()
    axes.legend(loc="upper center")


def draw_optimism(axes: Axes, scores: np.ndarray) -> None:
    """Draw histograms of the winner's two scores, with their means."""
    bins = np.arange(34.5, 76)
    for values, name, color, hatch in zip(scores, ("where chosen", "fresh"), ("C1", "C2"), ("", "//"), strict=True):
        label = f"{name}: mean {100 * values.mean():.1f} %"
        axes.hist(100 * values, bins, color=color, hatch=hatch, alpha=0.7, edgecolor="white", label=label)
    axes.axvline(50, color="C6", linewidth=1)
    axes.set(xlabel="accuracy on 100 points (%)", ylabel="repeats", ylim=(0, 520))
    axes.set_title("The best of 100 coin flips")
    axes.legend(loc="upper right")
