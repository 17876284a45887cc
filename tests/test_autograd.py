"""The project's batch normalization inside torch's automatic differentiation."""

from functools import partial

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
    inputs, upstream = tensors(shape)
    mean, variance = torch.linspace(-1, 1, 3).double(), torch.linspace(1, 2, 3).double()
    bn_param = {"mode": mode, "running_mean": mean.clone(), "running_var": variance.clone()}
    out = batch_norm(*inputs, bn_param)
    x, gamma, beta = inputs
    expected = torch.nn.functional.batch_norm(x, mean, variance, gamma, beta, mode == "train", eps=1e-5)
    # Both round in float64 sums of at most 70 numbers of size 1: 1e-12 leaves a factor of a hundred.
    close = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)
    close(out, expected)
    close(torch.autograd.grad(out, inputs, upstream), torch.autograd.grad(expected, inputs, upstream))


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
    out = batch_norm(*inputs, {"mode": "train"})
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(out, inputs, upstream, create_graph=True)


def test_an_input_overwritten_before_the_backward_pass_is_noticed():
    (x, gamma, beta), upstream = tensors(SHAPES["dense"])
    hidden = 2 * x
    out = batch_norm(hidden, gamma, beta, {"mode": "train"})
    hidden.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward(upstream)


def test_nothing_but_the_input_is_kept_for_the_backward_pass():
    (x, gamma, beta), _ = tensors(SHAPES["spatial"])
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.shape) or tensor, id):
        batch_norm(x, gamma, beta, {"mode": "train"})
    assert kept == [x.shape]


def test_three_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"x must have shape .* got \(2, 3, 4\)"):
        batch_norm(torch.zeros(2, 3, 4), torch.ones(3), torch.zeros(3), {"mode": "train"})


def test_what_is_not_a_tensor_is_a_type_error_before_anything_changes():
    bn_param = {"mode": "train"}
    with pytest.raises(TypeError, match="x must be a torch tensor, got ndarray"):
        batch_norm(np.ones((5, 3)), np.ones(3), np.ones(3), bn_param)
    assert bn_param == {"mode": "train"}
