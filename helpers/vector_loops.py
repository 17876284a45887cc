"""Batch normalization of vectors (N, C): the formulas of helpers.loops in the order of memory.

Neighbors in memory are values of different channels. A loop over one channel would fetch a cache line for every value,
so the inner loops run over the channels from start to stop, and each channel has sums of its own.
"""

import numpy as np

from helpers.loops import compile_loop

ROWS = 4  # are added up before the sums are read and written: half the time of 1, and 8 are no faster


@compile_loop
def average_vectors(start, stop, g, offset, x, center, mean_d, mean_product):
    """Compute the means over every channel of d = g - offset and of d (x - center)."""
    N = len(x)
    full = N - N % ROWS
    mean_d[start:stop] = 0
    mean_product[start:stop] = 0
    for first in range(0, full, ROWS):
        for c in range(start, stop):
            rows_d = np.float64(0)
            rows_product = np.float64(0)
            for n in range(ROWS):
                d = g[first + n, c] - offset[c]
                rows_d += d
                rows_product += d * (x[first + n, c] - center[c])
            mean_d[c] += rows_d / N
            mean_product[c] += rows_product / N
    for n in range(full, N):
        for c in range(start, stop):
            d = g[n, c] - offset[c]
            mean_d[c] += d / N
            mean_product[c] += d * (x[n, c] - center[c]) / N


@compile_loop
def normalize_vectors(start, stop, training, x, gamma, beta, eps, momentum, running_mean, running_var, M, V, rest, out):
    """out = gamma x_hat + beta, where x_hat = (x - M) / sqrt(V + eps)."""
    N, C = x.shape
    start, stop = np.uint64(start), np.uint64(stop)  # An index without a sign lets the compiler use wide registers.
    zero = np.zeros(C)
    scale = np.zeros(C)
    shift = np.zeros(C)
    if training:  # In test mode, M and V are given.
        average_vectors(start, stop, x, zero, x, zero, M, V)
        average_vectors(start, stop, x, M, x, M, rest, V)
    for c in range(start, stop):
        if training:
            running_mean[c] = momentum * running_mean[c] + (1 - momentum) * M[c]
            running_var[c] = momentum * running_var[c] + (1 - momentum) * V[c]
        scale[c] = gamma[c] / np.sqrt(V[c] + eps)
        shift[c] = beta[c] - rest[c] * scale[c]
    for n in range(N):
        for c in range(start, stop):
            out[n, c] = (x[n, c] - M[c]) * scale[c] + shift[c]


@compile_loop
def differentiate_vectors(start, stop, training, dout, x, gamma, eps, M, V, rest, dx, dgamma, dbeta):
    """dbeta = sum dout, dgamma = sum dout x_hat, dx = gamma / sqrt(V + eps) (dout - dbeta / m - x_hat dgamma / m)."""
    N, C = x.shape
    start, stop = np.uint64(start), np.uint64(stop)
    zero = np.zeros(C)
    shift = np.zeros(C)
    slope = np.zeros(C)
    scale = np.zeros(C)
    average_vectors(start, stop, dout, zero, x, M, shift, slope)
    for c in range(start, stop):
        inverse_std = 1 / np.sqrt(V[c] + eps)
        mean_x_hat = (slope[c] - shift[c] * rest[c]) * inverse_std  # the mean of dout x_hat
        dbeta[c] = N * shift[c]
        dgamma[c] = N * mean_x_hat
        scale[c] = gamma[c] * inverse_std
        slope[c] = mean_x_hat * inverse_std if training else 0.0  # In test mode, M and V do not depend on x.
        shift[c] = shift[c] - rest[c] * slope[c] if training else 0.0
    for n in range(N):
        for c in range(start, stop):
            dx[n, c] = scale[c] * (dout[n, c] - shift[c] - (x[n, c] - M[c]) * slope[c])
