"""Questions (c) and (h): four networks as lists of layers, what can be counted from them, and sketches.

ReLU, dropout, local response normalization and GoogLeNet's auxiliary heads, which serve training alone, are left out.
"""

from itertools import groupby, pairwise
from math import prod
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

# The channels of 1x1 | 3x3 reduce, 3x3 | 5x5 reduce, 5x5 | pool projection (Szegedy et al. 2015, table 1).
INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Layer(NamedTuple):
    """One layer, counted for one image; a multiply-add is a product and a sum."""

    kind: str  # image, conv, pool, fc, concat or add
    output: tuple[int, int, int]  # C, H, W
    name: str = ""  # 3×3 or the like for a conv layer, but 3a for an inception module and 3a 5x5 within it
    depth: int = 0  # conv and fc layers on the longest path to here
    parameters: int = 0  # batch norm's gamma and beta included
    multiply_adds: int = 0


def count_costs(layers: list[Layer]) -> tuple[int, int, int]:
    """Parameters, multiply-adds of a forward pass and values that the convolutions put out, for one image."""
    parameters = sum(layer.parameters for layer in layers)
    multiply_adds = sum(layer.multiply_adds for layer in layers)
    outputs = sum(prod(layer.output) for layer in layers if layer.kind == "conv")
    return parameters, multiply_adds, outputs


def build_alexnet() -> list[Layer]:
    """AlexNet of 2012, 227 pixels (the paper says 224)."""
    layers = _build_stages(227, [(11, 96, 4, 1, 0)], [(5, 256, 1, 2)], [(3, 384), (3, 384, 1, 2), (3, 256, 1, 2)])
    return _add_dense(layers, 4096, 4096, 1000)


def build_vgg16() -> list[Layer]:
    """VGG-16 (Simonyan and Zisserman 2015, configuration D), 224 pixels."""
    layers = _build_stages(224, [(3, 64)] * 2, [(3, 128)] * 2, [(3, 256)] * 3, [(3, 512)] * 3, [(3, 512)] * 3)
    return _add_dense(layers, 4096, 4096, 1000)


def build_googlenet() -> list[Layer]:
    """GoogLeNet (Szegedy et al. 2015), 224 pixels; the pool inside a module, which keeps the shape, is left out."""
    layers = _build_stages(224, [(7, 64, 2)], [(1, 64), (3, 192)])
    for name, (one, reduce_3, three, reduce_5, five, projection) in INCEPTION.items():
        x = layers[-1]
        _add_conv(layers, 1, one, name=f"{name} 1x1", source=x)
        _add_conv(layers, 1, projection, name=f"{name} projection", source=x)
        _add_conv(layers, 1, reduce_3, name=f"{name} 3x3 reduce", source=x)
        _add_conv(layers, 3, three, name=f"{name} 3x3")
        _add_conv(layers, 1, reduce_5, name=f"{name} 5x5 reduce", source=x)
        _add_conv(layers, 5, five, name=f"{name} 5x5")
        layers.append(Layer("concat", (one + three + five + projection, *x.output[1:]), name, x.depth + 2))
        if name in ("3b", "4e"):
            _add_pool(layers, 2)
    _add_pool(layers, 7)
    return _add_dense(layers, 1000)


def build_resnet50(*, torchvision: bool = False) -> list[Layer]:
    """ResNet-50 (He et al. 2016), 224 pixels; a block halves the side in its first 1x1, torchvision's in its 3x3."""
    layers = _build_stages(224, [(7, 64, 2)], norm=True)
    for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(count):
            x = layers[-1]
            stride = 2 if block == 0 and width > 64 else 1
            _add_conv(layers, 1, width, 1 if torchvision else stride, norm=True)
            _add_conv(layers, 3, width, stride if torchvision else 1, norm=True)
            _add_conv(layers, 1, 4 * width, norm=True)
            if block == 0:  # Only where the shape changes does the skip have weights.
                _add_conv(layers, 1, 4 * width, stride, norm=True, name="projection", source=x)
            layers.append(Layer("add", layers[-1].output, depth=x.depth + 3))
    _add_pool(layers, 7)
    return _add_dense(layers, 1000)


def _build_stages(side, *stages, norm=False) -> list[Layer]:
    """An image, then stages of convolutions, each given by its arguments to `_add_conv`. A pool ends each stage."""
    layers = [Layer("image", (3, side, side))]
    for stage in stages:
        for arguments in stage:
            _add_conv(layers, *arguments, norm=norm)
        _add_pool(layers, 2)
    return layers


