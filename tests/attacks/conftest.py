import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """What is multiplied is so small that threads only get in each other's way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
