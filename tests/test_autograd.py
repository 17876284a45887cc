"""The project's batch normalization inside torch's automatic differentiation."""

import numpy as np
import pytest
import torch

from helpers.autograd import batch_norm

SHAPES = {"dense": (5, 3), "spatial": (2, 3, 5, 7)}


def tensors(shape):
    rng = np.random.default_rng(4)
    x, upstream = (torch.from_numpy(2 * rng.normal(size=shape) + 1) for _ in range(2))
    gamma, beta = (torch.from_numpy(rng.normal(size=shape[1])) for _ in range(2))
    return [tensor.requires_grad_() for tensor in (x, gamma, beta)], upstream


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("mode", ["train", "test"])
def test_output_and_gradients_are_those_of_torch(shape, mode):
    (x, gamma, beta), upstream = inputs, upstream = tensors(shape)
    mean, variance = torch.linspace(-1, 1, 3).double(), torch.linspace(1, 2, 3).double()
    bn_param = {"mode": mode, "running_mean": mean.clone(), "running_var": variance.clone()}
    out = batch_norm(*inputs, bn_param)
    gradients = torch.autograd.grad(out, inputs, upstream)
    x, gamma, beta = inputs
    expected = torch.nn.functional.batch_norm(
        x, mean, variance, gamma, beta, training=mode == "train", eps=1e-5
    )
    # Both round in float64 sums of at most 70 numbers of size 1: 1e-12 leaves a factor of a hundred.
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        gradients, torch.autograd.grad(expected, inputs, upstream), rtol=1e-12, atol=1e-12
    )


def test_training_moves_the_running_statistics_and_testing_does_not():
    inputs, _ = tensors(SHAPES["dense"])
    bn_param = {"mode": "train"}
    batch_norm(*inputs, bn_param)
    after_training = bn_param["running_mean"].clone()
    batch_norm(*inputs, {**bn_param, "mode": "test"})
    torch.testing.assert_close(after_training, 0.1 * inputs[0].detach().mean(0))
    assert torch.equal(bn_param["running_mean"], after_training)


def test_only_the_gradients_that_are_needed_are_given():
    (x, gamma, beta), upstream = tensors(SHAPES["spatial"])
    batch_norm(x.detach(), gamma, beta.detach(), {"mode": "train"}).backward(upstream)
    assert gamma.grad is not None
    assert (x.grad, beta.grad) == (None, None)


def test_a_second_derivative_is_refused_rather_than_wrong():
    inputs, upstream = tensors(SHAPES["dense"])
    (gradient,) = torch.autograd.grad(
        batch_norm(*inputs, {"mode": "train"}), inputs[0], upstream, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_three_dimensions_are_refused():
    with pytest.raises(ValueError, match="dim"):
        batch_norm(torch.zeros(2, 3, 4), torch.ones(3), torch.zeros(3), {"mode": "train"})
