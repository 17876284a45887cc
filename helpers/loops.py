"""The loops that define cross-correlation and batch normalization, compiled with Numba."""

import numpy as np

try:
    import numba
except ImportError:  # then helpers.cross_correlation and helpers.batch_norm compute in torch
    numba = None


def compile_loop(loop, *more_freedom):
    """Compile the loop at its first call; in other loops it is inlined. "contract" lets a * b + c be rounded once."""
    if numba is None or numba.config.DISABLE_JIT:
        return np.errstate(all="ignore")(loop)  # Python runs it, without warnings, as compiled code has none.
    options = {"nogil": True, "error_model": "numpy", "forceinline": True, "fastmath": {"contract", *more_freedom}}
    try:
        return numba.njit(cache=True, **options)(loop)
    except RuntimeError:  # neither the folder nor the user's cache can be written to
        return numba.njit(**options)(loop)


def compile_sum(loop):
    """compile_loop, but sums may be reordered, which is faster. Unfit for (x - x0) - mean_d, which needs its order."""
    return compile_loop(loop, "reassoc")


# Cross-correlation, Y[i, j] = sum over u, v of X[i+u, j+v] K[u, v], for the rows i of Y from start to stop.


@compile_sum
def correlate_windows(start, stop, X, K, Y):
    """One output after another: the sum of its window's products with the kernel."""
    h, w = K.shape
    for i in range(start, stop):
        for j in range(Y.shape[1]):
            total = X.dtype.type(0)
            for u in range(h):
                for v in range(w):
                    total += X[i + u, j + v] * K[u, v]
            Y[i, j] = total


@compile_loop
def correlate_rows(start, stop, X, K, Y):
    """The same sums, a row of outputs at once: each pass adds the products with eight entries of the kernel."""
    h, w = K.shape
    W = X.shape[1]
    x = X.ravel()  # X[i, j] is x[i * W + j]
    k = K.ravel()  # K[u, v] is k[u * w + v]
    shift = np.empty(h * w, np.int64)  # from the pixel X[i, j] to X[i + u, j + v], where t = u * w + v
    for t in range(h * w):
        shift[t] = t // w * W + t % w
    single = h * w % 8  # so many entries go first, one by one, and the rest in eights
    for i in range(start, stop):
        y = Y[i]
        y[:] = 0
        row = x[i * W :]
        for t in range(single):
            x0 = row[shift[t] :]  # x0[j] is X[i + u, j + v].
            for j in range(y.size):
                y[j] += x0[j] * k[t]
        for t in range(single, h * w, 8):
            x0, x1, x2, x3 = row[shift[t] :], row[shift[t + 1] :], row[shift[t + 2] :], row[shift[t + 3] :]
            x4, x5, x6, x7 = row[shift[t + 4] :], row[shift[t + 5] :], row[shift[t + 6] :], row[shift[t + 7] :]
            for j in range(y.size):
                first_four = x0[j] * k[t] + x1[j] * k[t + 1] + x2[j] * k[t + 2] + x3[j] * k[t + 3]
                last_four = x4[j] * k[t + 4] + x5[j] * k[t + 5] + x6[j] * k[t + 6] + x7[j] * k[t + 7]
                y[j] += first_four + last_four


# Batch normalization of the channels c from start to stop; x is (N, C, L), L = H W. Of a channel's m = N L values V is
# the variance and M = x0 + mean_d the mean: x0 that of the first N // 8 + 1 items, mean_d that of d = x - x0. So many
# items are over an eighth of N: mean_d ** 2 <= 7 V, and V = mean(d * d) - mean_d ** 2 loses at most 3 bits.


@compile_sum
def average_channel(c, a, a0, x, x0):
    """Return the means over channel c of a - a0 and of (a - a0) (x - x0); a is x, its first items, or dout."""
    N, _, L = a.shape
    sum_d = np.float64(0)
    sum_product = np.float64(0)
    for n in range(N):
        map_d = np.float64(0)  # A map has sums of its own: the processor need not wait for the last map's.
        map_product = np.float64(0)
        for i in range(L):
            d = a[n, c, i] - a0
            map_d += d
            map_product += d * (x[n, c, i] - x0)
        sum_d += map_d
        sum_product += map_product
    return sum_d / (N * L), sum_product / (N * L)


@compile_loop
def normalize_maps(start, stop, training, x, gamma, beta, eps, momentum, running, statistics, out):
    """out = gamma x_hat + beta, where x_hat = (x - M) / sqrt(V + eps)."""
    N, _, L = x.shape
    x0, V, mean_d = statistics[0], statistics[1], statistics[2]  # in test mode: running mean, running variance, 0
    for c in range(start, stop):
        if training:
            x0[c], _ = average_channel(c, x[: N // 8 + 1], 0.0, x, 0.0)  # over an eighth of the items
            mean_d[c], mean_dd = average_channel(c, x, x0[c], x, x0[c])
            V[c] = mean_dd - mean_d[c] ** 2 if mean_dd < np.inf else mean_dd  # inf - inf would be NaN
            running[0, c] = momentum * running[0, c] + (1 - momentum) * (x0[c] + mean_d[c])
            running[1, c] = momentum * running[1, c] + (1 - momentum) * V[c]
        inverse_std = 1 / np.sqrt(V[c] + eps)
        for n in range(N):
            for i in range(L):
                x_hat = (x[n, c, i] - x0[c] - mean_d[c]) * inverse_std
                out[n, c, i] = gamma[c] * x_hat + beta[c]


@compile_loop
def differentiate_maps(start, stop, training, dout, x, gamma, eps, statistics, dx, dgamma, dbeta):
    """dbeta = sum dout, dgamma = sum dout x_hat, dx = gamma / sqrt(V + eps) (dout - dbeta / m - x_hat dgamma / m)."""
    N, _, L = x.shape
    x0, V, mean_d = statistics[0], statistics[1], statistics[2]
    for c in range(start, stop):
        inverse_std = 1 / np.sqrt(V[c] + eps)
        mean_dout, mean_dout_d = average_channel(c, dout, 0.0, x, x0[c])
        mean_dout_x_hat = (mean_dout_d - mean_dout * mean_d[c]) * inverse_std  # x - M is d - mean_d.
        dbeta[c] = N * L * mean_dout
        dgamma[c] = N * L * mean_dout_x_hat
        for n in range(N):
            for i in range(L):
                x_hat = (x[n, c, i] - x0[c] - mean_d[c]) * inverse_std
                if training:
                    dx[n, c, i] = gamma[c] * inverse_std * (dout[n, c, i] - mean_dout - x_hat * mean_dout_x_hat)
                else:  # M and V do not depend on x.
                    dx[n, c, i] = gamma[c] * inverse_std * dout[n, c, i]
