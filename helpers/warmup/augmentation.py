"""(j) Four augmentations of a photograph, and what random shifts do for a classifier of digits."""

import numpy as np
import torch
from torch.nn import functional

from helpers.data import FORMS, load_digits
from helpers.threads import one_thread

MARGIN = 2  # pixels of empty border around a digit, so that no shift cuts into it


def crop(image: np.ndarray, rng, height: int = 224, width: int = 192) -> tuple[np.ndarray, str]:
    """A window of height x width pixels at a uniformly drawn place."""
    top, left = rng.integers(0, (image.shape[0] - height + 1, image.shape[1] - width + 1))
    return image[top : top + height, left : left + width], f"at row {top}, column {left}"


def flip(image: np.ndarray, rng, probability: float = 0.5) -> tuple[np.ndarray, str]:
    """Mirrored left to right with the given probability."""
    return (image[:, ::-1], "mirrored") if rng.random() < probability else (image, "not mirrored")


def rotate_and_scale(image: np.ndarray, rng, degrees: float = 15, zoom: float = 1.25) -> tuple[np.ndarray, str]:
    """Turned by -degrees to degrees and magnified 1/zoom to zoom times."""
    angle, factor = rng.uniform(-degrees, degrees), zoom ** rng.uniform(-1, 1)
    return affine(image, angle, factor), f"by {angle:+.0f}°, {factor:.2f} times"


def color_jitter(image: np.ndarray, rng, strength: float = 0.4) -> tuple[np.ndarray, str]:
    """Brightness, contrast and saturation, each times 1 - strength to 1 + strength."""
    brightness, contrast, saturation = factors = rng.uniform(1 - strength, 1 + strength, 3)
    mean = brightness * image.mean()
    image = saturate(mean + contrast * (brightness * image - mean), saturation)
    return image, "brightness {:.1f},\ncontrast {:.1f}, color {:.1f}".format(*factors)


def affine(image: np.ndarray, degrees: float, factor: float) -> np.ndarray:
    """The image (H, W, C) turned counterclockwise and magnified about its center, its edges reflected."""
    ratio = image.shape[0] / image.shape[1]
    cos, sin = np.cos(np.deg2rad(degrees)) / factor, np.sin(np.deg2rad(degrees)) / factor
    source = torch.tensor([[[cos, -sin * ratio, 0], [sin / ratio, cos, 0]]], dtype=torch.float64)
    pixels = torch.tensor(image.copy()).permute(2, 0, 1)[None]
    grid = functional.affine_grid(source, list(pixels.shape), align_corners=False)
    turned = functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    return turned[0].permute(1, 2, 0).numpy()


def saturate(image: np.ndarray, factor: float) -> np.ndarray:
    """Color removed (factor 0), kept (1) or exaggerated (above 1), cut off to [0, 1]."""
    gray = image @ np.array([[0.299], [0.587], [0.114]])
    return np.clip(gray + factor * (image - gray), 0, 1)


def shift(images: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Digits (N, 8, 8) on an empty field (N, 12, 12), each moved from the middle by -2 to 2 pixels (N,)."""
    padded = np.pad(images, [(0, 0), (2 * MARGIN, 2 * MARGIN), (2 * MARGIN, 2 * MARGIN)])
    window = np.arange(12) + MARGIN
    rows, columns = window - down[:, None], window - right[:, None]
    return padded[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]


@one_thread()
def accuracy_by_shift(augmented: bool, steps: int = 800, seed: int = 0) -> np.ndarray:
    """Test accuracy (5, 5) by shift (down, right) of a network trained with or without random shifts.

    100 hidden ReLUs, SGD with momentum; the last 510 digits, from other forms, are split off before augmentation.
    """
    (images, labels), rng = load_digits(), np.random.default_rng(seed)
    (train_x, test_x), (train_y, test_y) = (np.split(array, FORMS[2:]) for array in (images, labels))
    shapes = ((144, 100), (100, 10))
    parameters = [torch.from_numpy(rng.normal(0, np.sqrt(2 / shape[0]), shape)) for shape in shapes]
    parameters += [torch.zeros(shape[1], dtype=torch.float64) for shape in shapes]
    velocity = [torch.zeros_like(p) for p in parameters]
    for step in range(steps):
        batch = rng.integers(0, len(train_x), 128)
        moves = augmented * rng.integers(-MARGIN, MARGIN + 1, (2, 128))  # anew for every digit in every batch
        leaves = [p.requires_grad_() for p in parameters]
        scores = _network(shift(train_x[batch], *moves), *leaves)
        gradients = torch.autograd.grad(functional.cross_entropy(scores, torch.from_numpy(train_y[batch])), leaves)
        velocity = [0.9 * v - 0.1 * (1 - step / steps) * g for v, g in zip(velocity, gradients, strict=True)]
        parameters = [p.detach() + v for p, v in zip(parameters, velocity, strict=True)]
    moves = np.indices((5, 5)).reshape(2, 25).T - MARGIN
    guesses = [_network(shift(test_x, *np.full((len(test_x), 2), move).T), *parameters).argmax(1) for move in moves]
    return np.array([(guess.numpy() == test_y).mean() for guess in guesses]).reshape(5, 5)


def _network(digits: np.ndarray, w1, w2, b1, b2) -> torch.Tensor:
    return functional.relu(torch.from_numpy(digits).flatten(1) @ w1 + b1) @ w2 + b2


def draw_image(axes, image: np.ndarray, title: str, caption: str) -> None:
    """An image with what was done above it and how below it."""
    axes.imshow(image, vmin=0, vmax=1)
    axes.set(title=title, xticks=[], yticks=[])
    axes.set_xlabel(caption, fontsize=9)


def draw_accuracy(axes, accuracy: np.ndarray) -> None:
    """Accuracy (5, 5) in percent, by shift in pixels."""
    axes.imshow(accuracy, vmin=0, vmax=1, cmap="cividis", extent=(-2.5, 2.5, 2.5, -2.5))
    for (down, right), share in np.ndenumerate(accuracy):
        color = "black" if share > 0.5 else "white"
        axes.text(right - 2, down - 2, f"{100 * share:.0f}", ha="center", va="center", color=color)
    axes.set(xlabel="shift to the right (pixels)", ylabel="shift down (pixels)")
    axes.grid(False)
