"""Question (b): why very deep networks are hard to train, measured with the project's own batch norm."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from matplotlib.axes import Axes

from helpers.autograd import batch_norm
from helpers.data import load_digits

WIDTH = 64  # as many units a layer as a digit has pixels


@dataclass(frozen=True)
class Setting:
    """A kind of fully connected network: z = activation(W x), with batch norm before, x added after."""

    label: str
    activation: str = "relu"  # or "tanh", "sigmoid"
    gain: float = 2.0  # variance of a weight times the number of inputs
    norm: bool = False
    skip: bool = False


GAINS = {"sigmoid": (1, 16), "tanh": (0.25, 1), "ReLU": (1, 2, 4)}
PLAIN = tuple(Setting(f"{kind}, {gain}/n", kind.lower(), gain) for kind in GAINS for gain in GAINS[kind])
REMEDIES = (
    Setting("skips", gain=1.0, skip=True),
    Setting("batch norm", gain=1.0, norm=True),
    Setting("both", gain=1.0, norm=True, skip=True),
    Setting("neither", gain=1.0),
)


def gradient_norms(setting: Setting, depth: int = 50, seed: int = 0) -> np.ndarray:
    """Norm of the gradient after 0 to `depth` layers on its way back, at initialization; the first is 1.

    128 digits go in; what comes back is the gradient of a random linear function of the last layer.
    """
    rng = np.random.default_rng(seed)
    pixels = _digits()[0][:128].requires_grad_()
    states = _states(pixels, _layers(rng, setting.gain, depth), setting)
    upstream = torch.from_numpy(rng.normal(size=states[-1].shape))
    norms = np.array([gradient.norm() for gradient in torch.autograd.grad(states[-1], states, upstream)])
    return norms[::-1] / norms[-1]


def training_loss(skip: bool, depth: int, seed: int = 0, rate: float = 0.05) -> float:
    """Mean cross-entropy (nats) on all the digits after 40 SGD steps, batches of 128 of them, momentum 0.9.

    The network: `depth` ReLU layers with batch norm, each added to its input if `skip`; batch norm; scores.
    Without skips, depth magnifies rounding: it moves the loss by 1e-11 at 16 layers, but by 0.1 at 24.
    """
    rng = np.random.default_rng(seed)
    setting = Setting("", norm=True, skip=skip)
    *layers, (readout, *last) = _layers(rng, setting.gain, depth + 1)
    readout = readout[:10]
    pixels, labels = _digits()
    trained = [tensor.requires_grad_() for tensor in (readout, *last, *chain(*layers))]
    optimizer = torch.optim.SGD(trained, rate, momentum=0.9)

    def loss(batch):
        state = _states(pixels[batch], layers, setting)[-1]
        scores = batch_norm(state, *last, {"mode": "train"}) @ readout.T
        return torch.nn.functional.cross_entropy(scores, labels[batch])

    for _ in range(40):
        optimizer.zero_grad()
        loss(rng.integers(len(pixels), size=128)).backward()
        optimizer.step()
    with torch.no_grad():
        return loss(slice(None)).item()


def draw_gradients(axes: Axes, curves: dict[str, np.ndarray], title: str) -> None:
    """Draw gradient norms against the layers passed on the way back, each labelled at its end."""
    exponents = np.log10([norms[-1] for norms in curves.values()])
    gap, height = 0.07 * np.ptp(exponents), -np.inf
    for label, norms in sorted(curves.items(), key=lambda item: item[1][-1]):
        axes.semilogy(norms)
        height = max(np.log10(norms[-1]), height + gap)
        axes.text(1.03 * len(norms), 10**height, label, va="center")
    axes.set(xlabel="layers passed on the way back", xlim=(0, 2 * len(norms)), xticks=range(0, len(norms), 10))
    axes.set(ylabel="gradient norm, relative", title=title)


def draw_losses(axes: Axes, plain: dict[int, float], skips: dict[int, float]) -> None:
    """Draw training losses by number of hidden layers, without and with skips."""
    for losses, marker, label, shift in ((plain, "s", "plain", (-9, -3)), (skips, "o", "with skips", (0, -15))):
        axes.plot(losses.keys(), losses.values(), marker=marker)
        axes.annotate(label, [*losses.items()][-1], shift, textcoords="offset points", ha="right")
    axes.set(xlabel="hidden layers", ylabel="training loss (nats)", xticks=[*plain], ylim=(0, None))


def _digits() -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = load_digits()
    pixels = images.reshape(len(images), WIDTH)
    return torch.from_numpy((pixels - pixels.mean()) / pixels.std()), torch.from_numpy(labels)


def _layers(rng, gain: float, depth: int) -> list[tuple[torch.Tensor, ...]]:
    zeros, scale = torch.zeros(depth, WIDTH, dtype=torch.float64), np.sqrt(gain / WIDTH)
    return [(torch.from_numpy(rng.normal(0, scale, (WIDTH, WIDTH))), 1 + zero, zero.clone()) for zero in zeros]


def _states(x: torch.Tensor, layers, setting: Setting) -> list[torch.Tensor]:
    states = [x]
    for weights, gamma, beta in layers:
        z = states[-1] @ weights.T
        z = batch_norm(z, gamma, beta, {"mode": "train"}) if setting.norm else z + beta
        z = getattr(torch, setting.activation)(z)
        states.append(states[-1] + z if setting.skip else z)
    return states
