"""The number of threads is limited inside, and comes back."""

import pytest
import torch

from helpers.threads import one_thread


@pytest.fixture(autouse=True)
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_block_has_one_thread_and_what_follows_has_as_many_as_before():
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_the_threads_come_back_after_an_error():
    @one_thread()
    def fail():
        raise ValueError(torch.get_num_threads())

    with pytest.raises(ValueError, match="1"):
        fail()
    assert torch.get_num_threads() == 2
