"""Question (b): why very deep networks are hard to train, measured with the project's own batch norm."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from matplotlib.axes import Axes

from helpers.autograd import batch_norm
from helpers.data import load_digits

WIDTH = 64  # as many units a layer as a digit has pixels
ACTIVATIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "ReLU": torch.relu}


@dataclass(frozen=True)
class Setting:
    """A kind of fully connected network: z = activation(W x), normalized and added to x where it says so."""

    label: str
    activation: str = "ReLU"
    gain: float = 2.0  # variance of a weight times the number of inputs
    norm: bool = False
    skip: bool = False


PLAIN = (
    Setting("ReLU, 4/n", gain=4.0),
    Setting("ReLU, 2/n (He)"),
    Setting("tanh, 1/n (Glorot)", "tanh", 1.0),
    Setting("ReLU, 1/n", gain=1.0),
    Setting("tanh, 1/(4n)", "tanh", 0.25),
    Setting("sigmoid, 1/n", "sigmoid", 1.0),
)
REMEDIES = (
    Setting("skips", gain=1.0, skip=True),
    Setting("batch norm", gain=1.0, norm=True),
    Setting("both", gain=1.0, norm=True, skip=True),
    Setting("neither", gain=1.0),
)


def gradient_norms(setting: Setting, depth: int = 50, seed: int = 0) -> np.ndarray:
    """Norm of the gradient after 0 to `depth` layers on its way back, at initialization, relative to the first.

    128 digits go in; what comes back is the gradient of a random linear function of the last layer.
    """
    rng = np.random.default_rng(seed)
    pixels, _ = _digits()
    states = _states(pixels[:128].requires_grad_(), _layers(rng, setting.gain, depth), setting)
    upstream = torch.from_numpy(rng.normal(size=states[-1].shape))
    gradients = torch.autograd.grad(states[-1], states, upstream)
    norms = np.array([gradient.norm().item() for gradient in gradients])
    return norms[::-1] / norms[-1]


def training_loss(skip: bool, depth: int, seed: int = 0, rate: float = 0.05) -> float:
    """Mean cross-entropy (nats) on all the digits after 40 steps of SGD, batches of 128 of them, momentum 0.9.

    The network: `depth` ReLU layers with batch norm, each added to its input if `skip`; batch norm; scores.
    """
    rng = np.random.default_rng(seed)
    setting = Setting("", norm=True, skip=skip)
    layers, readout = _layers(rng, setting.gain, depth), _weights(rng, 10, 1.0)
    ((_, *last),) = _layers(rng, setting.gain, 1)
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
    lowest = -np.inf
    for label, norms in sorted(curves.items(), key=lambda item: item[1][-1]):
        (line,) = axes.semilogy(norms)
        lowest = max(np.log10(norms[-1]), lowest + 2.8)  # labels 2.8 decades apart
        axes.text(1.03 * len(norms), 10**lowest, label, color=line.get_color(), va="center")
    axes.set(xlabel="layers passed on the way back", ylabel="gradient norm, relative", title=title)
    axes.set(xlim=(0, 1.9 * len(norms)), ylim=(1e-34, 1e12), xticks=range(0, len(norms), 10))


def draw_losses(axes: Axes, plain: dict[int, float], skips: dict[int, float]) -> None:
    """Draw training losses by number of hidden layers, without and with skips."""
    for losses, marker, label in ((plain, "s", "plain"), (skips, "o", "with skips")):
        axes.plot(losses.keys(), losses.values(), marker=marker)
        axes.annotate(label, [*losses.items()][-1], (0, 8), textcoords="offset points", ha="right")
    axes.set(xlabel="hidden layers", ylabel="training loss (nats)", xticks=[*plain], title="Degradation")
    axes.set_ylim(bottom=0)


def _digits() -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = load_digits()
    pixels = images.reshape(len(images), WIDTH)
    return torch.from_numpy((pixels - pixels.mean()) / pixels.std()), torch.from_numpy(labels)


def _weights(rng: np.random.Generator, outputs: int, gain: float) -> torch.Tensor:
    return torch.from_numpy(rng.normal(0, np.sqrt(gain / WIDTH), (outputs, WIDTH)))


def _layers(rng: np.random.Generator, gain: float, depth: int) -> list[tuple[torch.Tensor, ...]]:
    zeros = torch.zeros(depth, WIDTH, dtype=torch.float64)
    return [(_weights(rng, WIDTH, gain), 1 + zero, zero.clone()) for zero in zeros]


def _states(x: torch.Tensor, layers, setting: Setting) -> list[torch.Tensor]:
    states = [x]
    for weights, gamma, beta in layers:
        z = states[-1] @ weights.T
        z = batch_norm(z, gamma, beta, {"mode": "train"}) if setting.norm else z + beta
        z = ACTIVATIONS[setting.activation](z)
        states.append(states[-1] + z if setting.skip else z)
    return states
