"""Batch normalization of vectors (N, C): the formulas of helpers.loops, with the inner loops over the channels.

Neighbors in memory are values of different channels: a loop over one channel would fetch a cache line for every value.
"""

import numpy as np

from helpers.loops import compile_loop

ROWS = 4  # are added up before the sums are updated; at 1024 columns, 8 rows of two arrays collide in the cache


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
    x0, V, mean_d = statistics[0], statistics[1], statistics[2]
    rough_mean = np.zeros_like(gamma)  # x0 in the dtype of x
    scale = np.empty_like(gamma)
    shift = np.empty_like(gamma)
    if training:
        eighth = x[: len(x) // 8 + 1]
        sum_vectors(start, stop, eighth, rough_mean, x, rough_mean, x0, V)
        for c in range(start, stop):
            rough_mean[c] = x0[c] / len(eighth)
            x0[c] = rough_mean[c]
        sum_vectors(start, stop, x, rough_mean, x, rough_mean, mean_d, V)
        for c in range(start, stop):
            mean_d[c] = mean_d[c] / len(x)
            mean_dd = V[c] / len(x)
            V[c] = mean_dd - mean_d[c] ** 2 if mean_dd < np.inf else mean_dd
            running[0, c] = momentum * running[0, c] + (1 - momentum) * (x0[c] + mean_d[c])
            running[1, c] = momentum * running[1, c] + (1 - momentum) * V[c]
    for c in range(start, stop):
        rough_mean[c] = x0[c]
        scale[c] = gamma[c] / np.sqrt(V[c] + eps)
        shift[c] = beta[c] - mean_d[c] * scale[c]
    for n in range(len(x)):
        for c in range(start, stop):
            out[n, c] = (x[n, c] - rough_mean[c]) * scale[c] + shift[c]


@compile_loop
def differentiate_vectors(start, stop, training, dout, x, gamma, eps, statistics, dx, dgamma, dbeta):
    """dbeta = sum dout, dgamma = sum dout x_hat, dx = gamma / sqrt(V + eps) (dout - dbeta / m - x_hat dgamma / m)."""
    start, stop = np.uint64(start), np.uint64(stop)
    x0, V, mean_d = statistics[0], statistics[1], statistics[2]
    sum_dout = np.empty_like(x0)
    sum_dout_d = np.empty_like(x0)
    rough_mean = np.empty_like(gamma)  # x0 in the dtype of x
    for c in range(start, stop):
        rough_mean[c] = x0[c]
    scale = np.empty_like(gamma)
    shift = np.zeros_like(gamma)
    slope = np.empty_like(gamma)
    sum_vectors(start, stop, dout, shift, x, rough_mean, sum_dout, sum_dout_d)
    for c in range(start, stop):
        inverse_std = 1 / np.sqrt(V[c] + eps)
        sum_dout_x_hat = (sum_dout_d[c] - sum_dout[c] * mean_d[c]) * inverse_std
        dbeta[c] = sum_dout[c]
        dgamma[c] = sum_dout_x_hat
        scale[c] = gamma[c] * inverse_std
        slope[c] = sum_dout_x_hat / len(x) * inverse_std
        shift[c] = sum_dout[c] / len(x) - mean_d[c] * slope[c]
    for n in range(len(x)):
        for c in range(start, stop):
            if training:
                dx[n, c] = scale[c] * (dout[n, c] - shift[c] - (x[n, c] - rough_mean[c]) * slope[c])
            else:  # M and V do not depend on x.
                dx[n, c] = scale[c] * dout[n, c]
