"""The names that the notebook calls. Each comes from its module when asked for: a fault in one leaves the others."""

from importlib import import_module

_NAMES = {
    "batch_norm": (
        "batchnorm_forward",
        "batchnorm_backward",
        "spatial_batchnorm_forward",
        "spatial_batchnorm_backward",
    ),
    "cross_correlation": ("cross_corr_2d",),
    "gradient_check": ("relative_error", "numerical_gradient", "check_gradients", "check_autograd"),
    "learning_rates": ("label_learning_rates",),
}


def __getattr__(name: str) -> object:
    for module, names in _NAMES.items():
        if name in names:
            found = import_module(f"helpers.{module}")
            if not hasattr(found, name):
                raise ImportError(f"helpers/{module}.py defines no {name}")
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *sum(_NAMES.values(), ())})
