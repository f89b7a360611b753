"""The user game: known answers of planted users, nulls, who may know what, statuses, observations that do not add
up."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ptaudit.attacks.known import Known
from ptaudit.attacks.nuisance_density import GAUSSIAN
from ptaudit.attacks.two_covariance import Setting, Summed, TwoCovariance, UserBatches, UserMember, fit_two_covariance
from ptaudit.games.user import draws as user_draws
from ptaudit.games.user import measure as user
from ptaudit.views import View, sums
from ptaudit.views.observation import TokenObservation

U, C, K = 300, 8, 16


def planted(count: int, k: int, beta: float, seed: int, users: int = U) -> tuple[Tensor, Tensor]:
    """Users with means N(0, beta^2) and records N(mean, 1), in random order, and their codes."""
    generator = torch.Generator().manual_seed(seed)
    owner = torch.arange(users).repeat_interleave(count)
    means = beta * torch.randn(users, k, generator=generator, dtype=torch.float64)
    tokens = means[owner] + torch.randn(len(owner), k, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(owner), generator=generator)
    return tokens[order][None], 7 * owner[order] + 3


def exact_bits(known: int, m: int, k: int, beta: float, variance: float, candidates: int = 16) -> float:
    """Bits of the exact posterior over planted users, by Monte Carlo.

    Args:
        known: other records of each candidate.
        m: records in the sum.
        k: coordinates.
        beta: spread of the users.
        variance: of all that is in the sum beside the m records' own.
        candidates: K.
    """
    generator = torch.Generator().manual_seed(5)
    total, sets = 0.0, 1500
    for _ in range(sets):
        means = beta * torch.randn(candidates, k, generator=generator, dtype=torch.float64)
        seen = means + torch.randn(candidates, k, generator=generator, dtype=torch.float64) / math.sqrt(known)
        noise = torch.randn(candidates, k, generator=generator, dtype=torch.float64)
        observed = m * means + math.sqrt(m + variance) * noise
        share = beta**2 / (beta**2 + 1.0 / known)
        spread = m + variance + m**2 * share / known
        log_p = (-torch.cdist(observed, m * share * seen).square() / (2.0 * spread)).log_softmax(-1)
        total += float((log_p.exp() * log_p).sum(-1).mean())
    return math.log2(candidates) + total / sets / math.log(2.0)


def measured(tokens, users, view, observation=None, known=None, groups=((0,),), seed=0):
    return user.measure(Known(tokens, view, observation, known), users, groups, seed=seed)


def bits(*args, **options):
    return measured(*args, **options)["likelihood-ratio"]["bits"][0]


def bits_of(found):
    return found["static-likelihood-ratio"]["bits"][0]


class Sign:
    """The signs of a sum, in units of `size`."""

    def __init__(self, tokens: Tensor, size: float = 1.0) -> None:
        self.tokens, self.size = tokens, size

    def observe(self, members, generator):
        return self.size * sums(self.tokens, members).sign()


# Known answers


@pytest.mark.parametrize("m", [1, 2, 4])
def test_planted_users_against_the_exact_posterior(m):
    tokens, users = planted(C, K, 0.6, 1)
    expected = exact_bits(C - m, m, K, 0.6, 0.0)
    found = bits(tokens, users, View("v", m))
    assert found.status == "ok"
    assert found.n == U
    assert found.ceiling == 4.0
    assert found.lo <= expected
    assert 0.92 * expected <= found.value <= 1.08 * expected


@pytest.mark.parametrize(
    ("view", "variance"),
    [
        (View("noise", 2, noise_std=1.0), 1.0),
        (View("rounds", 1, 2, noise_std=1.0), 2.0),
        (View("fixed", 2, 4, noise_std=1.0, fixed_batch=True), 0.25),
        (View("clients", 2, users=2), 2 * 2 * 0.36 + 2),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_noise_rounds_and_other_clients(view, variance):
    """Rounds with batches of their own are one batch of all; a fixed batch only averages the noise."""
    tokens, users = planted(C, K, 0.6, 1)
    expected = exact_bits(C - 2, 2, K, 0.6, variance)
    found = bits(tokens, users, view)
    assert found.lo <= expected
    assert 0.88 * expected <= found.value <= 1.1 * expected


def test_a_sum_has_the_density_of_the_model():
    """Distances and determinants are those of the Gaussian with the posterior of the user's mean, noise included."""
    generator = torch.Generator().manual_seed(2)
    b = torch.tensor([2.0, 0.5, 0.1], dtype=torch.float64)
    mean = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)[None]
    known, observed = (torch.randn(1, 4, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    count, m, noise = torch.tensor([1, 2, 5, 9]), 3, 0.7
    shown = UserBatches(observed, known, count, observed, torch.arange(4)[None], torch.ones(4, dtype=torch.bool))
    two = TwoCovariance(mean[None], eye, eye, b[None])
    setting = Setting(m, others=2, batch=2, noise=noise, learned=False)
    model = Summed(two, setting, torch.ones(1, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64))
    scores = UserMember(0, 3, GAUSSIAN).scores(model(shown))[0]
    for game in range(4):
        expected = []
        for candidate in range(4):
            share = b / (b + 1.0 / count[candidate])
            centre = (m + 4) * mean + m * share * (known[0, candidate] - mean)
            spread = m + 2 * (4 * b + 2) + noise**2 + m**2 * share / count[candidate]
            expected.append(torch.distributions.Normal(centre, spread.sqrt()).log_prob(observed[0, game]).sum())
        assert torch.allclose(scores[game].log_softmax(-1), torch.stack(expected).log_softmax(-1), atol=1e-6)


@pytest.mark.parametrize("robust", [False, True])
def test_scatter_within_and_between_users_is_found(robust):
    """TrainingCanaries along one axis; the basis makes what is within users white."""
    generator = torch.Generator().manual_seed(3)
    owner = torch.arange(400).repeat_interleave(5)
    scale = torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=torch.float64)
    tokens = scale * torch.randn(2000, 4, generator=generator, dtype=torch.float64)
    tokens[:, 1] += 3.0 * torch.randn(400, generator=generator, dtype=torch.float64)[owner]
    two = fit_two_covariance(tokens[None], owner, robust)
    scatter = two.basis[0] @ torch.diag(scale**2) @ two.basis[0].mT
    size = scatter.diagonal().mean()
    assert size == pytest.approx(1.0, rel=0.1)
    assert torch.allclose(scatter / size, torch.eye(4, dtype=torch.float64), atol=0.15)
    between = two.back[0] @ torch.diag(two.between[0]) @ two.back[0].mT
    assert between[1, 1] == pytest.approx(9.0, rel=0.3)
    assert between.diagonal()[[0, 2, 3]].abs().max() < 0.3
    assert torch.allclose(two.basis @ two.back, torch.eye(4, dtype=torch.float64), atol=1e-8)


# Nulls


@pytest.mark.parametrize("m", [1, 3])
def test_records_without_a_user_effect_give_nothing(m):
    tokens, users = planted(6, 32, 0.0, 4)
    for metrics in measured(tokens, users, View("v", m)).values():
        assert metrics["bits"][0].value <= 0.01
        assert metrics["bits"][0].lo == 0.0
        assert metrics["auc"][0].lo <= 0.5 <= metrics["auc"][0].hi
        assert abs(metrics["bits"][0].null) <= 0.01


def test_shuffled_users_give_nothing():
    tokens, users = planted(6, K, 0.8, 5)
    assert bits(tokens, users, View("v", 2)).lo > 1.0
    order = torch.randperm(len(users), generator=torch.Generator().manual_seed(0))
    assert bits(tokens, users[order], View("v", 2)).value <= 0.01


def test_a_batch_of_another_user_gives_nothing():
    tokens, users = planted(6, K, 0.8, 6)
    wrong = TokenObservation(tokens.roll(1, 1))
    assert bits(tokens, users, View("v", 2), observation=wrong, known=wrong).value <= 0.01


# Who knows what


def test_users_with_one_record_take_no_part():
    tokens, users = planted(6, K, 0.6, 7)
    single = torch.full((1, 500, K), 1e6, dtype=torch.float64)
    more, codes = torch.cat([tokens, single], 1), torch.cat([users, -torch.arange(1, 501)])
    answers = user.play(Known(more, View("v", 2)), codes, [[0]], 16, 0)["likelihood-ratio"]
    for half in answers:
        assert int(half.batches.members.max()) < len(users)
    plain, crowded = bits(tokens, users, View("v", 2)), bits(more, codes, View("v", 2))
    assert crowded.n == plain.n == U
    assert crowded.value == pytest.approx(plain.value, abs=0.2)


@pytest.mark.parametrize("view", [View("v", 2), View("v", 2, users=2), View("v", 1, 3)])
def test_no_user_is_both_hers_and_a_candidate(view, monkeypatch):
    """Its own users are no candidates, a batch holds records of one user, and other clients are no candidates."""
    tokens, users = planted(6, 4, 0.6, 8, 200)
    table = torch.unique(users, return_inverse=True)[1]
    seen, fit = [], user.fit_users

    def watched(tokens, users, *rest):
        seen.append(set(users.tolist()))
        return fit(tokens, users, *rest)

    monkeypatch.setattr(user, "fit_users", watched)
    answers = user.play(Known(tokens, view), users, [[0]], 8, 0)["likelihood-ratio"]
    for half, its_own in zip(answers, seen[::2], strict=True):
        owner = table[half.batches.members]
        targets = owner[..., : view.batch_size]
        assert bool((targets == targets[:1, :, :1]).all())
        assert torch.equal(table[half.batches.unit], targets[0, :, 0])
        assert not its_own & set(owner.flatten().tolist())
        assert not set(targets.flatten().tolist()) & set(owner[..., view.batch_size :].flatten().tolist())
        flat = half.batches.members.transpose(0, 1).flatten(1)
        assert all(len(set(batch)) == len(batch) for batch in flat.tolist())


def test_what_is_known_of_a_user_leaves_out_the_batch():
    """Tokens that name their record: the known mean and the batch add up to all records of the user."""
    tokens, users = planted(6, 4, 0.6, 9, 60)
    table = torch.unique(users, return_inverse=True)[1]
    generator = torch.Generator().manual_seed(0)
    users = user_draws.Users(table, (table[:0], table[:0]), 8, View("v", 2))
    drawn = users.draw(torch.arange(60), 100, generator)
    shown = user._user_batches(drawn, tokens, users, TokenObservation(tokens), generator)
    assert shown.count.tolist() == [4] * 60
    for game in range(60):
        own = tokens[0, table == drawn.user[game]].sum(0)
        assert torch.allclose(4 * shown.known[0, game] + shown.observed[0, game], own)
        assert set(drawn.members[0, game].tolist()) == set(drawn.hidden[game].tolist())


# Statuses, tails, observations


def test_too_few_users_are_named():
    tokens, users = planted(5, 4, 0.5, 10, 30)
    found = measured(tokens, users, View("v", 4), groups=[[0], [0]])
    for metrics in found.values():
        assert set(metrics) == {"bits", "accuracy", "gain", "auc", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001"}
        for estimates in metrics.values():
            assert [e.status for e in estimates] == ["inconclusive: needs 40 users with 5 records or more, has 30"] * 2
    assert user.enough(users, 4) == 30
    assert user.enough(users, 5) == 0


def test_gradients_that_are_not_finite():
    tokens, users = planted(5, 4, 0.5, 10, 60)
    tokens[0, 3] = torch.nan
    assert bits(tokens, users, View("v", 2)).status == "inconclusive: gradients that are not finite"


def test_giants_and_dead_rows_do_no_harm():
    tokens, users = planted(6, K, 0.6, 11)
    giants = tokens * torch.where(torch.arange(tokens.shape[1])[:, None] % 401 == 0, 1e4, 1.0)
    rows = torch.cat([tokens, giants, torch.zeros_like(tokens), 1e-12 * tokens])
    found = measured(rows, users, View("v", 2), groups=[[0], [1], [2], [3], [0, 1, 2, 3]])["likelihood-ratio"]["bits"]
    plain, heavy, dead, small, joint = (e.value for e in found)
    assert heavy > 0.6 * plain
    assert dead == pytest.approx(0.0, abs=1e-6)
    assert small == pytest.approx(plain, rel=1e-3)
    assert joint == pytest.approx(plain, rel=0.1)


def test_signs_are_read_best_by_who_prepares_on_them():
    tokens, users = planted(C, K, 0.6, 1)
    view, signs = View("v", 2), Sign(tokens, 20.0)
    adaptive = measured(tokens, users, view, observation=signs, known=signs)
    static = measured(tokens, users, view, observation=signs)
    assert set(static) == {"static-likelihood-ratio", "static-nearest"}
    learned, fixed = adaptive["likelihood-ratio"]["bits"][0], static["static-likelihood-ratio"]["bits"][0]
    assert fixed.value < learned.lo
    assert 0.6 < learned.value / bits(tokens, users, view).value < 1.0


def test_a_static_adversary_may_be_worse_than_no_adversary():
    """A view turned round: who believes in it names the wrong user, who prepares on it finds the gain of -1."""

    class Turned:
        def observe(self, members, generator):
            return -sums(tokens, members)

    tokens, users = planted(C, K, 0.6, 1)
    view, observation = View("v", 2), Turned()
    fixed = bits_of(measured(tokens, users, view, observation=observation))
    assert fixed.hi < 0.0
    assert fixed.draws.mean() == pytest.approx(fixed.value, abs=0.1)
    learned = bits(tokens, users, view, observation=observation, known=observation)
    assert learned.value == pytest.approx(bits(tokens, users, view).value, rel=0.05)


def test_what_adds_up_is_read_as_well_on_a_observation():
    tokens, users = planted(C, K, 0.6, 1)
    observation = TokenObservation(tokens)
    seen = bits(tokens, users, View("v", 2), observation=observation, known=observation)
    assert seen.value == pytest.approx(bits(tokens, users, View("v", 2)).value, rel=0.05)


def test_the_same_seed_gives_the_same_numbers():
    tokens, users = planted(5, 4, 0.5, 12, 60)
    one, two = (bits(tokens, users, View("v", 2, noise_std=1.0), seed=3) for _ in range(2))
    assert (one.value, one.lo, one.hi) == (two.value, two.lo, two.hi)
    assert one.value != bits(tokens, users, View("v", 2, noise_std=1.0), seed=4).value
