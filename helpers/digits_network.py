"""A small convolutional network on the digits, made of cross_corr_2d and batch_norm."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from matplotlib.ticker import NullFormatter
from torch.nn.functional import cross_entropy, pad

from helpers.autograd import batch_norm
from helpers.cross_correlation import cross_corr_2d
from helpers.data import FORMS, load_digits
from helpers.threads import one_thread

CHANNELS = (1, 4, 4)  # of the image and of the two layers' feature maps
TEST = FORMS[2]  # digits from here on, from other forms, are the test set


@dataclass(frozen=True)
class Run:
    """One training run, and the network that came out of it."""

    losses: np.ndarray  # (steps,) training loss, nats
    accuracy: float  # on the 510 test digits, running statistics in use
    parameters: dict[str, torch.Tensor]
    statistics: list[dict] | None  # a bn_param for each layer; None: without batch norm


def convolve(images: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """A convolutional layer: Y[n, o] = sum over c of cross_corr_2d(images[n, c], kernels[o, c]).

    images: (N, C, H, W); kernels: (O, C, h, w); returns (N, O, H-h+1, W-w+1). The N images of a channel are
    stacked into one tall image, so that one call serves them all; rows whose window crosses two are dropped.
    """
    n, channels, height, width = images.shape
    h, w = kernels.shape[2:]
    towers = images.transpose(0, 1).reshape(channels, n * height, width)
    maps = [sum(map(cross_corr_2d, towers, kernel)) for kernel in kernels]
    rows = pad(torch.stack(maps, 1), (0, 0, 0, 0, 0, h - 1))  # (N*H, O, W-w+1)
    return rows.reshape(n, height, -1, width - w + 1)[:, : height - h + 1].transpose(1, 2)


def initialize(rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Parameters in float64: He's scale for the 3x3 kernels, gamma one, beta and bias zero."""
    parameters = {}
    for layer, (before, after) in enumerate(pairwise(CHANNELS)):
        parameters[f"kernels{layer}"] = rng.normal(0, np.sqrt(2 / (9 * before)), (after, before, 3, 3))
        parameters[f"gamma{layer}"], parameters[f"beta{layer}"] = np.ones(after), np.zeros(after)
    features = 4 * 4 * CHANNELS[-1]
    parameters["weights"] = rng.normal(0, np.sqrt(1 / features), (features, 10))
    parameters["bias"] = np.zeros(10)
    return {name: torch.from_numpy(array) for name, array in parameters.items()}


def scores(images: torch.Tensor, parameters: dict, statistics: list[dict] | None, mode: str) -> torch.Tensor:
    """Class scores (N, 10) of images (N, 1, 8, 8): twice convolution, batch norm, ReLU, then a linear layer.

    Without statistics, batch norm becomes gamma x + beta: the same parameters, nothing normalized.
    """
    x = images
    for layer in range(len(CHANNELS) - 1):
        x = convolve(x, parameters[f"kernels{layer}"])
        gamma, beta = parameters[f"gamma{layer}"], parameters[f"beta{layer}"]
        if statistics is None:
            x = gamma[:, None, None] * x + beta[:, None, None]
        else:
            statistics[layer]["mode"] = mode
            x = batch_norm(x, gamma, beta, statistics[layer])
        x = x.relu()
    return x.flatten(1) @ parameters["weights"] + parameters["bias"]


def load() -> tuple[torch.Tensor, ...]:
    """Training images (1287, 1, 8, 8) and labels, test images (510, 1, 8, 8) and labels."""
    images, labels = map(torch.from_numpy, load_digits())
    return images[:TEST, None], labels[:TEST], images[TEST:, None], labels[TEST:]


@one_thread()
def train(rate: float, normalized: bool, steps: int = 40, seed: int = 0) -> Run:
    """Plain SGD, 128 digits a step; the seed alone fixes the initial parameters and the batches."""
    images, labels, test_images, test_labels = load()
    rng = np.random.default_rng(seed)
    parameters = initialize(rng)
    statistics = [{} for _ in CHANNELS[1:]] if normalized else None
    losses = []
    for _ in range(steps):
        batch = torch.from_numpy(rng.choice(len(images), 128, replace=False))
        leaves = [parameter.requires_grad_() for parameter in parameters.values()]
        loss = cross_entropy(scores(images[batch], parameters, statistics, "train"), labels[batch])
        gradients = torch.autograd.grad(loss, leaves)
        losses.append(loss.item())
        moved = (leaf.detach() - rate * gradient for leaf, gradient in zip(leaves, gradients, strict=True))
        parameters = dict(zip(parameters, moved, strict=True))
    right = scores(test_images, parameters, statistics, "test").argmax(1) == test_labels
    return Run(np.array(losses), right.double().mean().item(), parameters, statistics)


def draw_losses(axes, plain: Run, normalized: Run) -> None:
    """Training loss against steps, without and with batch norm."""
    for run, marker, name in ((plain, "s", "without batch norm"), (normalized, "o", "with batch norm")):
        axes.semilogy(run.losses, marker=marker, markersize=3.5, markevery=4, label=name)
    axes.axhline(np.log(10), color="gray", linewidth=1, linestyle=":")
    end = len(plain.losses), np.log(10)
    axes.annotate("guessing", end, (0, 4), textcoords="offset points", ha="right", fontsize=8)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="step", ylabel="training loss (nats)")


def draw_accuracies(axes, plain: dict[float, list[Run]], normalized: dict[float, list[Run]]) -> None:
    """Median and range of the test accuracy of several runs against the learning rate, without and with batch norm."""
    for runs, marker, name in ((plain, "s", "without batch norm"), (normalized, "o", "with batch norm")):
        shares = np.array([[100 * run.accuracy for run in some] for some in runs.values()])
        middle = np.median(shares, axis=1)
        reach = middle - shares.min(1), shares.max(1) - middle
        axes.errorbar(list(runs), middle, reach, marker=marker, markersize=5, capsize=3, label=name)
    axes.set_xscale("log")
    axes.axhline(10, color="gray", linewidth=1, linestyle=":")
    axes.minorticks_off()
    axes.set_xticks(list(plain), [f"{rate:g}" for rate in plain])
    axes.set(xlabel="learning rate", ylabel="test accuracy (%)", ylim=(0, 100))
