"""The boundary between NumPy and torch: what is shared, what is copied, what is refused."""

import numpy as np
import pytest
import torch

from helpers.interop import as_tensors, empty


def test_tensors_pass_unchanged():
    a, b = torch.ones(2, 3, requires_grad=True), torch.ones(4)
    (x, y), back = as_tensors(a=a, b=b)
    assert x is a
    assert y is b
    assert back(x) is a


@pytest.mark.parametrize("writeable", [True, False])
@pytest.mark.parametrize("select", [np.s_[:, :], np.s_[1:, ::2], np.s_[::3, 2:]])
def test_arrays_share_their_memory_without_a_warning(writeable, select):
    array = np.arange(30.0).reshape(5, 6)[select]
    array.flags.writeable = writeable
    (x,), back = as_tensors(array=array)
    assert x.data_ptr() == array.__array_interface__["data"][0]
    np.testing.assert_array_equal(back(x), array)
    assert not writeable or np.shares_memory(back(x), array)
    assert array.flags.writeable == writeable


def test_a_broadcast_array_is_shared():
    row = np.arange(3.0)
    (x,), _ = as_tensors(array=np.broadcast_to(row, (2, 3)))
    assert x.data_ptr() == row.__array_interface__["data"][0]


def unaligned():
    return np.frombuffer(bytearray(1 + 8 * 6), np.uint8)[1:].view(np.float64).reshape(2, 3)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3)[::-1],
        np.arange(6.0).reshape(2, 3)[:, ::-1],
        np.arange(6, dtype=np.int8)[::-1],  # a stride of one byte
        np.arange(6, dtype=">f8").reshape(2, 3),
        np.arange(6, dtype=">u2").reshape(2, 3),
        np.zeros((2, 3), [("value", "f8"), ("flag", "i4")])["value"],  # a stride of 12 bytes
        unaligned(),
    ],
)
def test_layouts_that_torch_cannot_express_are_copied(array):
    (x,), back = as_tensors(array=array)
    assert back(x).dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(back(x), array)


@pytest.mark.parametrize("shape", [(), (0, 3), (1,)])
def test_scalars_and_empty_arrays_keep_their_shape(shape):
    (x,), back = as_tensors(array=np.zeros(shape))
    assert back(x).shape == shape


def test_the_array_outlives_its_name():
    array = np.arange(1000.0)
    array.flags.writeable = False
    (x,), _ = as_tensors(array=array)
    del array
    others = [np.full(1000, 7.0) for _ in range(10)]
    assert x.sum() == 999 * 500, others


def test_results_flagged_as_conjugate_or_negative_come_back_in_full():
    z = np.array([1 + 2j, 3 - 4j])
    (x,), back = as_tensors(z=z)
    np.testing.assert_array_equal(back(x.conj()), z.conj())
    np.testing.assert_array_equal(back(x.conj().imag), -z.imag)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"x": [1.0]}, "x must be a NumPy array or a torch tensor, got list"),
        ({"x": np.ones(2), "k": 3.0}, "k must be a NumPy array or a torch tensor, got float"),
        ({"x": torch.ones(2), "k": None}, "k must be .* got NoneType"),
        ({"x": np.ones(2), "k": torch.ones(2)}, "one kind.*x is a ndarray, k is a Tensor"),
        ({"x": np.ma.ones(2)}, "x is a masked array"),
        ({"x": np.ones(2, np.longdouble)}, "x has dtype"),
        ({"x": np.ones(2, np.clongdouble)}, "x has dtype"),
        ({"x": np.array(["a"])}, "x has dtype <U1"),
        ({"x": np.ones(2, object)}, "x has dtype object"),
        ({"x": np.zeros(2, "M8[s]")}, "x has dtype datetime64"),
        ({"x": torch.ones(2, 2).to_sparse()}, "x must be a dense tensor, got torch.sparse_coo"),
        ({"x": torch.ones(2), "k": torch.ones(2, device="meta")}, "k is on the meta device"),
        ({"x": torch.nested.nested_tensor([torch.ones(2)], layout=torch.jagged)}, "x must be a dense tensor"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(named, words):
    with pytest.raises(TypeError, match=words):
        as_tensors(**named)


@pytest.fixture
def from_numpy(monkeypatch):
    """How many bytes NumPy was asked for, each time."""
    asked, real = [], np.empty
    monkeypatch.setattr(np, "empty", lambda size, dtype: asked.append(size) or real(size, dtype))
    return asked


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
def test_a_tensor_of_32_mib_comes_from_numpy(from_numpy, dtype):
    shape = (2**10, 2**15 // dtype.itemsize)
    result = empty(shape, torch.zeros(1, dtype=dtype))
    assert from_numpy == [result.shape] == [shape]
    assert result.dtype is dtype
    assert result._base is None


@pytest.mark.parametrize("shape", [(3, 5), (2**25 - 1,)])
def test_a_smaller_tensor_comes_from_torch(from_numpy, shape):
    empty(shape, torch.zeros(1, dtype=torch.uint8))
    assert from_numpy == []


def test_a_large_tensor_of_another_device_comes_from_torch():
    assert empty((2**25,), torch.zeros(1, device="meta")).device.type == "meta"


@pytest.mark.parametrize("shape", [(), (0, 7), (3, 5), (3, 2**23)])
def test_an_empty_tensor_has_the_shape_and_the_dtype_asked_for(shape):
    tensor = empty(shape, torch.zeros(1, dtype=torch.float32))
    assert (tuple(tensor.shape), tensor.dtype) == (shape, torch.float32)
