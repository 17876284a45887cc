"""The one boundary between NumPy and torch: arrays in as tensors, results out in the caller's own kind."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, strided

Array = np.ndarray | Tensor


def as_tensors(**named: Array) -> tuple[list[Tensor], Callable[[Tensor], Array]]:
    """Return the named arrays as tensors that share their memory, and a function that takes results back.

    All torch tensors: they are returned as they are, and results stay tensors. All NumPy arrays: tensors on
    the same memory (a copy only where torch cannot express the layout: negative strides, strides that are
    no multiple of the element's size, foreign byte order, misaligned data), and results become NumPy arrays
    again. Read-only arrays are shared too; callers never write.

    Raises TypeError, naming the argument: not an array, a mixture of both kinds, a masked array (its mask
    would be ignored), a dtype that torch does not have, or a tensor that is not dense or holds no data.
    """
    for name, tensor in named.items():
        if not isinstance(tensor, Tensor):
            break
        if tensor.layout is not strided or tensor.is_nested:
            layout = "a nested one" if tensor.is_nested else tensor.layout
            raise TypeError(f"{name} must be a dense tensor, got {layout}")
        if tensor.is_meta:
            raise TypeError(f"{name} is on the meta device and holds no data")
    else:
        return list(named.values()), lambda result: result
    for array in named.values():
        if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
            raise TypeError(_misfit(named))
    return [_share(name, array) for name, array in named.items()], lambda result: result.numpy(force=True)


def _misfit(named):
    for name, array in named.items():
        if isinstance(array, np.ma.MaskedArray):
            return f"{name} is a masked array, whose mask would be ignored; fill it first"
        if not isinstance(array, np.ndarray | Tensor):
            return f"{name} must be a NumPy array or a torch tensor, got {type(array).__name__}"
    kinds = ", ".join(f"{name} is a {type(array).__name__}" for name, array in named.items())
    return f"all arrays must be of one kind, NumPy or torch: {kinds}"


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """An uninitialized tensor of like's dtype and device; a large one from NumPy, whose huge pages save page faults."""
    if math.prod(shape) * like.itemsize < 2**25 or like.device.type != "cpu":
        return like.new_empty(shape)
    dtype = like.new_empty(0).numpy().dtype  # of its own: autograd would not let a view of bytes be changed in place
    return torch.from_numpy(np.empty(shape, dtype))


def shown(word: object) -> str:
    """A word as an error shows it; of anything else the type, for an array's own text can be long, or warn."""
    return repr(word) if isinstance(word, str) else type(word).__name__


def _share(name: str, array: np.ndarray) -> Tensor:
    array = np.asarray(array)
    if array.flags.behaved:  # aligned and writable: nearly always torch takes it as it is
        try:
            return torch.from_numpy(array)
        except (TypeError, ValueError):
            pass
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
        raise TypeError(f"{name} has dtype {array.dtype}, which torch does not have")
    strides_fit = all(stride >= 0 and stride % array.itemsize == 0 for stride in array.strides)
    if not (strides_fit and array.dtype.isnative and array.flags.aligned):
        array = array.astype(array.dtype.newbyteorder("="), order="C")
    else:  # read-only: declared writable, torch takes the memory without a warning; nobody writes to it
        pointer, _ = array.__array_interface__["data"]
        interface = {**array.__array_interface__, "data": (pointer, False)}
        array = np.asarray(SimpleNamespace(owner=array, __array_interface__=interface))
    return torch.from_numpy(array)
