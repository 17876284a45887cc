"""The layer tables against the same networks built from torch modules, the drawings against the tables."""

import re
from collections import Counter
from math import prod

import pytest
import torch
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from torch import nn

from helpers.notebook import use_style
from helpers.warmup import architecture_drawings as drawings
from helpers.warmup.architectures import INCEPTIONS, RESULTS, layers, multiply_adds, parameters, table

COUNTS = {
    "AlexNet": (61_100_840, 714_188_480, 8),
    "AlexNet 2012": (60_965_224, 724_406_816, 8),
    "VGG-16": (138_357_544, 15_470_264_320, 16),
    "GoogLeNet": (6_624_904, 1_498_376_192, 22),
    "GoogLeNet (paper)": (6_998_552, 1_582_671_872, 22),
    "ResNet-50": (25_557_032, 4_089_184_256, 50),
    "ResNet-50 (paper)": (25_557_032, 3_857_973_248, 50),  # 3.8 billion, He et al. 2016, table 1
}


def alexnet(padding, widths, groups):
    channels, parts = 3, []
    for i, (width, kernel, group) in enumerate(zip(widths, (11, 5, 3, 3, 3), groups, strict=True)):
        stride, pad = (4, padding) if i == 0 else (1, kernel // 2)
        parts += [nn.Conv2d(channels, width, kernel, stride, pad, groups=group), nn.ReLU()]
        parts += [nn.MaxPool2d(3, 2)] if i in {0, 1, 4} else []
        channels = width
    return nn.Sequential(*parts, nn.Flatten(), *dense(9216))


def dense(features):
    return nn.Linear(features, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)


def vgg():
    channels, parts = 3, []
    for width in (64, 64, "P", 128, 128, "P", *(256,) * 3, "P", *(512,) * 3, "P", *(512,) * 3, "P"):
        if width == "P":
            parts.append(nn.MaxPool2d(2))
        else:
            parts += [nn.Conv2d(channels, width, 3, padding="same"), nn.ReLU()]
            channels = width
    return nn.Sequential(*parts, nn.Flatten(), *dense(25088))


def unit(channels, width, kernel, stride=1, norm=True):
    conv = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=not norm)
    return nn.Sequential(conv, nn.BatchNorm2d(width) if norm else nn.Identity(), nn.ReLU())


class Inception(nn.Module):
    def __init__(self, channels, widths, kernel, norm):
        super().__init__()
        a, b, c, d, e, f = widths
        self.branches = nn.ModuleList(
            [
                unit(channels, a, 1, norm=norm),
                nn.Sequential(unit(channels, b, 1, norm=norm), unit(b, c, 3, norm=norm)),
                nn.Sequential(unit(channels, d, 1, norm=norm), unit(d, e, kernel, norm=norm)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(channels, f, 1, norm=norm)),
            ]
        )

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


def googlenet(kernel, norm):
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    parts = [unit(3, 64, 7, 2, norm), pool, unit(64, 64, 1, 1, norm), unit(64, 192, 3, 1, norm), pool]
    channels = 192
    for widths in INCEPTIONS.values():
        parts.append(Inception(channels, widths, kernel, norm) if widths else pool)
        channels = widths[0] + widths[2] + widths[4] + widths[5] if widths else channels
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


class Bottleneck(nn.Module):
    def __init__(self, channels, width, stride, early):
        super().__init__()
        first, second = (stride, 1) if early else (1, stride)
        self.residual = nn.Sequential(
            unit(channels, width, 1, first), unit(width, width, 3, second), unit(width, 4 * width, 1)
        )
        self.skip = unit(channels, 4 * width, 1, stride) if channels != 4 * width else nn.Identity()

    def forward(self, x):
        return self.residual(x) + self.skip(x)


