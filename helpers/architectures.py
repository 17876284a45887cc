"""Questions (c) and (h): four networks as lists of layers, what can be counted from them, and sketches.

ReLU, dropout and local response normalization have no parameters and are left out, and so are GoogLeNet's auxiliary
heads, which serve training alone. Where torchvision's network differs from the paper's, both can be built.
"""

import re
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

# The stages of AlexNet, each followed by a 3x3 pool of stride 2: kernel, channels, stride, padding, groups.
ALEXNET_2012 = ([(11, 96, 4, 0, 1)], [(5, 256, 1, 2, 2)], [(3, 384, 1, 1, 1), (3, 384, 1, 1, 2), (3, 256, 1, 1, 2)])
ALEXNET_TORCHVISION = ([(11, 64, 4, 2)], [(5, 192)], [(3, 384), (3, 256), (3, 256)])
# The stages of VGG-16, each followed by a 2x2 pool of stride 2.
VGG_16 = ([(3, 64)] * 2, [(3, 128)] * 2, [(3, 256)] * 3, [(3, 512)] * 3, [(3, 512)] * 3)

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

# Channels of the 3x3 convolutions and number of blocks in stages 2 to 5 (He et al. 2016, table 1).
RESNET_50 = ((64, 3), (128, 4), (256, 6), (512, 3))


@dataclass(frozen=True)
class Layer:
    """One layer, counted for one image.

    `kind` is image, conv, pool, fc, concat or add; `output` is (C, H, W); `depth` counts the conv and fc layers on the
    longest path to here. `parameters` include batch norm's gamma and beta. A multiply-add is a product and a sum.
    """

    kind: str
    output: tuple[int, int, int]
    name: str = ""
    depth: int = 0
    kernel: int = 0
    parameters: int = 0
    multiply_adds: int = 0


def count_costs(layers: list[Layer]) -> tuple[int, int, int]:
    """Parameters, multiply-adds of a forward pass and values that the convolutions put out, for one image."""
    parameters = sum(layer.parameters for layer in layers)
    multiply_adds = sum(layer.multiply_adds for layer in layers)
    outputs = sum(prod(layer.output) for layer in layers if layer.kind == "conv")
    return parameters, multiply_adds, outputs


def build_alexnet(*, torchvision: bool = False) -> list[Layer]:
    """AlexNet of 2012, in two groups, 227 pixels (the paper says 224); torchvision's, of 2014, has one group, 224."""
    return _build_chain(224, ALEXNET_TORCHVISION, 3) if torchvision else _build_chain(227, ALEXNET_2012, 3)


def build_vgg16() -> list[Layer]:
    """VGG-16 (Simonyan and Zisserman 2015, configuration D), 224 pixels."""
    return _build_chain(224, VGG_16, 2)


def build_googlenet(*, torchvision: bool = False) -> list[Layer]:
    """GoogLeNet, 224 pixels; torchvision's has batch norm, and 3x3 in the branch that the paper calls 5x5."""
    layers = [Layer("image", (3, 224, 224))]
    add = partial(_add, layers, norm=torchvision)
    add("conv", 7, 64, stride=2)
    add("pool", 3, stride=2)
    add("conv", 1, 64)
    add("conv", 3, 192)
    add("pool", 3, stride=2)
    for name, (one, reduce_3, three, reduce_5, five, projection) in INCEPTION.items():
        x = layers[-1]
        add("conv", 1, one, name=f"{name} 1x1", source=x)
        add("pool", 3, name=f"{name} pool", source=x)
        add("conv", 1, projection, name=f"{name} projection")
        add("conv", 1, reduce_3, name=f"{name} 3x3 reduce", source=x)
        add("conv", 3, three, name=f"{name} 3x3")
        add("conv", 1, reduce_5, name=f"{name} 5x5 reduce", source=x)
        longest = add("conv", 3 if torchvision else 5, five, name=f"{name} 5x5")
        layers.append(Layer("concat", (one + three + five + projection, *x.output[1:]), name, longest.depth))
        if name in ("3b", "4e"):
            add("pool", 3, stride=2)
    add("pool", 7, padding=0)
    _add(layers, "fc", 1, 1000)
    return layers


