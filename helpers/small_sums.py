"""Direct sums of a cross-correlation of small images in NumPy, whose calls cost less than torch's.

Each adds exactly the products of every window. What can be known before a call, the shapes and strides of what is
multiplied, its companion computes.
"""

import numpy as np
import torch

_quietly = np.errstate(all="ignore")  # an overflow or NaN in the image is the caller's own


@_quietly
def in_numpy(x, k, plan):
    """The values, by one of the three ways below. Numbers may be only marked, as zero or negative: hence the force."""
    way, parameter = plan
    return torch.from_numpy(way(x.numpy(force=True), k.numpy(force=True), parameter))


@_quietly
def gradients_in_numpy(x, k, upstream, plans):
    """Both gradients; for that of X, the larger of upstream gradient and kernel is padded, the other turned round.

    None where the other is not finite, since the zeros of the padding would make NaN of it.
    """
    (way_to_x, x_parameter), (way_to_k, k_parameter) = plans
    image, taps, grads = (tensor.numpy(force=True) for tensor in (x, k, upstream))
    large, small = (taps, grads) if taps.size > grads.size else (grads, taps)
    if not np.vdot(small, small) < np.inf:
        return None
    (H, W), (h, w) = large.shape, small.shape
    padded = np.zeros((H + 2 * h - 2, W + 2 * w - 2), image.dtype)
    padded[h - 1 : h - 1 + H, w - 1 : w - 1 + W] = large
    dx = way_to_x(padded, small[::-1, ::-1], x_parameter)
    return torch.from_numpy(dx), torch.from_numpy(way_to_k(image, grads, k_parameter))


def window_products(image, taps, views, out=None):
    """Copy the image so that every row of outputs multiplies one part of the copy."""
    (shape, strides), (windows, window_strides) = views
    copies = np.ndarray(shape, image.dtype, image, 0, strides).copy()
    return np.matmul(np.ndarray(windows, image.dtype, copies, 0, window_strides), taps.ravel(), out)


def window_views(image, kernel, itemsize, copies):
    """Shapes and strides of the copies and of the windows in them.

    The copies are the w columns under every window, one window after another, or "lines": every row of the image w
    times, each shifted by a column, which are longer where outputs are many.
    """
    (H, W), (h, w) = image, kernel
    R, C, row = H - h + 1, W - w + 1, W * itemsize
    if copies == "lines":
        return ((H, w, C), (row, itemsize, itemsize)), ((R, C, h * w), (w * C * itemsize, itemsize, C * itemsize))
    return ((C, H, w), (itemsize, row, itemsize)), ((R, C, h * w), (w * itemsize, H * w * itemsize, itemsize))


def banded_products(image, taps, bands):
    """window_products of one band of rows after another, whose copies take less memory."""
    outputs, parts = bands
    sums = np.empty(outputs, image.dtype)
    for start, stop, views in parts:
        window_products(image[start:], taps, views, sums[start:stop])
    return sums


def banded_views(image, kernel, itemsize, band):
    """The shape of the outputs; the first of each band's rows, the first of the next one's, and the band's views."""
    (H, W), (h, w), (copies, height) = image, kernel, band
    R, parts = H - h + 1, []
    for start in range(0, R, height):
        stop = min(start + height, R)
        parts.append((start, stop, window_views((stop - start + h - 1, W), kernel, itemsize, copies)))
    return (R, W - w + 1), parts


def tap_products(image, taps, views):
    """Copy what every tap meets and multiply once."""
    (shape, strides), (outputs, output_strides) = views
    met = np.ndarray(shape, image.dtype, image, 0, strides).reshape(taps.size, shape[2])
    sums = taps.reshape(1, taps.size).dot(met)
    return np.ndarray(outputs, sums.dtype, sums, 0, output_strides).copy()


def tap_views(image, kernel, itemsize, _):
    """Those of what the taps meet, in whole rows, whose last w - 1 sums are no outputs, and of the outputs."""
    (H, W), (h, w) = image, kernel
    R, C, step = H - h + 1, W - w + 1, (W * itemsize, itemsize)
    return ((h, w, (R - 1) * W + C), (*step, itemsize)), ((R, C), step)