def resnet(early):
    channels, parts = 64, [unit(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(count):
            parts.append(Bottleneck(channels, width, 2 if i == 0 and width > 64 else 1, early))
            channels = 4 * width
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


BUILDERS = {
    "AlexNet": lambda: alexnet(2, (64, 192, 384, 256, 256), (1, 1, 1, 1, 1)),
    "AlexNet 2012": lambda: alexnet(0, (96, 256, 384, 384, 256), (1, 2, 1, 2, 2)),
    "VGG-16": vgg,
    "GoogLeNet": lambda: googlenet(3, True),
    "GoogLeNet (paper)": lambda: googlenet(5, False),
    "ResNet-50": lambda: resnet(False),
    "ResNet-50 (paper)": lambda: resnet(True),
}


def measured(name):
    """The layers of the torch network on the meta device, which has shapes but no memory, as a Counter."""
    found = []

    def record(module, _, output):
        cost = prod(module.weight.shape[1:]) * output.numel() if not isinstance(module, nn.BatchNorm2d) else 0
        kind = {nn.Conv2d: "conv", nn.Linear: "fc", nn.BatchNorm2d: "bn"}[type(module)]
        found.append((kind, sum(p.numel() for p in module.parameters()), cost, tuple(output.shape[1:])))

    with torch.device("meta"):
        network = BUILDERS[name]().eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                module.register_forward_hook(record)
        side = 227 if name == "AlexNet 2012" else 224
        network(torch.empty(1, 3, side, side))
    return Counter(found)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_multiply_adds_and_depth_are_those_of_the_literature(name):
    assert (parameters(name), multiply_adds(name), layers(name)[-1].depth) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_every_layer_agrees_with_the_same_network_of_torch_modules(name):
    trained = (layer for layer in layers(name) if layer.kind in {"conv", "fc", "bn"})
    assert Counter((x.kind, x.parameters, x.multiply_adds, x.output) for x in trained) == measured(name)


def test_a_reduction_makes_the_5x5_branch_of_inception_3a_ten_times_cheaper():
    cost = {layer.name: layer.multiply_adds for layer in layers("GoogLeNet (paper)")}
    assert cost["3a 5x5 reduce"] + cost["3a 5x5"] == 12_443_648
    assert cost["3a 5x5"] * 192 // 16 == 120_422_400


def test_joins_keep_the_side_and_concatenation_alone_adds_channels():
    joins = {layer.name: layer for layer in layers("GoogLeNet") if layer.kind == "concat"}
    assert joins["3a"].output == (256, 28, 28)
    assert joins["5b"].output == (1024, 7, 7)
    sums = [layer.output for layer in layers("ResNet-50") if layer.kind == "add"]
    stages = [((256, 56, 56), 3), ((512, 28, 28), 4), ((1024, 14, 14), 6), ((2048, 7, 7), 3)]
    assert sums == [shape for shape, count in stages for _ in range(count)]


def test_an_unknown_network_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match=r"unknown network 'LeNet'; known are AlexNet, .*ResNet-50"):
        layers("LeNet")


def test_the_table_has_the_counts_of_every_network_and_the_conditions_of_every_error():
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in table().splitlines()[2:]}
    assert rows.keys() == COUNTS.keys()
    for name, (weights, cost, depth) in COUNTS.items():
        assert f"| {depth} | {weights:,} | {cost:,} |" in rows[name]
    for name, value in {"AlexNet 2012": "15.3", "VGG-16": "7.3", "GoogLeNet (paper)": "6.67"}.items():
        assert f"{value} % test, 7 networks" in rows[name]
    assert "3.57 % test, 6 networks" in rows["ResNet-50 (paper)"]
    assert "second (first in localization)" in rows["VGG-16"]
    assert {row.count("|") for row in table().splitlines()} == {7}


@pytest.fixture
def axes():
    use_style()
    return Figure(figsize=(9, 4.8)).subplots()


def labels(axes):
    return [text.get_text() for text in axes.texts]


def bars(axes, width):
    return [bar for bar in axes.patches if bar.get_width() == pytest.approx(width)]


@pytest.mark.parametrize("name", COUNTS)
def test_a_drawing_is_headed_by_the_network_and_its_depth(axes, name):
    drawings.draw_network(axes, name, "")
    assert f"{name}, depth {COUNTS[name][2]}" in labels(axes)


@pytest.mark.parametrize(("name", "expected"), {"VGG-16": 3, "ResNet-50": 1, "AlexNet 2012": 3}.items())
def test_each_layer_on_the_main_path_is_a_labelled_bar_at_its_depth(axes, name, expected):
    drawings.draw_network(axes, name, "a trait")
    depth = COUNTS[name][2]
    assert [round(bar.get_x() + 0.45) for bar in bars(axes, 0.9)] == list(range(1, depth + 1))
    assert sum(text.startswith("fc, ") for text in labels(axes)) == expected
    assert len(labels(axes)) == depth + 2
    assert any(f"{COUNTS[name][0] / 1e6:.1f} M parameters" in text for text in labels(axes))


def test_a_stride_stands_behind_its_kernel(axes):
    drawings.draw_network(axes, "ResNet-50 (paper)", "")
    strided = [text for text in labels(axes) if "/" in text]
    assert strided == ["7×7/2, 64", "1×1/2, 128", "1×1/2, 256", "1×1/2, 512"]


def test_bars_are_as_high_as_the_maps_are_wide(axes):
    drawings.draw_network(axes, "VGG-16", "")
    heights = [2 ** (bar.get_height() - 1) for bar in bars(axes, 0.9)]
    sides = [224] * 2 + [112] * 2 + [56] * 3 + [28] * 3 + [14] * 3 + [1] * 3
    assert heights == pytest.approx(sides)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["1", "7", "28", "112"]


def test_sixteen_skips_are_drawn_and_the_four_with_a_projection_are_dashed(axes):
    drawings.draw_network(axes, "ResNet-50", "")
    assert [line.get_linestyle() for line in axes.lines].count("-") == 12
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [round(line.get_xdata().mean()) for line in dashed] == [3, 12, 24, 42]


