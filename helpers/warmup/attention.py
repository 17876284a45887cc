"""(i) Soft and hard attention over the patches of a photograph, and the gradients that train each."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import one_hot

from helpers.data import load_photograph

ROWS, COLUMNS, HEIGHT, WIDTH = 5, 4, 60, 64  # of the grid, and of a patch in pixels


@dataclass(frozen=True)
class Scene:
    """One attention step over K = 20 patches of the photograph; tensors are float64."""

    image: np.ndarray  # (300, 256, 3)
    logits: torch.Tensor  # (K,) the patches' contrast, standardized: still untrained
    values: torch.Tensor  # (K, 3) the patches' mean colors a_i
    target: torch.Tensor  # (3,) the color of the cheeks, which the glimpse should report

    weights = property(lambda self: self.logits.softmax(0))  # (K,) alpha
    rewards = property(lambda self: self.reward(self.values))  # (K,) R_i for each single patch
    score = property(lambda self: torch.eye(len(self.logits)) - self.weights)  # (K, K) d log alpha_s / d theta

    def reward(self, prediction: torch.Tensor) -> torch.Tensor:
        """R(z) = -|z - target|^2 for predictions (..., 3)."""
        return -((prediction - self.target) ** 2).sum(-1)


def load_scene() -> Scene:
    """The photograph in 5 x 4 patches; as long as nothing is learned, attention follows contrast."""
    image = load_photograph()
    patches = image.reshape(ROWS, HEIGHT, COLUMNS, WIDTH, 3).swapaxes(1, 2).reshape(-1, HEIGHT, WIDTH, 3)
    contrast = patches.mean(-1).std((1, 2))
    logits = (contrast - contrast.mean()) / contrast.std()
    arrays = logits, patches.mean((1, 2)), image[95:135, 105:150].mean((0, 1))
    return Scene(image, *(torch.from_numpy(array) for array in arrays))


def soft_gradient(scene: Scene) -> torch.Tensor:
    """Gradient (K,) of R(sum_i alpha_i a_i) for the logits, by backpropagation."""
    logits = scene.logits.clone().requires_grad_()
    return torch.autograd.grad(scene.reward(logits.softmax(0) @ scene.values), logits)[0]


def hard_gradient(scene: Scene) -> torch.Tensor:
    """Gradient (K,) of E[R(a_s)] with every outcome enumerated: sum_s alpha_s R_s d log alpha_s / d theta."""
    return (scene.weights * scene.rewards) @ scene.score


def gradient_through_choice(scene: Scene, choose) -> tuple:
    """Differentiate R(W a_s) at W = identity, where s = choose(weights) is an index.

    Returns autograd's gradients for the logits (None: no path) and W, and forward differences for the logits.
    """
    logits, layer = scene.logits.clone().requires_grad_(), torch.eye(3).double().requires_grad_()
    chosen = choose(logits.softmax(0))
    result = scene.reward(layer @ scene.values[chosen])
    gradients = torch.autograd.grad(result, (logits, layer), allow_unused=True)
    moved = torch.stack([choose(row) for row in (scene.logits + 1e-6 * torch.eye(len(logits))).softmax(1)])
    return *gradients, (scene.rewards[moved] - scene.rewards[chosen]) / 1e-6


def score_function(scene: Scene, baseline: float, samples: int, repeats: int, rng) -> torch.Tensor:
    """Estimates (repeats, K): means over `samples` draws of (R_s - baseline) d log alpha_s / d theta.

    A mean depends on its draws only through the count of each patch, so the counts are drawn.
    """
    counts = rng.multinomial(samples, scene.weights.numpy(), size=repeats)
    return torch.from_numpy(counts / samples) @ ((scene.rewards - baseline)[:, None] * scene.score)


def estimator_variance(scene: Scene, baseline: float) -> float:
    """E|g|^2 - |E g|^2 of a one-sample estimate g, exactly."""
    second_moment = scene.weights @ ((scene.rewards - baseline) ** 2 * (scene.score**2).sum(1))
    return float(second_moment - (hard_gradient(scene) ** 2).sum())


def relative_errors(scene: Scene, baseline: float, sizes: list[int], rng) -> list[float]:
    """Root mean square |estimate - gradient| / |gradient| over 400 estimates of each number of samples."""
    errors = (score_function(scene, baseline, size, 400, rng) - hard_gradient(scene) for size in sizes)
    return [float(error.square().sum(1).mean().sqrt() / hard_gradient(scene).norm()) for error in errors]


def train_hard(scene: Scene, updates: int, samples: int, rate: float, rng) -> torch.Tensor:
    """Weights (K,) after ascent on score-function estimates; each sample's baseline is the others' mean."""
    logits = scene.logits.clone()
    for _ in range(updates):
        weights = logits.softmax(0)
        drawn = torch.from_numpy(rng.choice(len(weights), samples, p=weights.numpy()))
        advantage = (scene.rewards[drawn] - scene.rewards[drawn].mean()) / (samples - 1)
        logits += rate * advantage @ (one_hot(drawn, len(weights)) - weights)
    return logits.softmax(0)


def draw_attention(axes, scene: Scene, light: np.ndarray, labels: list[str], colors: torch.Tensor) -> None:
    """The patches lit by `light` (K,) from 0 to 1 and labelled, above a strip of the colors read (n, 3)."""
    lit = np.kron(light.reshape(ROWS, COLUMNS, 1), np.ones((HEIGHT, WIDTH, 1)))
    axes.imshow(scene.image * (0.2 + 0.8 * lit))
    for patch in np.flatnonzero(labels):
        x, y = WIDTH * (patch % COLUMNS + 0.5), HEIGHT * (patch // COLUMNS + 0.5)
        box = {"facecolor": "black", "alpha": 0.5, "pad": 1, "linewidth": 0}
        axes.text(x, y, labels[patch], color="white", ha="center", va="center", fontsize=8, bbox=box)
    axes.imshow(colors.numpy()[None], extent=(0, 255, 332, 308))
    axes.set(xlim=(0, 255), ylim=(332, 0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def draw_convergence(axes, sizes: list[int], errors: dict[str, list[float]]) -> None:
    """Relative error of the estimate against the number of samples, a labelled curve for each estimator."""
    places = ({"ha": "left", "va": "bottom"}, {"ha": "right", "va": "top"})
    for marker, place, (name, values) in zip("so", places, errors.items(), strict=True):
        (line,) = axes.loglog(sizes, values, marker=marker, markersize=4)
        axes.text(sizes[4], values[4], f" {name} ", color=line.get_color(), **place)
    axes.set(title="hard: estimates of its gradient", xlabel="samples drawn", ylabel="error relative to the gradient")