def _add_conv(layers, kernel, channels, stride=1, groups=1, padding=None, *, norm=False, name="", source=None) -> None:
    """Add a convolution of `source`, or else of the last layer. Unless told, the padding is half the kernel."""
    source = source or layers[-1]
    padding = kernel // 2 if padding is None else padding
    side = (source.output[1] + 2 * padding - kernel) // stride + 1
    weights = channels * (source.output[0] // groups) * kernel**2
    parameters = weights + (2 * channels if norm else channels)
    name = name or f"{kernel}×{kernel}"
    layers.append(Layer("conv", (channels, side, side), name, source.depth + 1, parameters, weights * side**2))


def _add_pool(layers, stride) -> None:
    """Add a pool, which divides the side by its stride and rounds down."""
    channels, side, _ = layers[-1].output
    layers.append(Layer("pool", (channels, side // stride, side // stride), depth=layers[-1].depth))


def _add_dense(layers, *widths) -> list[Layer]:
    """Add fully connected layers."""
    for width in widths:
        weights = width * prod(layers[-1].output)
        layers.append(Layer("fc", (width, 1, 1), "fc", layers[-1].depth + 1, weights + width, weights))
    return layers


# A color for each kernel in the sketches.
COLORS = {"1×1": "C5", "3×3": "C0", "5×5": "C2", "7×7": "C4", "11×11": "C1", "fc": "C6", "pool": "0.7"}
ARROW = {"arrowstyle": "-|>", "color": "0.25", "shrinkA": 0, "shrinkB": 0}


def draw_network(axes: Axes, layers: list[Layer]) -> None:
    """Draw each layer as a bar at its depth, as high as its output's side; a module is one bar, a skip a line above."""
    for before, layer in pairwise(layers):
        x = layer.depth
        side = layer.output[1]
        if layer.kind == "pool":
            axes.bar(x + 0.5, before.output[1], 0.2, color=COLORS["pool"], label="pool", zorder=3)
        elif layer.kind == "concat":
            axes.bar(x - 0.5, side, 1.9, color="C3", hatch="//", edgecolor="white", label="inception module")
        elif layer.kind == "add":
            line, label = (":", "skip with 1×1") if before.name == "projection" else ("-", "identity skip")
            axes.plot([x - 2.3, x + 0.3], [1.4 * side, 1.4 * side], line, color="C1", label=label)
        elif layer.name in COLORS:
            axes.bar(x, side, 0.9, color=COLORS[layer.name], label=layer.name)
    bars = [layer for layer in layers if layer.kind not in {"image", "pool"}]
    for side, group in groupby(bars, key=lambda layer: layer.output[1]):
        stage = list(group)  # Above it stand the channels that it puts out.
        axes.text(stage[0].depth - 0.45, 1.9 * side, stage[-1].output[0], fontsize=12)
    handles, labels = axes.get_legend_handles_labels()
    key = dict(zip(labels, handles, strict=True))  # Each label once.
    axes.legend(key.values(), key.keys(), loc="upper right", ncols=5)
    axes.set(xlim=(0.3, 52.7), ylim=(0.5, 900), yscale="log", ylabel="side (pixels)")
    axes.set_yticks([1, 7, 28, 112], ["1", "7", "28", "112"])
    axes.minorticks_off()


def draw_blocks(axes: list[Axes]) -> None:
    """Sketch on four Axes what sets AlexNet of 2012, VGG, GoogLeNet (module 3a) and ResNet apart."""
    half = ["11×11, 48", "5×5, 128", "3×3, 192", "3×3, 192", "3×3, 128", "fc, 2048", "fc, 2048"]
    _draw_boxes(axes[0], "AlexNet: two GPUs", "image, 227×227×3", [half, half], "fc, 1000")
    for row in (2, 5, 6):  # Each GPU also reads what the other has computed in this row.
        for start, end in ((0.25, 0.67), (0.75, 0.33)):
            axes[0].annotate("", (end, 0.92 - row / 8), (start, 0.955 - row / 8), arrowprops=ARROW)
    columns = [["3×3\n9 C² weights"] * 3, ["7×7\n49 C² weights"]]
    _draw_boxes(axes[1], "VGG: three 3×3 or one 7×7", "C channels, 7×7 pixels", columns, "C channels, 1 pixel")
    columns = [["1×1\n64"], ["1×1\n96", "3×3\n128"], ["1×1\n16", "5×5\n32"], ["pool\n3×3", "1×1\n32"]]
    _draw_boxes(axes[2], "GoogLeNet: inception module", "x, 192 channels", columns, "concat: 64 + 128 + 32 + 32 = 256")
    column = ["1×1, 64\nBN, ReLU", "3×3, 64\nBN, ReLU", "1×1, 256\nBN", "F(x) + x"]
    _draw_boxes(axes[3], "ResNet: identity skip", "x, 256 channels", [column], "ReLU(F(x) + x)")
    axes[3].annotate("", (0.73, 0.2), (0.92, 0.955), arrowprops=ARROW | {"color": "C1", "connectionstyle": "angle"})
    axes[3].text(0.89, 0.6, "x", ha="right", va="center", color="C1", fontsize=12)


def _draw_boxes(axes, title, top, columns, bottom) -> None:
    """Draw columns of boxes between the boxes `top` and `bottom`, with arrows downward."""
    boxes = [(0.5, 1, 1, top), (0.5, 0, 1, bottom)]
    for i, texts in enumerate(columns):
        x = (i + 0.5) / len(columns)
        rows = np.linspace(1, 0, len(texts) + 2)
        boxes += [(x, y, 0.9 / max(len(columns), 2), text) for y, text in zip(rows[1:-1], texts, strict=True)]
        for above, below in pairwise(rows):
            axes.annotate("", (x, below + 0.045), (x, above - 0.045), arrowprops=ARROW)
    for x, y, width, text in boxes:
        color = COLORS.get(text.replace(",", " ").split()[0], "black")  # The first word is the kernel.
        axes.bar(x, 0.09, width, y - 0.045, color="white", edgecolor=color, linewidth=2)
        axes.text(x, y, text, ha="center", va="center", fontsize=9)
    axes.set(title=title, xlim=(-0.02, 1.02), ylim=(-0.06, 1.06))
    axes.axis("off")
