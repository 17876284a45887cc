"""Solutions as students write them into the stubs, and slips as they make them; tests/test_assignment.py marks them."""


def plant(solution: str, *texts: str) -> str:
    """A right solution with texts of it replaced, in pairs: what stands there, and what is written instead."""
    for right, wrong in zip(texts[::2], texts[1::2], strict=True):
        assert right in solution, right
        solution = solution.replace(right, wrong)
    return solution


DOUBLE_LOOP_TORCH = '''
import torch

def cross_corr_2d(X, K):
    """Compute 2D cross-correlation."""
    h, w = K.shape
    Y = torch.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1))
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            Y[i, j] = (X[i:i + h, j:j + w] * K).sum()
    return Y
'''
DOUBLE_LOOP_NUMPY = plant(
    DOUBLE_LOOP_TORCH.replace("torch", "np"),
    *("import np", "import numpy as np", "(X[i:i + h, j:j + w] * K).sum()", "np.sum(X[i:i + h, j:j + w] * K)"),
    *("    h, w = K", "    X, K = np.asarray(X), np.asarray(K)\n    h, w = K"),
)
TAPS = """
def cross_corr_2d(X, K):
    H, W = X.shape
    h, w = K.shape
    Y = 0
    for u in range(h):
        for v in range(w):
            Y = Y + K[u, v] * X[u:H - h + 1 + u, v:W - w + 1 + v]
    return Y
"""
BATCH_NORM_TUPLE = """
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    mode = bn_param["mode"]
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    D = x.shape[1]
    running_mean = bn_param.get("running_mean", np.zeros(D))
    running_var = bn_param.get("running_var", np.zeros(D))
    if mode == "train":
        mean = x.mean(axis=0)
        var = x.var(axis=0)
        running_mean = momentum * running_mean + (1 - momentum) * mean
        running_var = momentum * running_var + (1 - momentum) * var
    else:
        mean = running_mean
        var = running_var
    std = np.sqrt(var + eps)
    x_hat = (x - mean) / std
    out = gamma * x_hat + beta
    bn_param["running_mean"] = running_mean
    bn_param["running_var"] = running_var
    return out, (x_hat, gamma, std, mode)

def batchnorm_backward(dout, cache):
    x_hat, gamma, std, mode = cache
    m = dout.shape[0]
    dbeta = dout.sum(axis=0)
    dgamma = (dout * x_hat).sum(axis=0)
    if mode == "train":
        dx = gamma / std * (dout - dbeta / m - x_hat * dgamma / m)
    else:
        dx = gamma / std * dout
    return dx, dgamma, dbeta

def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    N, C, H, W = x.shape
    rows = x.transpose(0, 2, 3, 1).reshape(-1, C)
    out, cache = batchnorm_forward(rows, gamma, beta, bn_param)
    return out.reshape(N, H, W, C).transpose(0, 3, 1, 2), cache

def spatial_batchnorm_backward(dout, cache):
    N, C, H, W = dout.shape
    rows = dout.transpose(0, 2, 3, 1).reshape(-1, C)
    dx, dgamma, dbeta = batchnorm_backward(rows, cache)
    return dx.reshape(N, H, W, C).transpose(0, 3, 1, 2), dgamma, dbeta
"""
BATCH_NORM_DICTIONARY = plant(
    BATCH_NORM_TUPLE,
    *("out, (x_hat, gamma, std, mode)", 'out, {"x_hat": x_hat, "gamma": gamma, "std": std, "mode": mode}'),
    *("x_hat, gamma, std, mode = cache", "x_hat, gamma, std, mode = cache.values()"),
    "dx = gamma / std * (dout - dbeta / m - x_hat * dgamma / m)",
    "g = dout * gamma\n        dx = (m * g - g.sum(axis=0) - x_hat * (g * x_hat).sum(axis=0)) / (m * std)",
)
# Everything is torch inside; running statistics are replaced by tensors, and gradients are tensors.
BATCH_NORM_TORCH = (
    BATCH_NORM_TUPLE.replace("import numpy as np", "import torch")
    .replace("    mode = bn_param", "    x, gamma, beta = map(torch.as_tensor, (x, gamma, beta))\n    mode = bn_param")
    .replace('bn_param.get("running_mean", np.zeros(D))', 'torch.as_tensor(bn_param.get("running_mean", [0.0] * D))')
    .replace('bn_param.get("running_var", np.zeros(D))', 'torch.as_tensor(bn_param.get("running_var", [0.0] * D))')
    .replace("x.mean(axis=0)", "x.mean(dim=0)")
    .replace("x.var(axis=0)", "x.var(dim=0, unbiased=False)")
    .replace("np.sqrt", "torch.sqrt")
    .replace("mode = cache\n", "mode = cache\n    dout = torch.as_tensor(dout)\n")
    .replace("x.transpose(0, 2, 3, 1)", "torch.as_tensor(x).permute(0, 2, 3, 1)")
    .replace("dout.transpose(0, 2, 3, 1)", "torch.as_tensor(dout).permute(0, 2, 3, 1)")
    .replace(".transpose(0, 3, 1, 2)", ".permute(0, 3, 1, 2)")
)
RIGHT = {
    "NumPy double loop": {"cross_correlation": DOUBLE_LOOP_NUMPY},
    "torch double loop with torch.zeros": {"cross_correlation": DOUBLE_LOOP_TORCH},
    "loop over taps": {"cross_correlation": TAPS},
    "views": {"cross_correlation": plant(DOUBLE_LOOP_NUMPY, "return Y", "return Y[::-1, ::-1].copy()[::-1, ::-1]")},
    "NumPy double loop in float32": {"cross_correlation": DOUBLE_LOOP_NUMPY.replace("w + 1))", "w + 1), np.float32)")},
    "batch norm with a tuple as cache": {"batch_norm": BATCH_NORM_TUPLE},
    "batch norm with a dictionary as cache and another form of dx": {"batch_norm": BATCH_NORM_DICTIONARY},
    "batch norm with torch tensors inside": {"batch_norm": BATCH_NORM_TORCH},
    "batch norm in float32": {
        "batch_norm": plant(BATCH_NORM_TUPLE, "    mode =", "    x = x.astype(np.float32)\n    mode =")
    },
}
# Each slip replaces texts of a right solution: what stands there, what is written instead, and so on.
CROSS_CORRELATION_SLIPS = {
    "kernel flipped": ("* K)", "* K.flip(0, 1))"),
    "kernel transposed": ("* K)", "* (K.T if h == w else K))"),
    "output one short": ("X.shape[0] - h + 1, X.shape[1] - w + 1", "X.shape[0] - h, X.shape[1] - w"),
    "syntax error": ("def cross_corr_2d(X, K):", "def cross_corr_2d(X, K)"),
    "integer output": ("- w + 1))", "- w + 1), dtype=int)"),
    "kernel changed": ("    return Y", "    K *= 2\n    return Y"),
    "SciPy's own operation": ("import torch", "import torch; from scipy.signal import correlate2d"),
    "torch's own operation": ("return Y", "return torch.conv2d(X[None, None], K[None, None])[0, 0]"),
    "torch's own transposed": ("return Y", "return torch.conv_transpose2d(X[None, None], K[None, None])[0, 0]"),
}
BATCH_NORM_SLIPS = {
    "unbiased variance": ("    std =", "    if mode == 'train': var = x.var(axis=0, ddof=1)\n    std ="),
    "unbiased running variance": ("(1 - momentum) * var", "(1 - momentum) * x.var(axis=0, ddof=1)"),
    "eps forgotten": ("np.sqrt(var + eps)", "np.sqrt(var)"),
    "another eps when absent": ("1e-5", "1e-8"),
    "input changed": ("x_hat = (x - mean) / std", "x -= mean\n    x_hat = x / std"),
    "cache in one place for all layers": (
        *("return out, (x_hat,", "global kept\n    kept = x_hat, gamma, std, mode\n    return out, (x_hat,"),
        *("mode = cache", "mode = kept"),
    ),
    "eps outside the root": ("np.sqrt(var + eps)", "np.sqrt(var) + eps"),
    "momentum swapped": ('bn_param.get("momentum", 0.9)', '1 - bn_param.get("momentum", 0.9)'),
    "running statistics not updated": ("    bn_param[", "    {}["),
    "test mode with batch statistics": ("    std =", "    mean, var = x.mean(axis=0), x.var(axis=0)\n    std ="),
    "dx without the mean term": ("(dout - dbeta / m - ", "(dout - "),
    "dx without the variance term": (" - x_hat * dgamma / m)", ")"),
    "dx without gamma": ("dx = gamma / std *", "dx = 1 / std *"),
    "dx with m = N": (
        *("(dout, cache):\n    x_hat", "(dout, cache, m=None):\n    x_hat"),
        *("m = dout.shape[0]", "m = m or dout.shape[0]"),
        *("batchnorm_backward(rows, cache)", "batchnorm_backward(rows, cache, N)"),
    ),
    "test mode as training in the backward pass": ('if mode == "train":\n        dx', "if True:\n        dx"),
    "dgamma and dbeta swapped": ("dgamma, dbeta\n\ndef spatial", "dbeta, dgamma\n\ndef spatial"),
    "dgamma and dbeta of vectors averaged": (
        *("return dx, dgamma, dbeta\n", "return dx, dgamma / m, dbeta / m\n"),
        *("2), dgamma, dbeta", "2), N * H * W * dgamma, N * H * W * dbeta"),
    ),
    "vectors in test mode with batch statistics": (
        *("bn_param):\n    mode", "bn_param, maps=False):\n    mode"),
        *("    std =", "    if not maps: mean, var = x.mean(axis=0), x.var(axis=0)\n    std ="),
        *("(rows, gamma, beta, bn_param)", "(rows, gamma, beta, bn_param, maps=True)"),
    ),
    "running variance that starts at one": ('"running_var", np.zeros(D)', '"running_var", np.ones(D)'),
    "running_mean updated in test mode": ("    std =", "    if mode == 'test': running_mean = x.mean(0)\n    std ="),
    "syntax error": ("def batchnorm_backward(dout, cache):", "def batchnorm_backward(dout, cache)"),
    "torch's own operation": (
        "    out = gamma * x_hat + beta\n",
        "    import torch\n    arrays = [torch.as_tensor(array) for array in (x, mean, var, gamma, beta)]\n"
        "    out = torch.nn.functional.batch_norm(*arrays, False, 0.1, eps).numpy()\n",
    ),
}
