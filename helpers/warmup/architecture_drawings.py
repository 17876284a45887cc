"""Question (h): the four networks drawn to one scale from their layer tables, and their defining blocks."""

import re
from itertools import pairwise

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from helpers.warmup.architectures import INCEPTIONS, layers, multiply_adds, parameters

# Fill by the kernel that a label begins with, white for what is not listed.
FILLS = {"1×1": "C5", "3×3": "C0", "5×5": "C2", "7×7": "C4", "11×11": "C1", "fc": "C6", "pool": "0.65"}
DARK = {"C0", "C1", "C2", "C6"}


def draw_network(axes, name: str, trait: str) -> None:
    """Draw every layer: at its depth, height the side of its output (log scale), colored by its kernel."""
    net, angle = layers(name), np.linspace(0, np.pi, 40)
    modules = {layer.name for layer in net if layer.kind == "concat"}
    projected = {layer.name.removesuffix(" projection") for layer in net if "projection" in layer.name}
    for layer in net:
        height = np.log2(layer.output[-1] if layer.kind != "fc" else 1) + 1
        if layer.kind == "concat":
            _draw_inception(axes, layer, height)
        elif layer.kind == "add":
            dashed = layer.name in projected
            base = height + (1.2 if dashed and layer.depth > 4 else 0.2)  # above the larger layer before it
            x, y = layer.depth - 1 + 1.4 * np.cos(angle), base + 0.8 * np.sin(angle)
            axes.plot(x, y, "--" if dashed else "-", color="C1", linewidth=1.4)
        elif layer.kind == "bn" or layer.name.split()[0] in modules or "projection" in layer.name:
            continue
        elif layer.kind == "pool":
            before = np.log2(max(layer.kernel, 2 * layer.output[-1])) + 1
            axes.bar(layer.depth + 0.5, before, 0.16, color=FILLS["pool"], zorder=3)
        else:
            _draw_layer(axes, layer, height)
    counts = f"{parameters(name) / 1e6:.1f} M parameters, {multiply_adds(name) / 1e9:.2f} G multiply-adds"
    axes.text(50.6, 9.4, f"{name}, depth {net[-1].depth}", ha="right", va="top", fontsize=11, weight="bold")
    axes.text(50.6, 8.3, f"{counts}\n{trait}", ha="right", va="top", fontsize=9)
    axes.set(xlim=(0.3, 50.7), ylim=(0, 9.4), ylabel="side (pixels)")
    axes.set_yticks(np.log2([1, 7, 28, 112]) + 1, ["1", "7", "28", "112"])
    axes.grid(visible=False)


def draw_key(axes) -> None:
    """Say below an Axes what each color stands for."""
    handles = [Patch(color=fill, label=label) for label, fill in FILLS.items()]
    handles.append(Line2D([], [], color="C1", linestyle="-", label="identity skip"))
    handles.append(Line2D([], [], color="C1", linestyle="--", label="skip with 1×1"))
    style = {"ncols": 9, "fontsize": 9, "columnspacing": 1.5, "handlelength": 1.6}
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.48, -0.32), **style)


