"""Whether more batches to learn from would tell more."""

import pytest
import torch

from ptaudit.attacks.batch.learning import learns_more
from ptaudit.attacks.batch.observations import FitObservations, NumberBlock
from ptaudit.games.common.crossfit import data_limited
from ptaudit.stats.estimate import Estimate

LINES = [[0, 1], [1]]


def seen(games, size, seed):
    """Two values, told by the mean of numbers of which each is hardly more than noise."""
    g = torch.Generator().manual_seed(seed)
    secret = torch.arange(games) % 2
    numbers = torch.randn(1, games, 200, generator=g) + size * (2.0 * secret[:, None] - 1.0)
    prior = torch.full((games, 2), 0.5, dtype=torch.float64)
    return FitObservations(
        torch.zeros(1, 3, games, 4, dtype=torch.float64), secret, prior, (NumberBlock((0,), numbers),)
    )


@pytest.mark.parametrize(
    ("games", "size", "more"),
    [(600, 0.1, True), (600, 3.0, False), (600, 0.0, False)],
    ids=["many weak numbers", "numbers that tell all", "nothing to tell"],
)
def test_more_batches_tell_more_where_many_weak_numbers_are_weighed(games, size, more):
    assert learns_more(seen(games, size, 1), seen(800, size, 2), LINES, 0) == [more, False]


def test_a_row_near_its_ceiling_is_not_marked():
    rows = [Estimate(value, value, value, 0.0, 1.0, 10, "ok") for value in (0.5, 0.95)]
    found = data_limited({"bits": rows, "auc": rows}, [True, True])
    assert [[one.status for one in each] for each in found.values()] == [["data-limited", "ok"]] * 2
