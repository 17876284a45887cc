"""Question (g): what batch norm with the batch's mean M and variance V does to features of the digits."""

import numpy as np
import torch
from torch.nn.functional import conv2d

from helpers.batch_norm import spatial_batchnorm_backward, spatial_batchnorm_forward
from helpers.data import load_digits

EPS, MOMENTUM = 1e-5, 0.9
GAMMA = np.array([2.0, -0.5, 1.5, 1.0, 3.0])
BETA = np.array([3.0, -1.0, 0.5, 2.0, 4.0])
KERNELS = np.random.default_rng(0).normal(size=(5, 1, 3, 3))


def features(count: int, kernels=KERNELS) -> np.ndarray:
    """Responses (count, 5, 6, 6), float64, of the first `count` digits to five random 3x3 kernels."""
    images = torch.from_numpy(load_digits()[0][:count, None])
    return conv2d(images, torch.from_numpy(kernels)).numpy()


def normalize(x, gamma=GAMMA, beta=BETA, **settings) -> np.ndarray:
    """This project's batch norm of x (N, 5, H, W), in training mode unless the settings say otherwise."""
    return spatial_batchnorm_forward(x, gamma, beta, {"mode": "train", "eps": EPS, **settings})[0]


def deviations() -> dict[str, float]:
    """By property that the answer claims: the largest deviation from it, on a batch of 256 digits."""
    x, ones, gamma, beta = features(256), np.ones(5), GAMMA[:, None, None], BETA[:, None, None]
    m, v = (moment[:, None, None] for moment in moments(x))
    y, root, tiny = normalize(x), np.sqrt(v + EPS), {"eps": EPS / 1e6}
    test = {"mode": "test", "running_mean": m.ravel(), "running_var": v.ravel()}
    pair = np.random.default_rng(1).normal(size=(2, 5, 1, 1))
    upstream = np.random.default_rng(2).normal(size=x.shape)
    gradient, scaled = _input_gradient(x, upstream), _input_gradient(7 * x, upstream)
    folded = features(256, KERNELS * (gamma / root)[:, None]) + beta - gamma * m / root
    return {
        "formula": _gap(y, gamma * (x - m) / root + beta),
        "mean": _gap(moments(y)[0], BETA),
        "variance": _gap(moments(y)[1], (gamma**2 * v / (v + EPS)).ravel()),
        "half variance": _gap(moments(normalize(x * np.sqrt(EPS / v)))[1], GAMMA**2 / 2),
        "identity": _gap(normalize(x, root.ravel(), m.ravel()), x),
        "bias": _gap(normalize(x + beta), y),
        "scale": _gap(normalize(7 * x), y),
        "scale, eps / 1e6": _gap(normalize(7 * x, **tiny), normalize(x, **tiny)),
        "gradient, scaled": _gap(7 * scaled, gradient),
        "gradient sum": _gap(gradient.sum((0, 2, 3)), 0),
        "gradient sum, test": _gap(_input_gradient(x, upstream, **test).sum((0, 2, 3)), 0),
        "pair": _gap(np.abs(normalize(pair, ones, 0 * ones, **tiny)), 1),
        "company": _gap(normalize(x[:64])[0], y[0]),
        "company, test": _gap(normalize(x[:64], **test)[0], normalize(x, **test)[0]),
        "folded": _gap(folded, normalize(x, **test)),
    }


def moments(x) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance (C,) of x (N, C, H, W) over batch, height and width."""
    return x.mean((0, 2, 3)), x.var((0, 2, 3))


def running_statistics(steps: int) -> np.ndarray:
    """Running mean and variance of feature 0 over those on all digits, (steps + 1, 2), batches of 16."""
    x, rng = features(1797)[:, :1], np.random.default_rng(0)
    bn_param, history = {"mode": "train", "momentum": MOMENTUM}, [np.zeros(2)]
    for _ in range(steps):
        spatial_batchnorm_forward(x[rng.choice(1797, 16, replace=False)], np.ones(1), np.zeros(1), bn_param)
        history.append(np.concatenate([bn_param["running_mean"], bn_param["running_var"]]))
    return np.array(history) / np.concatenate(moments(x))


def draw_distributions(axes) -> None:
    """Draw how feature 0 is distributed over 256 digits: as it is, normalized, after gamma and beta."""
    x = features(256)
    rows = {"x": x, "x̂": normalize(x, np.ones(5), np.zeros(5)), "y = 2 x̂ + 3": normalize(x)}
    for color, height, (name, values) in zip(("C0", "C1", "C2"), (2, 1, 0), rows.items(), strict=True):
        counts, edges = np.histogram(values[:, 0], 50)
        axes.stairs(height + 0.8 * counts / counts.max(), edges, baseline=height, color=color, fill=True)
        m, v = (moment[0].round(2) + 0 for moment in moments(values))
        axes.errorbar(m, height - 0.07, xerr=np.sqrt(v), color="black", marker="o", markersize=4, capsize=3)
        axes.text(12.4, height + 0.3, f"{name}\nmean {m:.2f}\nvariance {v:.2f}", ha="right", fontsize=9)
    axes.set(xlabel="value of one feature (mean ± standard deviation below)", xlim=(-3, 12.5), yticks=[])
    axes.spines["left"].set_visible(False)


def draw_running(axes, history) -> None:
    """Draw running mean and variance over their values on all digits, beside 1 - momentum^t."""
    steps = np.arange(len(history))
    axes.plot(steps, history[:, 0], marker="o", markevery=6, label="running mean / mean")
    axes.plot(steps, history[:, 1], marker="s", markevery=6, label="running variance / variance")
    axes.plot(steps, 1 - MOMENTUM**steps, "k:", label="1 − 0.9ᵗ")
    axes.set(xlabel="training batches t", ylabel="share reached", ylim=(0, 1.2))
    axes.legend(fontsize=9)


def _gap(a, b) -> float:
    return float(np.abs(a - b).max())


def _input_gradient(x, upstream, **settings) -> np.ndarray:
    bn_param = {"mode": "train", "eps": EPS, **settings}
    return spatial_batchnorm_backward(upstream, spatial_batchnorm_forward(x, GAMMA, BETA, bn_param)[1])[0]
