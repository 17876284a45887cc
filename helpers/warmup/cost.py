"""Question (c): what depth costs, counted from the layer tables and measured on a network that is trained."""

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from matplotlib.axes import Axes
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint_sequential
from torch.utils.flop_counter import FlopCounterMode

from helpers.data import load_digits
from helpers.warmup.architectures import layers

GROUPS = ("convolutions, 56 px and up", "below 56 px", "fully connected")


def totals(name: str) -> dict[str, np.ndarray]:
    """Parameters, multiply-adds and activations (convolution outputs) for one image, each (3,), by GROUPS."""
    sums = {quantity: np.zeros(3, np.int64) for quantity in ("parameters", "multiply-adds", "activations")}
    for layer in layers(name):
        group = 2 if layer.kind == "fc" else 0 if layer.output[1] >= 56 else 1
        sums["parameters"][group] += layer.parameters
        sums["multiply-adds"][group] += layer.multiply_adds
        sums["activations"][group] += prod(layer.output) if layer.kind == "conv" else 0
    return sums


def training_gigabytes(name: str, batch, copies: int = 3) -> tuple[float, np.ndarray]:
    """10^9 bytes in float32: weights with gradients and momentum (3 copies; Adam: 4), and activations."""
    sums = totals(name)
    return 4e-9 * copies * sums["parameters"].sum(), 4e-9 * np.asarray(batch) * sums["activations"].sum()


@dataclass(frozen=True)
class Step:
    """One training step: activations held when the forward pass ends, work in forward passes, gradients."""

    held: float
    work: float
    gradients: tuple[torch.Tensor, ...]


def training_step(blocks: int, segments: int = 1) -> Step:
    """Forward and backward through `blocks` 3x3 convolutions with ReLU on 4 digits, float64.

    Every segment but the last is checkpointed: it keeps its input and recomputes the rest during the backward
    pass. `held` counts the memory that autograd saves, parameters aside, in units of one layer's output.
    """
    rng = np.random.default_rng(0)
    images = torch.from_numpy(load_digits()[0][:4, None].repeat(8, axis=1))
    weights = [torch.from_numpy(rng.normal(0, 1 / 6, (8, 8, 3, 3))).requires_grad_() for _ in range(blocks)]
    functions = [lambda x, w=w: torch.relu(torch.nn.functional.conv2d(x, w, padding=1)) for w in weights]
    parameters = {weight.data_ptr() for weight in weights}
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with FlopCounterMode(display=False) as forward, saved_tensors_hooks(pack, lambda tensor: tensor):
        out = checkpoint_sequential(functions, segments, images, use_reentrant=False)
    upstream = torch.from_numpy(rng.normal(size=out.shape))
    with FlopCounterMode(display=False) as backward:
        gradients = torch.autograd.grad(out, weights, upstream)
    held = sum(saved.values()) / out.untyped_storage().nbytes()
    return Step(held, 1 + backward.get_total_flops() / forward.get_total_flops(), gradients)


def draw_memory(axes: Axes, batches: np.ndarray) -> None:
    """Draw training memory against the batch size: activations grow, weights with their copies do not."""
    end = batches[-1]
    for color, name, shift in (("C0", "VGG-16", 1.15), ("C1", "ResNet-50", 0.8)):
        state, activations = training_gigabytes(name, batches)
        axes.loglog(batches, activations, color=color, linestyle="-", marker="o", markersize=4)
        axes.loglog(batches, np.full(len(batches), state), color=color, linestyle="--")
        axes.text(1.4 * end, shift * activations[-1], f"{name} activations", fontsize=9, va="center")
        axes.text(1.4 * end, state, f"{name} 3 x weights", fontsize=9, va="center")
    axes.set_xticks(batches[::2], [str(batch) for batch in batches[::2]])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="batch size (images)", ylabel="memory (GB, float32)", xlim=(batches[0], end**2))


def draw_shares(axes: Axes, name: str) -> None:
    """Draw where parameters, multiply-adds and activations of a network are, as stacked bars in percent."""
    sums = totals(name)
    shares = np.array([100 * counts / counts.sum() for counts in sums.values()])
    starts = np.cumsum(shares, axis=1) - shares
    for group, share, start, color in zip(GROUPS, shares.T, starts.T, ("C5", "C4", "C3"), strict=True):
        bars = axes.barh([*sums], share, left=start, color=color, edgecolor="black", label=group)
        numbers = [f"{percent:.0f}" if percent > 5 else "" for percent in share]
        numbers[share.argmax()] = f"{group}\n{share.max():.0f}"
        axes.bar_label(bars, numbers, label_type="center", fontsize=9)
    axes.set(xlabel=f"share of {name} (%)", xlim=(0, 100))
    axes.grid(visible=False)


def draw_checkpoints(axes: Axes, blocks: int, held: dict[int, float]) -> None:
    """Draw the layer outputs held against the number of segments, measured, and the curve n / k + k."""
    k = np.geomspace(1, blocks, 100)
    axes.semilogx(k, blocks / k + k, color="0.4", linestyle="--")
    axes.semilogx(held.keys(), held.values(), "o", color="C1")
    axes.text(np.sqrt(blocks), 0.8 * blocks, "line: n/k + k\ndots: measured", ha="center", fontsize=9)
    axes.set(xlabel=f"segments k (of {blocks} layers)", ylabel="layer outputs held", ylim=(0, None))
    axes.set_xticks([*held], [str(segments) for segments in held])
    axes.set_xticks([], minor=True)
