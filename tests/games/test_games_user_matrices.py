"""The user game on whole gradients: users who share an input, whose exact posterior is enumerated."""

import math

import pytest
import torch
from torch import Tensor

from ptaudit.attacks.agreement import fit_agreement
from ptaudit.attacks.boosted import fit_boosted
from ptaudit.attacks.evidence import Algebra, Candidates
from ptaudit.attacks.known import Known
from ptaudit.games.user import measure as user
from ptaudit.gradients.matrices import BatchSums, Factors
from ptaudit.views import View
from ptaudit.views.observation import TokenObservation

U, RECORDS, CATEGORIES, UNITS, K = 240, 4, 60, 10, 16


def play(view: View, *, shuffled: bool = False):
    """Users of one category each, which is an input of all their records; other inputs and errors are random.

    Returns:
        What the game says, and the category of each user.
    """
    g = torch.Generator().manual_seed(0)
    category = torch.randint(CATEGORIES, (U,), generator=g)
    owner = torch.arange(U).repeat_interleave(RECORDS)[torch.randperm(U * RECORDS, generator=g)]
    kind = torch.nn.functional.one_hot(category[owner], CATEGORIES).float()
    n = len(owner)
    inputs = torch.cat([kind, torch.randn(n, 3, generator=g), torch.ones(n, 1)], 1)
    size = torch.randn(n, 1, generator=g).exp()
    errors = size * torch.randn(n, UNITS, generator=g) * (torch.rand(n, UNITS, generator=g) < 0.5)
    errors[:, 0] = size[:, 0]
    layer = Factors(errors[:, None], inputs[:, None])
    mixing = torch.randn(UNITS * inputs.shape[1], 24, generator=g, dtype=torch.float64)
    tokens = torch.einsum("ni,nj->nij", errors, inputs).flatten(1).double() @ mixing
    seen = TokenObservation(tokens[None].repeat(3, 1, 1), 0.0, BatchSums([[layer]]))
    users = owner[torch.randperm(n, generator=g)] if shuffled else owner
    algebra = Algebra(seen, Candidates([[layer]]))
    found = user.measure(Known(seen.tokens, view, algebra=algebra), users, [[0, 1, 2], [0]], K)
    return found["combined"], category


def exact_bits(category: Tensor, clients: int) -> float:
    """Bits of who knows which categories are in the batch."""
    g, total, games = torch.Generator().manual_seed(3), 0.0, 4000
    for _ in range(games):
        order = torch.randperm(len(category), generator=g)
        candidates, others = category[order[:K]], category[order[K : K + clients - 1]]
        inside = torch.cat([candidates[:1], others])
        total += math.log2(K / int(torch.isin(candidates, inside).sum()))
    return total / games


@pytest.mark.parametrize("clients", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_users_with_an_input_of_their_own_are_named(clients):
    found, category = play(View("v", 2, users=clients))
    expected = exact_bits(category, clients)
    for line in found["bits"]:
        assert line.value >= 0.95 * expected
        assert line.value <= expected + 0.15
        assert abs(line.null) < 0.05


def test_shuffled_users_give_nothing():
    found, _ = play(View("v", 2), shuffled=True)
    assert found["bits"][0].lo <= 0.02


def test_agreement_finds_the_number_that_users_share():
    g = torch.Generator().manual_seed(0)
    shared = torch.randn(200, 8, 1, generator=g)
    seen, known = (torch.cat([shared, torch.randn(200, 8, 30, generator=g)], -1) for _ in range(2))
    weights = fit_agreement(seen, known, torch.arange(8).expand(200, -1)).weights[0]
    assert weights.argmax() == 0
    assert weights[0] > 5.0 * weights[1:].abs().max()


def test_agreement_of_numbers_that_never_vary_is_the_same_for_all():
    fitted = fit_agreement(torch.ones(5, 4, 3), torch.zeros(5, 4, 3), torch.arange(4).expand(5, -1))
    assert not fitted.scores(torch.ones(5, 4, 3), torch.zeros(5, 4, 3)).any()


def test_trees_see_what_only_rivals_reveal():
    """The true candidate has the least number of its game, whatever its level."""
    g = torch.Generator().manual_seed(0)
    statistics = torch.rand(600, 6, 1, generator=g)
    secret = statistics[..., 0].argmin(1)
    statistics = statistics + 100.0 * torch.randn(600, 1, 1, generator=g)
    found = fit_boosted(statistics[:400], secret[:400], 0)(statistics[400:])
    assert (found.argmax(1) == secret[400:]).float().mean() > 0.8
