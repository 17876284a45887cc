"""The names that the notebook calls. Each comes from its module when asked for: a fault in one leaves the others."""

from importlib import import_module

_MODULE_OF = {
    "batchnorm_backward": "batch_norm",
    "batchnorm_forward": "batch_norm",
    "check_autograd": "gradient_check",
    "check_gradients": "gradient_check",
    "cross_corr_2d": "cross_correlation",
    "label_learning_rates": "learning_rates",
    "numerical_gradient": "gradient_check",
    "relative_error": "gradient_check",
    "spatial_batchnorm_backward": "batch_norm",
    "spatial_batchnorm_forward": "batch_norm",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"helpers.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
