"""The one boundary between the caller's arrays, NumPy's or torch's, and the loops and checks, which take NumPy's."""

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

Array = np.ndarray | Tensor
USUAL_KINDS = ({np.ndarray}, {Tensor})


def check_arrays(**named: Array) -> None:
    """Raise TypeError, naming the argument, unless all are NumPy arrays (none with a mask) or all are torch tensors."""
    if {type(array) for array in named.values()} in USUAL_KINDS:
        return
    for name, array in named.items():
        if not isinstance(array, Array) or isinstance(array, np.ma.MaskedArray):
            raise TypeError(f"{name} must be a plain NumPy array or a torch tensor, got {type(array).__name__}")
    if len({isinstance(array, Tensor) for array in named.values()}) > 1:
        kinds = ", ".join(f"{name} is a {type(array).__name__}" for name, array in named.items())
        raise TypeError(f"all arrays must be of one kind, NumPy or torch: {kinds}")


def as_numpy(array: Array, name: str = "a tensor") -> np.ndarray | None:
    """Return the numbers as a contiguous, writable NumPy array in native byte order, as the loops take them.

    The memory is shared where it can be, so nobody writes to the result. float16 and bfloat16 come as float32. None
    means that the numbers are out of reach: on another device or in a transform of torch.func.
    """
    if isinstance(array, Tensor):
        try:
            array = array.numpy(force=array.is_cpu)  # detached, and conjugate or negative flags resolved
        except (RuntimeError, TypeError):
            if array.layout is not torch.strided or array.is_meta:
                raise TypeError(f"{name} must be dense and have values, got {array.layout} on {array.device}") from None
            return as_numpy(array.float(), name) if array.dtype is torch.bfloat16 else None
    dtype = array.dtype
    if array.flags.carray and dtype.isnative and dtype.char != "e" and type(array) is np.ndarray:
        return array
    return np.array(array, np.float32 if dtype.char == "e" else dtype.newbyteorder("="), order="C")


def has_tangent(tensor: Tensor) -> bool:
    """Whether forward-mode differentiation follows the tensor: NumPy would lose its tangent."""
    return forward_ad.unpack_dual(tensor).tangent is not None


def as_tensor(name: str, array: Array) -> Tensor:
    """Return an array as a tensor of the same dtype, a NumPy array copied. TypeError if torch lacks its dtype."""
    if isinstance(array, Tensor):
        return array
    try:
        return torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
    except TypeError:
        raise TypeError(f"{name} has dtype {array.dtype}, which torch does not have") from None


def give_back(result: Array, like: Array) -> Array:
    """Return what the loops or torch computed as an array of the same kind and dtype as `like`."""
    if isinstance(like, Tensor):
        tensor = torch.from_numpy(result) if isinstance(result, np.ndarray) else result
        return tensor if tensor.dtype is like.dtype else tensor.to(like.dtype)
    result = np.asarray(result)
    if result.dtype == like.dtype:
        return result
    with np.errstate(over="ignore"):  # beyond float16 lies infinity, without a warning
        return result.astype(like.dtype.newbyteorder("="), copy=False)


def describe(x: object) -> str:
    """Return what an object is, for a message: float64 ndarray of shape (3,)."""
    x = np.asarray(x) if isinstance(x, np.generic) else x
    if type(x) is not np.ndarray and not isinstance(x, Tensor):
        return type(x).__name__
    return f"{str(x.dtype).removeprefix('torch.')} {type(x).__name__} of shape {tuple(x.shape)}"


def to_float64(x: Array, name: str = "an array") -> np.ndarray:
    """Return the values as a float64 NumPy array, which shares the memory of x if possible.

    Raises TypeError, naming the argument, unless they are dense and real.
    """
    try:
        if isinstance(x, Tensor):
            x = (x if x.is_complex() else x.double()).numpy(force=True)
        return np.asarray(x).astype(np.float64, casting="same_kind", copy=False)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be dense and hold real numbers, got {describe(x)}") from None
