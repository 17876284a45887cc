"""Section 2: two-dimensional cross-correlation. Write the body of the function."""


def cross_corr_2d(X, K):
    """Return the cross-correlation of the image X with the kernel K, computed by a double loop.

    Y[i, j] is the sum over u and v of X[i + u, j + v] K[u, v]: the kernel is laid on the image with its upper left
    corner at (i, j), overlapping entries are multiplied, and the products are summed.

    X: torch tensor (H, W), floating point.
    K: torch tensor (h, w), with h <= H and w <= W.
    Returns Y (H - h + 1, W - w + 1), a torch tensor or a NumPy array. X and K stay as they are.
    """
    raise NotImplementedError("cross_corr_2d is still to be written, in helpers/cross_correlation.py")
