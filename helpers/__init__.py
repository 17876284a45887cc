"""The names that the notebook calls."""

from helpers.batch_norm import (
    batchnorm_backward,
    batchnorm_forward,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
)
from helpers.cross_correlation import cross_corr_2d
from helpers.gradient_check import GradientReport, check_autograd, check_gradients, numerical_gradient, relative_error
from helpers.warmup.learning_rates import label_learning_rates

__all__ = [
    "GradientReport",
    "batchnorm_backward",
    "batchnorm_forward",
    "check_autograd",
    "check_gradients",
    "cross_corr_2d",
    "label_learning_rates",
    "numerical_gradient",
    "relative_error",
    "spatial_batchnorm_backward",
    "spatial_batchnorm_forward",
]
