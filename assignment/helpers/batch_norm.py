"""Section 3: batch normalization, of feature vectors and of feature maps. Write the bodies of the four functions."""


def batchnorm_forward(x, gamma, beta, bn_param):
    """Normalize every feature over the batch, then scale by gamma and shift by beta.

    x: NumPy array (N, D), floating point; gamma, beta: (D,).
    bn_param: dictionary with
        mode: "train" (normalize with the mean and the biased variance of this batch) or "test" (with the averages)
        eps: added to the variance under the root, 1e-5 when absent
        momentum: 0.9 when absent
        running_mean, running_var: (D,), zeros when absent; "train" replaces each of them in bn_param by
            momentum * running + (1 - momentum) * batch, with the biased variance; "test" leaves them as they are.
    Returns out (N, D), and cache: whatever the backward pass needs. x, gamma and beta stay as they are.
    """
    raise NotImplementedError("batchnorm_forward is still to be written, in helpers/batch_norm.py")


def batchnorm_backward(dout, cache):
    """Return (dx, dgamma, dbeta), the gradients of sum(out * dout), for the mode in which cache was made.

    dout: NumPy array (N, D). Returns dx (N, D), dgamma (D,) and dbeta (D,); dout stays as it is.
    In "test" mode the averages are constants.
    """
    raise NotImplementedError("batchnorm_backward is still to be written, in helpers/batch_norm.py")


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    """Normalize every channel of x (N, C, H, W) over batch, height and width; gamma, beta and the averages are (C,).

    Hint: with transpose and reshape, the places of all images become the rows of one (N * H * W, C) array.
    Returns out (N, C, H, W) and cache.
    """
    raise NotImplementedError("spatial_batchnorm_forward is still to be written, in helpers/batch_norm.py")


def spatial_batchnorm_backward(dout, cache):
    """Return (dx, dgamma, dbeta) for dout (N, C, H, W), of the shapes (N, C, H, W), (C,) and (C,)."""
    raise NotImplementedError("spatial_batchnorm_backward is still to be written, in helpers/batch_norm.py")