def build_resnet50(*, torchvision: bool = False) -> list[Layer]:
    """ResNet-50, 224 pixels; the paper halves the side in a block's first 1x1, torchvision in its 3x3."""
    layers = [Layer("image", (3, 224, 224))]
    add = partial(_add, layers, norm=True)
    add("conv", 7, 64, stride=2)
    add("pool", 3, stride=2)
    for stage, (width, count) in enumerate(RESNET_50, 2):
        for number in range(1, count + 1):
            stride = 2 if number == 1 and stage > 2 else 1
            x = layers[-1]
            add("conv", 1, width, stride=1 if torchvision else stride)
            add("conv", 3, width, stride=stride if torchvision else 1)
            residual = add("conv", 1, 4 * width)
            if number == 1:  # Only where the shape changes does the skip have weights.
                add("conv", 1, 4 * width, stride=stride, name=f"{stage} projection", source=x)
            layers.append(Layer("add", residual.output, f"{stage}.{number}", residual.depth))
    add("pool", 7, padding=0)
    _add(layers, "fc", 1, 1000)
    return layers


def _build_chain(side, stages, pool) -> list[Layer]:
    """Stages of convolutions, each followed by a pool of stride 2, and three fully connected layers."""
    layers = [Layer("image", (3, side, side))]
    for stage in stages:
        for row in stage:
            _add(layers, "conv", *row)
        _add(layers, "pool", pool, stride=2, padding=0)
    for width in (4096, 4096, 1000):  # A fully connected layer is a convolution whose kernel covers all of its input.
        _add(layers, "fc", layers[-1].output[1], width, padding=0)
    return layers


def _add(layers, kind, kernel, channels=0, stride=1, padding=None, groups=1, *, name="", norm=False, source=None):
    """Add a layer that reads `source`, or else the last one; unless told, channels (of a pool) and side stay."""
    source = source or layers[-1]
    channels = channels or source.output[0]
    padding = kernel // 2 if padding is None else padding
    side = (source.output[1] + 2 * padding - kernel) // stride + 1
    output = (channels, side, side)
    if kind == "pool":
        layers.append(Layer(kind, output, name, source.depth, kernel))
    else:
        weights = channels * (source.output[0] // groups) * kernel**2
        parameters = weights + (2 * channels if norm else channels)
        layers.append(Layer(kind, output, name, source.depth + 1, kernel, parameters, weights * side**2))
    return layers[-1]


# A color for each kernel in the sketches; white letters are legible on the dark ones.
COLORS = {"1×1": "C5", "3×3": "C0", "5×5": "C2", "7×7": "C4", "11×11": "C1", "fc": "C6", "pool": "0.7"}
DARK = ("C0", "C1", "C2", "C6")
ARROW = {"arrowstyle": "-|>", "color": "0.25", "shrinkA": 0, "shrinkB": 0}


def draw_network(axes: Axes, title: str, layers: list[Layer]) -> None:
    """Draw each layer as a bar at its depth: height for the side of its output, color for its kernel.

    The number in a bar counts channels. An inception module is one bar with its name; a skip is an arc over its block.
    """
    write = partial(axes.text, rotation=90, ha="center", va="bottom", fontsize=9)
    for before, layer in pairwise(layers):
        module, _, branch = layer.name.partition(" ")
        x = layer.depth
        channels, side, _ = layer.output
        if layer.kind == "pool" and not branch:
            axes.bar(x + 0.5, before.output[1], 0.2, color=COLORS["pool"], zorder=3)
        elif layer.kind == "concat":
            axes.bar(x - 0.5, side, 1.9, color="C3", hatch="//", edgecolor="white")
            write(x - 0.5, 1.2 * side, f"{module}: {channels}")
        elif layer.kind == "add":
            projected = before.name.endswith("projection")
            angle = np.linspace(0, np.pi, 40)
            height = side * (2.5 if projected else 1.2) * 2 ** np.sin(angle)
            axes.plot(x - 1 + 1.4 * np.cos(angle), height, ":" if projected else "-", color="C1")
        elif layer.kind == "fc":
            axes.bar(x, side, 0.9, color=COLORS["fc"])
            write(x, 1.2, str(channels))
        elif module not in INCEPTION and branch != "projection":
            color = COLORS[f"{layer.kernel}×{layer.kernel}"]
            axes.bar(x, side, 0.9, color=color)
            write(x, 0.65, str(channels), color="white" if color in DARK else "black")
    axes.set_title(title, loc="left")
    axes.set_yscale("log", base=2)
    axes.set(xlim=(0.3, 50.7), ylim=(0.5, 450), ylabel="side (pixels)")
    axes.set_yticks([1, 7, 28, 112], ["1", "7", "28", "112"])
    axes.grid(visible=False)


def draw_key(axes: Axes) -> None:
    """Say below an Axes what the colors and arcs of `draw_network` stand for."""
    handles = [Patch(color=color, label=kernel) for kernel, color in COLORS.items()]
    handles.append(Patch(facecolor="C3", hatch="//", edgecolor="white", label="inception"))
    handles.append(Line2D([], [], color="C1", linestyle="-", label="identity skip"))
    handles.append(Line2D([], [], color="C1", linestyle=":", label="skip with 1×1"))
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.4), ncols=5, fontsize=10)