def draw_alexnet_block(axes) -> None:
    """AlexNet of 2012: two streams of channels, one a GPU, that meet in conv3 and in the dense layers."""
    *streams, last = (layer for layer in layers("AlexNet 2012") if layer.kind in {"conv", "fc"})
    note, scores = "ReLU after all but the last,\ndropout on the first two fc", f"fc, {last.output[0]}"
    _start(axes, "AlexNet: two GPUs,\nReLU, dropout", note, "image, 227×227×3", scores)
    boxes = [(7 - i, _label(layer, layer.output[0] // 2)) for i, layer in enumerate(streams)]
    for gpu, x, other in ((1, 1, 3), (2, 3, 1)):
        _draw_column(axes, x, boxes, 1.8)
        axes.text(x + 0.15, 7.5, f"GPU {gpu}", va="center", fontsize=8)
        for y in (5, 2, 1):
            _arrow(axes, (other, y + 0.7), (x + 0.1 * (other - x), y + 0.3))


def draw_vgg_block(axes) -> None:
    """VGG: three 3x3 layers see as much of the input as one 7x7, with 27 C^2 weights instead of 49 C^2."""
    _start(axes, "VGG: a stack of 3×3\nfor one 7×7")
    for x, kernel, sides in ((0.98, 3, (7, 5, 3, 1)), (3.02, 7, (7, 1))):
        count, rows = len(sides) - 1, np.linspace(8, 0, len(sides))
        for y, side in zip(rows, sides, strict=True):
            axes.bar(x + 0.24 * (np.arange(side) - side // 2), 0.5, 0.21, y - 0.25, color=FILLS["pool"])
        for (y, below), (side, next_side) in zip(pairwise(rows), pairwise(sides), strict=True):
            for sign in (-0.12, 0.12):
                ends = (x + sign * side, x + sign * next_side)
                axes.plot(ends, (y - 0.3, below + 0.3), "-", color="0.4", linewidth=0.9)
            _draw_box(axes, (x, (y + below) / 2), f"{kernel}×{kernel}, C", (1.3, 0.6))
        note = f"sees 7×7\n{count * kernel**2} C² weights\n{count} ReLU{'s' if count > 1 else ''}"
        axes.text(x, -0.5, note, ha="center", va="top", fontsize=9)


def draw_inception_block(axes) -> None:
    """Inception 3a: four parallel branches, 1x1 reductions before the large kernels, outputs concatenated."""
    one, reduce3, three, reduce5, five, pooled = INCEPTIONS["3a"]
    cost = {layer.name: layer.multiply_adds / 1e6 for layer in layers("GoogLeNet (paper)")}
    reduced, plain = cost["3a 5x5 reduce"] + cost["3a 5x5"], cost["3a 5x5"] * 192 / reduce5
    note = f"5×5 branch: {reduced:.1f} M multiply-adds,\n{plain:.1f} M without its 1×1"
    joined = f"concat: {one} + {three} + {five} + {pooled} = {one + three + five + pooled}"
    _start(axes, "GoogLeNet: inception 3a,\nparallel scales, concatenated", note, "28×28×192", joined)
    _draw_column(axes, 0.5, [(4, f"1×1\n{one}")], 0.9, 1.2)
    _draw_column(axes, 1.5, [(5.4, f"1×1\n{reduce3}"), (2.6, f"3×3\n{three}")], 0.9, 1.2)
    _draw_column(axes, 2.5, [(5.4, f"1×1\n{reduce5}"), (2.6, f"5×5\n{five}")], 0.9, 1.2)
    _draw_column(axes, 3.5, [(5.4, "pool\n3×3"), (2.6, f"1×1\n{pooled}")], 0.9, 1.2)


def draw_residual_block(axes) -> None:
    """ResNet-50: a bottleneck F(x) beside an identity skip, added; ReLU after the addition."""
    title, note = "ResNet: bottleneck with\nidentity skip, added", "1×1 on the skip only\nwhere sizes change"
    _start(axes, title, note, "x: 56×56×256", "y = ReLU(F(x) + x)")
    _draw_column(axes, 1.6, [(6.4, "1×1, 64"), (4.7, "3×3, 64"), (3, "1×1, 256"), (1.3, "F(x) + x")], 1.9)
    for y in (5.55, 3.85, 2.15):
        axes.text(1.75, y, "BN, ReLU" if y > 3 else "BN", fontsize=8, va="center")
    axes.plot([3.7, 3.7], [7.7, 1.3], "-", color="C1", linewidth=1.1)
    _arrow(axes, (3.7, 1.3), (2.55, 1.3), "C1")
    axes.text(3.6, 4.7, "identity", rotation=90, ha="right", va="center", fontsize=9, color="C1")


def _label(layer, channels) -> str:
    stride = f"/{layer.stride}" if layer.stride > 1 else ""
    return f"{layer.kernel}×{layer.kernel}{stride}, {channels}" if layer.kernel else f"fc, {channels}"


def _fill(label) -> str:
    return FILLS.get(re.split("[/, \n]", label)[0], "white")


def _draw_layer(axes, layer, height) -> None:
    text = _label(layer, layer.output[0])
    fill = _fill(text)
    axes.bar(layer.depth, height, 0.9, color=fill)
    y, ink = (0.3, "white" if fill in DARK else "black") if layer.kernel else (height + 0.3, "black")
    axes.text(layer.depth, y, text, rotation=90, ha="center", va="bottom", fontsize=7, color=ink)


def _draw_inception(axes, module, height) -> None:
    one, _, three, _, five, pooled = INCEPTIONS[module.name]
    branches = ((one, "1×1", "1×1"), (three, "1×1", "3×3"), (five, "1×1", "5×5"), (pooled, "pool", "1×1"))
    bottom, x, total = 0.0, np.array([module.depth - 1, module.depth]), module.output[0]
    for channels, *kernels in branches:
        share = height * channels / total
        axes.bar(x, share, 0.94, bottom, color=[FILLS[kernel] for kernel in kernels], edgecolor="white")
        bottom += share
    axes.text(x.mean(), height + 0.2, f"{module.name}\n{total}", ha="center", va="bottom", fontsize=7)


def _start(axes, title, note="", *ends) -> None:
    axes.set_title(title, fontsize=10)
    axes.text(2, -0.5, note, ha="center", va="top", fontsize=9)
    axes.set(xlim=(0, 4), ylim=(-2, 8.4))
    axes.axis("off")
    for y, text in zip((8, 0), ends, strict=False):
        _draw_box(axes, (2, y), text, (3.9, 0.6))


def _draw_column(axes, x, boxes, width, height=0.6) -> None:
    ends = [(8, 0.3), *((y, height / 2) for y, _ in boxes), (0, 0.3)]
    for (y, half), (below, next_half) in pairwise(ends):
        _arrow(axes, (x, y - half), (x, below + next_half))
    for y, text in boxes:
        _draw_box(axes, (x, y), text, (width, height))


def _draw_box(axes, center, text, size) -> None:
    (x, y), (width, height) = center, size
    fill = _fill(text)
    axes.bar(x, height, width, y - height / 2, color=fill, edgecolor="black", linewidth=0.8, zorder=3)
    ink = "white" if fill in DARK else "black"
    axes.text(x, y, text, ha="center", va="center", fontsize=8, color=ink, zorder=4)


def _arrow(axes, start, end, color="0.25") -> None:
    style = {"arrowstyle": "-|>", "color": color, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.1}
    axes.annotate("", end, start, arrowprops=style)
