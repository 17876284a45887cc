"""Batch normalization of vectors (N, C): the formulas of helpers.loops, with the inner loops over the channels.

Neighbors in memory are values of different channels: a loop over one channel would fetch a cache line for every value.
"""

import numpy as np

from helpers.loops import compile_loop

ROWS = 4  # are added up before the sums are updated: of 2 to 16, the fastest


@compile_loop
def sum_vectors(start, stop, a, a0, x, x0, sum_d, sum_product):
    """Compute the sums over every channel of a - a0 and of (a - a0) (x - x0)."""
    N = len(a)
    sum_d[start:stop] = 0
    sum_product[start:stop] = 0
    for first in range(0, N - N % ROWS, ROWS):
        for c in range(start, stop):
            rows_d = np.float64(0)
            rows_product = np.float64(0)
            for n in range(ROWS):
                d = np.float64(a[first + n, c] - a0[c])
                rows_d += d
                rows_product += d * (x[first + n, c] - x0[c])
            sum_d[c] += rows_d
            sum_product[c] += rows_product
    for n in range(N - N % ROWS, N):
        for c in range(start, stop):
            d = np.float64(a[n, c] - a0[c])
            sum_d[c] += d
            sum_product[c] += d * (x[n, c] - x0[c])


@compile_loop
def normalize_vectors(start, stop, training, x, gamma, beta, eps, momentum, running, statistics, out):
    """out = gamma x_hat + beta, where x_hat = (x - M) / sqrt(V + eps)."""
    start, stop = np.uint64(start), np.uint64(stop)  # An index without a sign lets the compiler use wide registers.
    M, V, rest = statistics[0], statistics[1], statistics[2]
    x0 = np.zeros_like(gamma)  # in the dtype of x: a rough mean, and then M
    scale = np.empty_like(gamma)
    shift = np.empty_like(gamma)
    if training:  # In test mode, M and V are given.
        sum_vectors(start, stop, x[: len(x) // 8 + 1], x0, x, x0, M, V)
        for c in range(start, stop):
            x0[c] = M[c] / (len(x) // 8 + 1)
        sum_vectors(start, stop, x, x0, x, x0, rest, V)
        for c in range(start, stop):
            mean_d, root = rest[c] / len(x), np.sqrt(V[c] / len(x))  # Until here, V is the sum of (x - x0)^2.
            V[c] = abs((root - mean_d) * (root + mean_d))
            M[c] = x0[c] + mean_d
            rest[c] = x0[c] - M[c] + mean_d
            running[0, c] = momentum * running[0, c] + (1 - momentum) * M[c]
            running[1, c] = momentum * running[1, c] + (1 - momentum) * V[c]
    for c in range(start, stop):
        x0[c] = M[c]
        scale[c] = gamma[c] / np.sqrt(V[c] + eps)
        shift[c] = beta[c] - (M[c] - x0[c] + rest[c]) * scale[c]
    for n in range(len(x)):
        for c in range(start, stop):
            out[n, c] = (x[n, c] - x0[c]) * scale[c] + shift[c]


@compile_loop
def differentiate_vectors(start, stop, training, dout, x, gamma, eps, statistics, dx, dgamma, dbeta):
    """dbeta = sum dout, dgamma = sum dout x_hat, dx = gamma / sqrt(V + eps) (dout - dbeta / m - x_hat dgamma / m)."""
    start, stop = np.uint64(start), np.uint64(stop)
    M, V, rest = statistics[0], statistics[1], statistics[2]
    sum_dout = np.empty_like(M)
    sum_dout_d = np.empty_like(M)
    x0 = np.empty_like(gamma)
    for c in range(start, stop):
        x0[c] = M[c]
    scale = np.empty_like(gamma)
    shift = np.zeros_like(gamma)
    slope = np.empty_like(gamma)
    sum_vectors(start, stop, dout, shift, x, x0, sum_dout, sum_dout_d)
    for c in range(start, stop):
        inverse_std = 1 / np.sqrt(V[c] + eps)
        offset = M[c] - x0[c] + rest[c]
        sum_dout_x_hat = (sum_dout_d[c] - sum_dout[c] * offset) * inverse_std
        dbeta[c] = sum_dout[c]
        dgamma[c] = sum_dout_x_hat
        scale[c] = gamma[c] * inverse_std
        slope[c] = sum_dout_x_hat / len(x) * inverse_std
        shift[c] = sum_dout[c] / len(x) - offset * slope[c]
    for n in range(len(x)):
        for c in range(start, stop):
            if training:
                dx[n, c] = scale[c] * (dout[n, c] - shift[c] - (x[n, c] - x0[c]) * slope[c])
            else:  # M and V do not depend on x.
                dx[n, c] = scale[c] * dout[n, c]
