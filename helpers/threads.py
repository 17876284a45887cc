"""One thread for small experiments."""

from contextlib import contextmanager

import torch


@contextmanager
def one_thread():
    """Hold torch to one thread: small tensors gain nothing from more, and lose tenfold on a busy machine.

    Use it around a block, or as a decorator, `@one_thread()`; the number of threads comes back afterwards.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
