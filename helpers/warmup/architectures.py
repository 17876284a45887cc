"""Question (h): AlexNet, VGG, GoogLeNet and ResNet as layer tables, and what can be counted from them.

ReLU, dropout and local response normalization have no parameters and are left out. A multiply-add is one
product with its sum in a convolution or a fully connected layer; nothing else is counted.
"""

from dataclasses import dataclass
from functools import cache, partial
from math import prod

# 1x1 | 3x3 reduce, 3x3 | 5x5 reduce, 5x5 | pool projection (Szegedy et al. 2015, table 1); None: pool.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "pool3": None,
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "pool4": None,
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}

# Top-5 error as published for ILSVRC: the submitted ensembles' error, not that of the network in the row.
RESULTS = {
    "AlexNet 2012": (2012, "15.3 % test, 7 networks, first (second: 26.2 %); one network 18.2 % validation"),
    "VGG-16": (2014, "7.3 % test, 7 networks, second (first in localization); 6.8 % after the deadline"),
    "GoogLeNet (paper)": (2014, "6.67 % test, 7 networks, 144 crops an image, first"),
    "ResNet-50 (paper)": (2015, "3.57 % test, 6 networks to 152 layers, first; ResNet-152 alone 4.49 % validation"),
}


@dataclass(frozen=True)
class Layer:
    """One layer at batch size 1: its cost, its output (C, H, W) or (C,), and its depth.

    `kind` is conv, bn, fc, pool, concat or add; `depth` counts the convolutions and fully connected layers on
    the longest path from the image to here, with this one; `kernel` and `stride` are 0 where there is none.
    """

    name: str
    kind: str
    parameters: int
    multiply_adds: int
    output: tuple[int, ...]
    depth: int = 0
    kernel: int = 0
    stride: int = 0


@cache
def layers(name: str) -> tuple[Layer, ...]:
    """The layers of "AlexNet", "VGG-16", "GoogLeNet" or "ResNet-50", or of the paper where it differs (`builders`).

    "AlexNet", "GoogLeNet" (batch norm, no auxiliary heads, 3x3 in the branch that the paper calls 5x5) and
    "ResNet-50" (strides in the 3x3, the paper's in the 1x1 before it) are torchvision's; "AlexNet 2012" has the
    paper's groups. Raises ValueError for another name.
    """
    builders = {
        "AlexNet": partial(_alexnet, 224, 2, (64, 192, 384, 256, 256), (1, 1, 1, 1, 1)),
        "AlexNet 2012": partial(_alexnet, 227, 0, (96, 256, 384, 384, 256), (1, 2, 1, 2, 2)),
        "VGG-16": _vgg,
        "GoogLeNet": partial(_googlenet, 3, True),
        "GoogLeNet (paper)": partial(_googlenet, 5, False),
        "ResNet-50": partial(_resnet, False),
        "ResNet-50 (paper)": partial(_resnet, True),
    }
    if name not in builders:
        raise ValueError(f"unknown network {name!r}; known are {', '.join(builders)}")
    return tuple(builders[name]()[1:])


def parameters(name: str) -> int:
    """The number of trained parameters: weights, biases, and batch norm's gamma and beta."""
    return sum(layer.parameters for layer in layers(name))


def multiply_adds(name: str) -> int:
    """The multiply-adds of one forward pass of one image, 224 x 224 pixels (227 x 227 for "AlexNet 2012")."""
    return sum(layer.multiply_adds for layer in layers(name))


def table() -> str:
    """The networks side by side in Markdown: year, depth, counts, published error and its conditions."""
    rows = [
        ("network", "ILSVRC", "depth", "parameters", "multiply-adds", "top-5 error as published"),
        ("---", "---", "--:", "--:", "--:", "---"),
    ]
    for name in (
        "AlexNet 2012",
        "AlexNet",
        "VGG-16",
        "GoogLeNet (paper)",
        "GoogLeNet",
        "ResNet-50 (paper)",
        "ResNet-50",
    ):
        year, error = RESULTS.get(name, ("", "(torchvision's variant, not an entry)"))
        rows.append((name, year, layers(name)[-1].depth, f"{parameters(name):,}", f"{multiply_adds(name):,}", error))
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def _image(side: int) -> list[Layer]:
    return [Layer("image", "image", 0, 0, (3, side, side))]


