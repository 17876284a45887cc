"""The boundary between NumPy, torch and the loops: what is shared, what is copied, what is refused."""

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad

from helpers.arrays import as_numpy, as_tensor, check_arrays, give_back, has_tangent


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16", "i1", "u8"])
def test_plain_arrays_and_tensors_share_their_memory(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    assert as_numpy(array) is array
    assert np.shares_memory(as_numpy(torch.from_numpy(array)), array)
    if array.dtype.kind in "fc":
        assert np.shares_memory(as_numpy(torch.nn.Parameter(torch.from_numpy(array))), array)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3)[::-1],
        np.arange(6.0).reshape(2, 3)[:, ::2],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(6, dtype=">f8").reshape(2, 3),
        np.arange(6, dtype="f2").reshape(2, 3),
        np.broadcast_to(np.arange(3.0), (2, 3)),  # cannot be written to
        np.zeros((2, 3), [("value", "f8"), ("flag", "i4")])["value"],
        np.arange(6.0).reshape(2, 3).view(np.recarray),
        np.frombuffer(bytearray(1 + 8 * 6), np.uint8)[1:].view(np.float64),  # is not aligned
        torch.arange(6.0).reshape(3, 2).t(),
        torch.arange(6.0).reshape(2, 3)[:, ::2],
        torch.arange(6.0).reshape(2, 3).bfloat16(),
        torch.arange(12.0).reshape(2, 6).to(torch.complex64).conj(),
        torch.view_as_complex(torch.arange(12.0).reshape(2, 3, 2)).conj().imag,
        torch.arange(120.0).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last),
    ],
)
def test_anything_else_is_copied_to_what_the_loops_take(array):
    numbers = as_numpy(array)
    assert type(numbers) is np.ndarray
    assert numbers.flags.carray  # contiguous, aligned and writable
    assert numbers.dtype.isnative
    np.testing.assert_array_equal(numbers.tolist(), array.tolist())


# torch's own forward mode compiles its decompositions with what torch itself has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is (deprecated|not supported in Python 3.14)")
def test_what_numpy_cannot_reach_is_none():
    reached = []

    def spy(x):
        reached.append(as_numpy(x))
        return x.sum()

    x = torch.ones(2, 3)
    torch.func.grad(spy)(x)
    torch.func.vmap(spy)(x)
    torch.func.jvp(spy, (x,), (x,))
    torch.func.grad(spy)(x.bfloat16())
    assert reached == [None] * len(reached) == [None] * 4


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is (deprecated|not supported in Python 3.14)")
def test_tensors_with_a_tangent_are_told_from_others():
    x = torch.ones(2, 3)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x.clone().requires_grad_(), x)
        assert [has_tangent(x), has_tangent(dual)] == [False, True]
    assert not has_tangent(dual)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.ones(2, 2).to_sparse(), "got torch.sparse_coo on cpu"),
        (torch.ones(2, 2, device="meta"), "on meta"),
        (torch.nested.nested_tensor([torch.ones(2)], layout=torch.jagged), "got torch.jagged"),
    ],
)
def test_a_tensor_without_dense_numbers_is_refused(tensor, words):
    with pytest.raises(TypeError, match=words):
        as_numpy(tensor)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"x": [1.0]}, "x must be a plain NumPy array or a torch tensor, got list"),
        ({"x": np.ones(2), "k": 3.0}, "k must be .* got float"),
        ({"x": np.float64(1)}, "x must be .* got float64"),
        ({"x": np.ones(2), "k": torch.ones(2)}, "one kind, NumPy or torch: x is a ndarray, k is a Tensor"),
        ({"x": np.ones(2), "k": np.ma.ones(2)}, "k must be a plain NumPy array or a torch tensor, got MaskedArray"),
    ],
)
def test_anything_else_is_refused_by_name(named, words):
    with pytest.raises(TypeError, match=words):
        check_arrays(**named)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i1", "c8"])
def test_results_get_the_kind_and_dtype_of_what_was_given_in_native_order(dtype):
    like = np.ones((2, 3), dtype)
    native = like.astype(like.dtype.newbyteorder("="))
    result = give_back(as_numpy(like), like)
    assert result.dtype == native.dtype
    np.testing.assert_array_equal(result, like)
    tensor = torch.from_numpy(native)
    torch.testing.assert_close(give_back(as_numpy(tensor), tensor), tensor, rtol=0, atol=0)


def test_beyond_half_precision_lies_infinity_without_a_warning():
    assert give_back(np.float32([1e30]), np.ones(1, np.float16)) == np.inf


def test_an_array_as_a_tensor_is_a_copy_and_a_tensor_stays_itself():
    tensor = torch.ones(2)
    assert as_tensor("x", tensor) is tensor
    array = np.arange(6, dtype=">i2")[::-1]
    assert as_tensor("x", array).tolist() == array.tolist()
    with pytest.raises(TypeError, match="x has dtype object, which torch does not have"):
        as_tensor("x", np.ones(2, object))
