"""The lists of layers against published figures and a torch network; the sketches against the lists."""

from collections import Counter
from itertools import combinations, pairwise

import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from torch import nn

from helpers import architectures
from helpers.architectures import build_alexnet, build_googlenet, build_resnet50, build_vgg16, count_costs
from helpers.notebook import use_style

NETWORKS = {
    "AlexNet": build_alexnet(),
    "VGG-16": build_vgg16(),
    "GoogLeNet": build_googlenet(),
    "ResNet-50": build_resnet50(),
    "ResNet-50, torchvision": build_resnet50(torchvision=True),
}

# Parameters, multiply-adds, outputs of the convolutions and depth. Torchvision lists the same parameters, Caffe has the
# same for AlexNet and GoogLeNet; torchvision calls multiply-adds GFLOPS, and He et al. 2016 round the paper's to 3.8 G.
TOTALS = {
    "AlexNet": (60_965_224, 724_406_816, 650_080, 8),
    "VGG-16": (138_357_544, 15_470_264_320, 13_547_520, 16),
    "GoogLeNet": (6_998_552, 1_582_671_872, 3_226_160, 22),
    "ResNet-50": (25_557_032, 3_857_973_248, 10_587_136, 50),
    "ResNet-50, torchvision": (25_557_032, 4_089_184_256, 11_113_984, 50),
}
STAGES = {"AlexNet": "96 256 256 1000", "VGG-16": "64 128 256 512 512 1000"}
STAGES |= {"GoogLeNet": "64 192 480 832 1024 1000", "ResNet-50": "64 256 512 1024 2048 1000"}


@pytest.mark.parametrize("name", TOTALS)
def test_totals_are_the_published_counts(name):
    assert (*count_costs(NETWORKS[name]), NETWORKS[name][-1].depth) == TOTALS[name]


def test_alexnet_and_vgg_have_the_published_shapes():
    outputs = {name: [layer.output[:2] for layer in NETWORKS[name] if layer.kind == "conv"] for name in TOTALS}
    assert outputs["AlexNet"] == [(96, 55), (256, 27), (384, 13), (384, 13), (256, 13)]
    assert outputs["VGG-16"][:7] == [(64, 224)] * 2 + [(128, 112)] * 2 + [(256, 56)] * 3
    assert outputs["VGG-16"][7:] == [(512, 28)] * 3 + [(512, 14)] * 3


def conv(channels, width, kernel, stride=1):
    return nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)  # Batch norm keeps the shape.


class Block(nn.Module):
    def __init__(self, residual, skip):
        super().__init__()
        self.residual = nn.Sequential(*residual)
        self.skip = skip

    def forward(self, x):
        return self.residual(x) + self.skip(x)


def resnet50(torchvision):
    parts = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(count):
            stride = 2 if i == 0 and width > 64 else 1
            first, second = (1, stride) if torchvision else (stride, 1)
            residual = conv(channels, width, 1, first), conv(width, width, 3, second), conv(width, 4 * width, 1)
            skip = conv(channels, 4 * width, 1, stride) if i == 0 else nn.Identity()
            parts.append(Block(residual, skip))
            channels = 4 * width
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Conv2d(2048, 1000, 1))


@pytest.mark.parametrize("torchvision", [False, True])
def test_every_layer_of_resnet_has_the_shape_and_the_costs_of_the_torch_network_run_layer_by_layer(torchvision):
    found = []

    def record(module, inputs, output):
        weights = module.weight.numel()
        extra = output.shape[1] * (1 if module.bias is not None else 2)  # A bias, or batch norm's gamma and beta.
        found.append((tuple(output.shape[1:]), weights + extra, weights * output[0, 0].numel()))

    with torch.device("meta"):  # Shapes without memory.
        network = resnet50(torchvision)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(record)
        network(torch.empty(2, 3, 224, 224))
    listed = [layer for layer in build_resnet50(torchvision=torchvision) if layer.kind in {"conv", "fc"}]
    assert Counter((layer.output, layer.parameters, layer.multiply_adds) for layer in listed) == Counter(found)


def test_googlenet_concatenates_channels_and_resnet_adds_equal_shapes():
    joins = [layer.output[:2] for layer in NETWORKS["GoogLeNet"] if layer.kind == "concat"]
    assert joins[:5] == [(256, 28), (480, 28), (512, 14), (512, 14), (512, 14)]
    assert joins[5:] == [(528, 14), (832, 14), (832, 7), (1024, 7)]
    sums = Counter(layer.output for layer in NETWORKS["ResNet-50"] if layer.kind == "add")
    assert sums == {(256, 56, 56): 3, (512, 28, 28): 4, (1024, 14, 14): 6, (2048, 7, 7): 3}


@pytest.mark.parametrize("name", STAGES)
def test_bars_lines_and_numbers_show_the_layers_the_skips_and_the_channels_of_each_stage(name):
    use_style()
    axes = Figure(figsize=(9, 4.8)).subplots()
    architectures.draw_network(axes, NETWORKS[name])
    listed = [layer for layer in NETWORKS[name] if layer.name in architectures.COLORS]
    bars = [bar for bar in axes.patches if bar.get_width() == pytest.approx(0.9)]
    assert [round(bar.get_x() + 0.45) for bar in bars] == sorted({layer.depth for layer in listed})
    assert [bar.get_height() for bar in bars] == [layer.output[1] for layer in listed]
    pools = [before.output[1] for before, layer in pairwise(NETWORKS[name]) if layer.kind == "pool"]
    assert [bar.get_height() for bar in axes.patches if bar.get_width() < 0.5] == pools
    colors = [to_hex(architectures.COLORS[layer.name]) for layer in listed]
    assert [to_hex(bar.get_facecolor()) for bar in bars] == colors
    assert " ".join(text.get_text() for text in axes.texts) == STAGES[name]
    key = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {key.count(layer.name) for layer in listed} == {1}
    centers = [line.get_xdata().mean() for line in axes.lines]
    assert centers == pytest.approx([layer.depth - 1 for layer in NETWORKS[name] if layer.kind == "add"])
    dotted = [index for index, line in enumerate(axes.lines) if line.get_linestyle() == ":"]
    assert dotted == ([0, 3, 7, 13] if name == "ResNet-50" else [])  # These skips have a projection.


def test_the_blocks_show_their_parts_in_letters_of_9_points_that_do_not_overlap():
    use_style()
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    panels = figure.subplots(1, 4, width_ratios=(1, 1.15, 1.25, 1))
    architectures.draw_blocks(panels)
    figure.draw_without_rendering()
    parts = [["11×11, 48", "5×5, 128", "fc, 2048", "fc, 1000"], ["3×3\n9 C² weights", "7×7\n49 C² weights"]]
    parts.append(["1×1\n96", "3×3\n128", "1×1\n16", "5×5\n32", "pool\n3×3", "concat: 64 + 128 + 32 + 32 = 256"])
    parts.append(["1×1, 256\nBN", "F(x) + x", "ReLU(F(x) + x)", "x"])
    for axes, wanted in zip(panels, parts, strict=True):
        texts = [text for text in axes.texts if text.get_text()]
        assert set(wanted) <= {text.get_text() for text in texts}
        assert min(text.get_fontsize() for text in texts) >= 9
        arrows = [text for text in axes.texts if isinstance(text, Annotation)]
        assert all(arrow.xyann[1] >= arrow.xy[1] for arrow in arrows)  # Downward, from start to end.
        boxes = [text.get_window_extent() for text in (axes.title, *texts)]
        assert not any(first.overlaps(second) for first, second in combinations(boxes, 2))