def _conv(net, name, source, channels, kernel, *, stride=1, padding=None, groups=1, norm=False) -> Layer:
    """Append a convolution of `source`, with a bias or a batch norm; "same" padding unless told."""
    c, *sides = source.output
    padding = kernel // 2 if padding is None else padding
    output = (channels, *((side + 2 * padding - kernel) // stride + 1 for side in sides))
    weights = channels * (c // groups) * kernel**2
    bias = 0 if norm else channels
    cost = weights * prod(output[1:])
    net.append(Layer(name, "conv", weights + bias, cost, output, source.depth + 1, kernel, stride))
    if norm:
        net.append(Layer(f"{name} bn", "bn", 2 * channels, 0, output, source.depth + 1))
    return net[-1]


def _pool(net, name, kernel=3, stride=2, padding=0) -> None:
    c, *sides = net[-1].output
    output = (c, *((side + 2 * padding - kernel) // stride + 1 for side in sides))
    net.append(Layer(name, "pool", 0, 0, output, net[-1].depth, kernel, stride))


def _join(net, name, kind, sources, channels) -> None:
    output = (channels, *sources[0].output[1:])
    net.append(Layer(name, kind, 0, 0, output, max(source.depth for source in sources)))


def _classifier(net, *widths) -> list[Layer]:
    for i, width in enumerate(widths, 1):
        inputs = prod(net[-1].output)
        net.append(Layer(f"fc{i}", "fc", (inputs + 1) * width, inputs * width, (width,), net[-1].depth + 1))
    return net


def _alexnet(side, padding, widths, groups) -> list[Layer]:
    net = _image(side)
    _conv(net, "conv1", net[-1], widths[0], 11, stride=4, padding=padding)
    _pool(net, "pool1")
    for i, kernel in enumerate((5, 3, 3, 3), 2):
        _conv(net, f"conv{i}", net[-1], widths[i - 1], kernel, groups=groups[i - 1])
        if i in {2, 5}:
            _pool(net, f"pool{i}")
    return _classifier(net, 4096, 4096, 1000)


def _vgg() -> list[Layer]:
    net = _image(224)
    for stage, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for i in range(1, count + 1):
            _conv(net, f"conv{stage}_{i}", net[-1], width, 3)
        _pool(net, f"pool{stage}", kernel=2)
    return _classifier(net, 4096, 4096, 1000)


def _googlenet(kernel, norm) -> list[Layer]:
    net = _image(224)
    _conv(net, "conv1", net[-1], 64, 7, stride=2, norm=norm)
    _pool(net, "pool1", padding=1)
    _conv(net, "conv2 reduce", net[-1], 64, 1, norm=norm)
    _conv(net, "conv2", net[-1], 192, 3, norm=norm)
    _pool(net, "pool2", padding=1)
    for name, widths in INCEPTIONS.items():
        _inception(net, name, widths, kernel, norm) if widths else _pool(net, name, padding=1)
    _pool(net, "global pool", kernel=7, stride=1)
    return _classifier(net, 1000)


def _inception(net, name, widths, kernel, norm) -> None:
    one, reduce3, three, reduce5, five, projection = widths
    conv, source = partial(_conv, net, norm=norm), net[-1]
    branches = (
        conv(f"{name} 1x1", source, one, 1),
        conv(f"{name} 3x3", conv(f"{name} 3x3 reduce", source, reduce3, 1), three, 3),
        conv(f"{name} 5x5", conv(f"{name} 5x5 reduce", source, reduce5, 1), five, kernel),
    )
    net.append(Layer(f"{name} pool", "pool", 0, 0, source.output, source.depth, 3, 1))
    pooled = conv(f"{name} pool projection", net[-1], projection, 1)
    _join(net, name, "concat", (*branches, pooled), one + three + five + projection)


def _resnet(early) -> list[Layer]:
    net = _image(224)
    _conv(net, "conv1", net[-1], 64, 7, stride=2, norm=True)
    _pool(net, "pool1", padding=1)
    for stage, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        for i in range(1, count + 1):
            stride = 2 if i == 1 and stage > 2 else 1
            _bottleneck(net, f"{stage}.{i}", width, *((stride, 1) if early else (1, stride)))
    _pool(net, "global pool", kernel=7, stride=1)
    return _classifier(net, 1000)


def _bottleneck(net, name, width, first, second) -> None:
    conv, source = partial(_conv, net, norm=True), net[-1]
    residual = conv(f"{name} 1x1", source, width, 1, stride=first)
    residual = conv(f"{name} 3x3", residual, width, 3, stride=second)
    residual = conv(f"{name} expand", residual, 4 * width, 1)
    if source.output != residual.output:
        source = conv(f"{name} projection", source, 4 * width, 1, stride=first * second)
    _join(net, name, "add", (source, residual), 4 * width)
