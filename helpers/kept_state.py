"""Run functions that keep arrays, running statistics for one, and leave those arrays as they were."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from numbers import Number
from types import ModuleType

import numpy as np
import torch


@contextmanager
def state_kept(*functions: Callable) -> Iterator[None]:
    """Afterwards, put back the arrays that the functions keep."""
    holders = [holder for function in functions for holder in _holders(function)]
    saved = [{key: (x, _copy(x)) for key, x in holder.items() if _is_state(x)} for holder in holders]
    try:
        yield
    finally:
        for holder, arrays in zip(holders, saved, strict=True):
            new = [key for key, x in holder.items() if _is_state(x) and key not in arrays]
            for key in new if len(new) < len(holder) else ():  # a dictionary that was empty is a log, not state
                del holder[key]
            for key, (x, before) in arrays.items():
                holder[key] = x
                if isinstance(x, np.ndarray) and x.flags.writeable:
                    x[...] = before
                elif isinstance(x, torch.Tensor) and not torch.equal(x, before):
                    x.data.copy_(before)


def _copy(x: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    return x.detach().clone() if isinstance(x, torch.Tensor) else x.copy()


def _is_state(x: object) -> bool:
    return isinstance(x, np.ndarray | np.generic | torch.Tensor)


def _holders(function: Callable) -> list[dict]:
    """The dictionaries in which a function keeps arrays: closure, globals, module or object, and what these hold."""
    found, seen, parts = [], set(), [function]
    while parts:
        thing = parts.pop()
        if id(thing) in seen or isinstance(thing, ModuleType | type | str | bytes | Number):
            continue
        seen.add(id(thing))
        if isinstance(thing, dict):
            found.append(thing)
            parts += [x for x in thing.values() if not _is_state(x)]
        elif isinstance(thing, list | tuple):
            parts += thing
        elif _is_state(thing):
            found.append({"": thing})
        elif isinstance(thing, partial):
            parts += [thing.func, *thing.args, *thing.keywords.values()]
        elif inspect.ismethod(thing):
            parts.append(thing.__self__)
        elif inspect.isfunction(thing):
            parts += [thing.__defaults__, thing.__kwdefaults__]
            with suppress(ValueError):  # a name that is bound later
                names = inspect.getclosurevars(thing)
                parts += [*names.nonlocals.values(), *names.globals.values()]
        elif isinstance(getattr(thing, "__dict__", None), dict):
            parts.append(vars(thing))
    return found