def test_the_branches_of_an_inception_module_share_its_height_by_their_channels(axes):
    drawings.draw_network(axes, "GoogLeNet (paper)", "")
    module = bars(axes, 0.94)[:8]
    total = module[-1].get_y() + module[-1].get_height()
    assert 2 ** (total - 1) == pytest.approx(28)
    assert [bar.get_height() / total * 256 for bar in module[::2]] == pytest.approx([64, 128, 32, 32])
    fills = [to_hex(bar.get_facecolor()) for bar in module]
    expected = ("1×1", "1×1", "1×1", "3×3", "1×1", "5×5", "pool", "1×1")
    assert fills == [to_hex(drawings.FILLS[kernel]) for kernel in expected]
    assert "3a\n256" in labels(axes)
    assert "5b\n1024" in labels(axes)


def test_the_key_names_every_fill_with_its_color(axes):
    drawings.draw_key(axes)
    key = axes.get_legend()
    assert [text.get_text() for text in key.get_texts()] == [
        *drawings.FILLS,
        "identity skip",
        "skip with 1×1",
    ]
    colors = [to_hex(patch.get_facecolor()) for patch in key.get_patches()]
    assert colors == [to_hex(fill) for fill in drawings.FILLS.values()]


BLOCKS = {
    drawings.draw_alexnet_block: [
        "11×11/4, 48",
        "5×5, 128",
        "3×3, 192",
        "GPU 1",
        "GPU 2",
        "fc, 2048",
        "fc, 1000",
    ],
    drawings.draw_vgg_block: [
        "3×3, C",
        "7×7, C",
        "sees 7×7\n27 C² weights\n3 ReLUs",
        "sees 7×7\n49 C² weights\n1 ReLU",
    ],
    drawings.draw_inception_block: [
        "concat: 64 + 128 + 32 + 32 = 256",
        "1×1\n96",
        "1×1\n16",
        "5×5\n32",
        "pool\n3×3",
    ],
    drawings.draw_residual_block: [
        "1×1, 64",
        "3×3, 64",
        "1×1, 256",
        "identity",
        "F(x) + x",
        "y = ReLU(F(x) + x)",
    ],
}


@pytest.mark.parametrize("draw", BLOCKS)
def test_a_block_shows_its_parts_each_in_the_color_of_its_kernel(axes, draw):
    draw(axes)
    assert set(BLOCKS[draw]) <= set(labels(axes))
    for bar in (bar for bar in axes.patches if bar.get_edgecolor() == (0, 0, 0, 1)):
        x, y = bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height() / 2
        (text,) = [t.get_text() for t in axes.texts if t.get_position() == pytest.approx((x, y))]
        fill = drawings.FILLS.get(re.split("[/, \n]", text)[0], "white")
        assert to_hex(bar.get_facecolor()) == to_hex(fill)


def test_labels_of_the_blocks_do_not_overlap():
    use_style()
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    panels = figure.subplots(1, 4, width_ratios=(1.15, 1, 1.3, 1))
    for axes, draw in zip(panels, BLOCKS, strict=True):
        draw(axes)
    figure.draw_without_rendering()
    boxes = [t.get_window_extent() for axes in panels for t in (axes.title, *axes.texts) if t.get_text()]
    assert len(boxes) > 40
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_inception_block_states_the_cost_with_and_without_its_reduction(axes):
    drawings.draw_inception_block(axes)
    assert any("12.4 M" in text and "120.4 M without" in text for text in labels(axes))


def test_the_vgg_block_sees_7_5_3_and_1_pixels_one_below_the_other(axes):
    drawings.draw_vgg_block(axes)
    seen = Counter(bar.get_y() for bar in bars(axes, 0.21) if bar.get_x() < 2)
    assert [seen[y] for y in sorted(seen, reverse=True)] == [7, 5, 3, 1]


def test_the_identity_skip_leads_from_the_input_to_the_addition(axes):
    drawings.draw_residual_block(axes)
    (skip,) = axes.lines
    (arrow,) = [a for a in axes.texts if isinstance(a, Annotation) and a.arrow_patch.get_edgecolor() == to_rgba("C1")]
    ((_, addition),) = [t.get_position() for t in axes.texts if t.get_text() == "F(x) + x"]
    assert (skip.get_xydata()[0, 1], skip.get_xydata()[1].tolist()) == (7.7, list(arrow.xyann))
    assert arrow.xyann[1] == arrow.xy[1] == addition


def test_the_last_convolution_of_the_residual_block_has_its_relu_after_the_addition(axes):
    drawings.draw_residual_block(axes)
    between = {t.get_position()[1]: t.get_text() for t in axes.texts if t.get_text().startswith("BN")}
    assert [between[y] for y in sorted(between, reverse=True)] == ["BN, ReLU", "BN, ReLU", "BN"]


def test_alexnets_streams_meet_before_conv3_and_the_dense_layers(axes):
    drawings.draw_alexnet_block(axes)
    crossing = [a for a in axes.texts if not a.get_text() and abs(a.xy[0] - a.xyann[0]) > 1]
    assert sorted(round(a.xyann[1] - 0.7) for a in crossing) == [1, 1, 2, 2, 5, 5]


def test_results_are_given_for_one_variant_of_each_family():
    assert [name.split()[0].split("-")[0] for name in RESULTS] == ["AlexNet", "VGG", "GoogLeNet", "ResNet"]
    assert [year for year, _ in RESULTS.values()] == [2012, 2014, 2014, 2015]
