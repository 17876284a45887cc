"""Whether two pictures show the same, as far as a reader sees: another processor may draw an edge a pixel away."""

import base64
import io

from PIL import Image, ImageChops, ImageFilter

# The greatest mean difference in a square of 9 pixels, where 1 is black against white. In the samples of
# tests/test_figures.py a harmless change gives at most 0.012 and the smallest fault, a digit in a title, 0.04.
TOLERANCE = 0.02


def same_picture(first: str, second: str) -> bool:
    """Whether two PNG files in base64, drawn by one minor version of matplotlib, show the same."""
    pictures = [Image.open(io.BytesIO(base64.b64decode(text))) for text in (first, second)]
    return measure_difference(*pictures) < TOLERANCE


def measure_difference(first: Image.Image, second: Image.Image) -> float:
    """Return the greatest mean difference in a small square, where edges are blurred and may move by a pixel."""
    if first.size != second.size:
        return 1.0
    one = first.convert("RGB").filter(ImageFilter.GaussianBlur(1))
    other = second.convert("RGB").filter(ImageFilter.GaussianBlur(1))
    gap = ImageChops.lighter(measure_gap(one, other), measure_gap(other, one))
    return max(high for _, high in gap.filter(ImageFilter.BoxBlur(4)).getextrema()) / 255


def measure_gap(picture: Image.Image, other: Image.Image) -> Image.Image:
    """Return how far each pixel lies outside the range of values that the other picture has around it."""
    above = ImageChops.subtract(picture, other.filter(ImageFilter.MaxFilter(3)))
    below = ImageChops.subtract(other.filter(ImageFilter.MinFilter(3)), picture)
    return ImageChops.lighter(above, below)