def draw_blocks(axes: list[Axes]) -> None:
    """Sketch on four Axes what sets AlexNet of 2012, VGG, GoogLeNet (module 3a) and ResNet apart."""
    half = ["11×11/4, 48", "5×5, 128", "3×3, 192", "3×3, 192", "3×3, 128", "fc, 2048", "fc, 2048"]
    _draw_columns(axes[0], "AlexNet: two GPUs", "image, 227×227×3", {0.25: half, 0.75: half}, "fc, 1000", height=0.07)
    for row in (2, 5, 6):  # Each GPU also reads what the other has computed in this row.
        for start, end in ((0.25, 0.67), (0.75, 0.33)):
            axes[0].annotate("", (end, 0.91 - row / 8), (start, 1 - row / 8), arrowprops=ARROW, zorder=2)
    columns = {0.25: ["3×3\n9 C² weights"] * 3, 0.75: ["7×7\n49 C² weights"]}
    _draw_columns(axes[1], "VGG: stacked 3×3", "7×7 pixels, C channels", columns, "1 pixel, C channels")
    columns = {0.12: ["1×1\n64"], 0.37: ["1×1\n96", "3×3\n128"]}
    columns |= {0.63: ["1×1\n16", "5×5\n32"], 0.88: ["pool\n3×3", "1×1\n32"]}
    bottom = "concat: 64 + 128 + 32 + 32 = 256"
    _draw_columns(axes[2], "GoogLeNet: inception module", "x, 192 channels", columns, bottom)
    columns = {0.4: ["1×1, 64\nBN, ReLU", "3×3, 64\nBN, ReLU", "1×1, 256\nBN", "F(x) + x"]}
    _draw_columns(axes[3], "ResNet: identity skip", "x, 256 channels", columns, "ReLU(F(x) + x)")
    axes[3].plot([0.92, 0.92], [1, 0.2], "-", color="C1")
    axes[3].annotate("", (0.64, 0.2), (0.92, 0.2), arrowprops=ARROW | {"color": "C1"}, zorder=2)
    axes[3].text(0.89, 0.6, "x", ha="right", va="center", color="C1", fontsize=12)


def _draw_columns(axes, title, top, columns, bottom, *, height=0.1) -> None:
    """Draw columns of boxes, given by their x, between the boxes `top` and `bottom`, with arrows downward."""
    boxes = [(0.5, 1, 1, top), (0.5, 0, 1, bottom)]
    for x, texts in columns.items():
        rows = np.linspace(1, 0, len(texts) + 2)
        boxes += [(x, y, 0.9 / max(len(columns), 2), text) for y, text in zip(rows[1:-1], texts, strict=True)]
        for above, below in pairwise(rows):
            axes.annotate("", (x, below + height / 2), (x, above), arrowprops=ARROW, zorder=2)
    for x, y, width, text in boxes:
        color = COLORS.get(re.split("[/,\n]", text)[0], "white")
        ink = "white" if color in DARK else "black"
        axes.bar(x, height, width, y - height / 2, color=color, edgecolor="black", zorder=3)
        axes.text(x, y, text, ha="center", va="center", fontsize=9, color=ink, zorder=4)
    axes.set(title=title, xlim=(-0.02, 1.02), ylim=(-0.06, 1.06))
    axes.axis("off")
