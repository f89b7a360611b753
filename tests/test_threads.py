"""Games compute on one thread, passes through a model on all."""

import os
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from ptaudit import estimate
from ptaudit.games.game_play import run_game
from ptaudit.games.identity import measure as identity
from ptaudit.gradients.frozen_state import frozen_state
from ptaudit.spec.registry import GAMES
from ptaudit.threads import every_thread, one_thread, side_by_side


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_one_and_then_as_many_as_before():
    with one_thread():
        assert torch.get_num_threads() == 1
        with one_thread(), every_thread():
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_after_an_error_too():
    with pytest.raises(RuntimeError), one_thread(), every_thread():
        raise RuntimeError
    assert torch.get_num_threads() == 3
    with every_thread():
        assert torch.get_num_threads() == 3


def test_a_pass_through_a_model_inside_a_game():
    with one_thread(), frozen_state(nn.Linear(2, 2), torch.device("cpu")):
        assert torch.get_num_threads() == 3


def test_estimates_and_games_take_one(monkeypatch):
    seen = []

    def watch(*args, **options):
        seen.append(torch.get_num_threads())
        raise RuntimeError

    monkeypatch.setattr(identity, "measure", watch)
    with pytest.raises(RuntimeError):
        estimate.identity_bits(torch.randn(64, 4, generator=torch.Generator().manual_seed(0)), 2)
    monkeypatch.setattr("ptaudit.games.identity.play.IdentityPlay.on_view", watch)
    with pytest.raises(RuntimeError):
        run_game(None, GAMES["identity"](name="identity"), ...)
    assert seen == [1, 1]


def test_side_by_side_is_map_in_order_and_at_the_same_time():
    barrier = threading.Barrier(2, timeout=20)

    def call(number, other):
        barrier.wait()  # of calls one after the other the first would wait for ever
        return number + other, torch.get_num_threads()

    with one_thread():
        assert side_by_side(call, [1, 2], [10, 20]) == [(11, 1), (22, 1)]
    assert torch.get_num_threads() == 3


def test_side_by_side_outside_of_games_and_on_one_thread_is_map():
    calls = []
    assert side_by_side(lambda x: calls.append(x) or threading.current_thread().name, [1, 2]) == ["MainThread"] * 2
    torch.set_num_threads(1)
    with one_thread():
        assert side_by_side(lambda x: threading.current_thread().name, [1]) == ["MainThread"]
    assert calls == [1, 2]


def test_an_error_comes_through():
    def fail(x):
        raise ValueError(x)

    with pytest.raises(ValueError, match="4"), one_thread():
        side_by_side(fail, [4])


BOOSTED = """
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads as threads
import torch
from ptaudit.threads import one_thread, side_by_side
torch.set_num_threads(2)
with one_thread():
    print(side_by_side(lambda call: threads(), [1, 2]))
"""


def test_trees_take_one_thread_there_too_whatever_was_imported_first():
    """Each library may bring an OpenMP of its own, whose limits are those of the thread that set them."""
    two = {**os.environ, "OMP_NUM_THREADS": "2"}
    told = subprocess.run([sys.executable, "-c", BOOSTED], capture_output=True, text=True, check=True, env=two)
    assert told.stdout.strip() == "[1, 1]"
