"""Coordinates, closed forms, critics and their training: what the variational estimators are made of."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from critic_problems import normal, parts
from scipy import stats

from ptaudit.estimators.base import STOP, TRAIN, Pairs
from ptaudit.estimators.bounds import rivals
from ptaudit.estimators.critics import CRITICS, JointCritic, Separable
from ptaudit.estimators.gaussianise import fit_margins, fit_sphere
from ptaudit.estimators.infonce import InfoNCE
from ptaudit.estimators.infonce import measure as infonce
from ptaudit.estimators.mine import DonskerVaradhan
from ptaudit.estimators.nwj import NWJ
from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.estimators.smile import Smile
from ptaudit.estimators.start import start, true_correlations
from ptaudit.estimators.training import CriticPart, TrainingPlan, train

BOUNDS = {"infonce": InfoNCE(), "nwj": NWJ(), "mine": DonskerVaradhan(), "smile": Smile()}


def test_normal_scores_are_ranks_of_the_normal_distribution_and_any_monotone_map_leaves_them() -> None:
    values = torch.distributions.StudentT(1.0).sample((500,)).double()
    scores = fit_margins(values[None, :, None])(values[None, :, None])[0, :, 0]
    expected = stats.norm.ppf((stats.rankdata(values.numpy()) - 0.5) / 500)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-9)
    mapped = torch.asinh(values)[None, :, None]
    np.testing.assert_allclose(fit_margins(mapped)(mapped)[0, :, 0].numpy(), expected, atol=1e-9)


def test_normal_scores_of_new_values_keep_their_order_inside_and_outside_the_knots() -> None:
    fit = fit_margins(torch.tensor([0.0, 1.0, 1.0, 1.0, 5.0, 9.0])[None, :, None])
    new = torch.tensor([-1e9, -1.0, 0.0, 0.5, 1.0, 3.0, 9.0, 10.0, 1e9])[None, :, None]
    scores = fit(new)[0, :, 0]
    assert bool((scores.diff() > 0).all())
    assert bool(torch.isfinite(scores).all())
    assert scores[4] == pytest.approx(stats.norm.ppf((1 + 1.5) / 6), abs=1e-6), "ties share the rank in their middle"


def test_a_constant_coordinate_becomes_a_constant() -> None:
    points = torch.stack([torch.randn(100, generator=torch.Generator().manual_seed(0)), torch.full((100,), 3.0)], -1)
    scores = fit_margins(points[None])(points[None])[..., :2]
    white = fit_sphere(scores, 2)(scores)
    assert white[0, :, 0].var(correction=0).item() == pytest.approx(1.0, abs=1e-4)
    assert white[0, :, 1].abs().max().item() == 0.0


def test_canonical_correlations_are_corrected_for_the_number_of_coordinates() -> None:
    rng = np.random.default_rng(0)
    n, d, rho = 2000, 40, 0.6
    x, y = rng.standard_normal((2, n, d))
    y[:, 0] = rho * x[:, 0] + math.sqrt(1 - rho**2) * y[:, 0]
    qx, qy = (np.linalg.qr(side - side.mean(0))[0] for side in (x, y))
    found = torch.as_tensor(np.linalg.svd(qx.T @ qy)[1])
    assert found[0] > 0.615
    corrected = true_correlations(found, d, d, n)
    assert corrected[0].item() == pytest.approx(rho, abs=0.03)
    assert corrected[1:].count_nonzero() <= 1


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_closed_form_of_a_normal_pair_is_its_log_density_ratio(rho: float) -> None:
    pairs = normal(20_000, [rho])
    begun = start(pairs)
    found = ((begun.u * begun.v).sum(-1) + begun.a + begun.b)[0].numpy()
    x, y = pairs.x[0, :, 0].numpy(), pairs.y[0, :, 0].numpy()
    joint = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).logpdf(np.stack([x, y], -1))
    expected = joint - stats.norm.logpdf(x) - stats.norm.logpdf(y)
    assert np.abs(found - expected).mean() < 0.05


def test_closed_form_of_classes_is_the_linear_discriminant() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(2, (1, 20_000), generator=generator)
    x = torch.randn(1, 20_000, 1, generator=generator) + 2.0 * classes[..., None]
    begun = start(Pairs(x, classes, torch.arange(20_000), parts(20_000)))
    found = ((begun.u * begun.v).sum(-1) + begun.a + begun.b)[0].numpy()
    own = stats.norm.logpdf(x[0, :, 0], 2.0 * classes[0])
    both = np.logaddexp(stats.norm.logpdf(x[0, :, 0]), stats.norm.logpdf(x[0, :, 0], 2.0)) - math.log(2)
    bits = (own - both).mean() / math.log(2)
    assert found.mean() / math.log(2) == pytest.approx(bits, abs=0.03)


@pytest.mark.parametrize("critic", list(CRITICS))
def test_a_critic_begins_as_the_closed_form_and_scores_pair_by_pair(critic: str) -> None:
    begun = start(normal(120, [0.5, 0.8], d=3)).pairs(torch.arange(7))
    family = CRITICS[critic]
    weights = family.begin(begun, 0)
    closed = begun.u @ begun.v.mT + begun.a[..., None] + begun.b[:, None]
    torch.testing.assert_close(family.scores(weights, begun, begun), closed)
    moved = tuple(
        w + 0.1 * torch.randn(w.shape, generator=torch.Generator().manual_seed(i)) for i, w in enumerate(weights)
    )
    whole = family.scores(moved, begun, begun)
    for i in range(7):
        for j in range(7):
            alone = family.scores(moved, begun.pairs(torch.tensor([i])), begun.pairs(torch.tensor([j])))
            torch.testing.assert_close(whole[:, i, j], alone[:, 0, 0], atol=1e-5, rtol=1e-4)


def test_a_rival_is_never_of_the_same_record() -> None:
    found = rivals(torch.tensor([4, 4, 7, 9, 9, 9]))
    assert found.records == 3
    torch.testing.assert_close(found.chance.sum(1), torch.ones(6))
    expected = [0.0, 0.0, 1 / 2, 1 / 6, 1 / 6, 1 / 6]
    torch.testing.assert_close(found.chance[0], torch.tensor(expected))
    torch.testing.assert_close(found.mean(torch.tensor([1.0, 3.0, 5.0, 0.0, 0.0, 9.0])), torch.tensor((2 + 5 + 3) / 3))


@pytest.mark.parametrize("name", list(BOUNDS))
def test_values_of_the_pairs_average_to_the_bound(name: str) -> None:
    bound = BOUNDS[name]
    generator = torch.Generator().manual_seed(0)
    scores = 2.0 * torch.randn(3, 40, 40, generator=generator)
    who = rivals(torch.randint(15, (40,), generator=generator))
    choices = bound.choices(scores, who)
    means = bound.means(scores, who, choices)
    for c in range(choices.shape[1]):
        torch.testing.assert_close(
            who.mean(bound.values(scores, who, choices[:, c])), means[:, c], atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("name", list(BOUNDS))
def test_values_of_the_pairs_are_influences(name: str) -> None:
    """Their spread is the effect on the bound of giving a record more weight, by finite differences."""
    bound = BOUNDS[name]
    n = 60
    scores = 1.5 * torch.randn(1, n, n, generator=torch.Generator().manual_seed(1))
    scores.diagonal(dim1=1, dim2=2).add_(2.0)
    who = rivals(torch.arange(n))
    choice = bound.choices(scores, who)[:, 0]
    values = bound.values(scores, who, choice)[0]
    centre = values.mean()
    without = []
    for i in range(n):
        rest = torch.arange(n) != i
        fewer = rivals(torch.arange(n - 1))
        left = scores[:, rest][:, :, rest]
        # The cut and the number of candidates stay those of n records.
        fewer = type(fewer)(fewer.chance, n)
        without.append(bound.values(left, fewer, choice)[0].mean())
    jackknife = (n - 1) * (centre - torch.stack(without))
    assert torch.corrcoef(torch.stack([jackknife, values]))[0, 1] > 0.98
    assert (jackknife.std() / values.std()).item() == pytest.approx(1.0, abs=0.1)


def test_training_raises_the_bound_that_the_closed_form_cannot() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1500, 1, generator=generator)
    sign = torch.randint(2, x.shape, generator=generator) * 2.0 - 1.0
    y = sign * x + 0.3 * torch.randn(x.shape, generator=generator)
    pairs = Pairs(x, y, torch.arange(1500), parts(1500))
    begun, record = start(pairs), torch.arange(1500)
    known, stop = (torch.nonzero(pairs.part == p).flatten() for p in (TRAIN, STOP))
    bound, who = InfoNCE(), rivals(record[stop])
    for critic in (Separable(), JointCritic()):
        given = tuple(CriticPart.at(begun, record, None, index) for index in (known, stop))
        before, after = (train(bound, critic, given, 0, TrainingPlan(steps=steps)).best for steps in (1, 150))
        held = given[1].pairs
        one, two = (bound.means(critic.scores(w, held, held), who, torch.zeros(1, 1)).item() for w in (before, after))
        assert one < 0.1
        assert two > 0.3


@pytest.mark.parametrize("critic", list(CRITICS))
def test_a_problem_gives_the_same_alone_and_beside_others(critic: str) -> None:
    pairs = normal(100, [0.0, 0.9], d=2)
    together = infonce(pairs, 3, critic=critic)
    for p in range(2):
        (alone,) = infonce(Pairs(pairs.x[p : p + 1], pairs.y, pairs.record, pairs.part), 3, critic=critic)
        assert alone.bits.value == pytest.approx(together[p].bits.value, abs=5e-3)
        assert alone.matched_minus_mismatched.value == pytest.approx(
            together[p].matched_minus_mismatched.value, abs=0.05
        )


def test_the_same_seed_gives_the_same_numbers_and_another_does_not() -> None:
    pairs = normal(150, [0.7])
    one, same, other = (infonce(pairs, seed)[0] for seed in (0, 0, 1))
    assert one.bits.value == same.bits.value
    assert np.array_equal(one.bits.draws, same.bits.draws)
    assert one.matched_minus_mismatched.value != other.matched_minus_mismatched.value


def test_an_unknown_critic_is_named() -> None:
    with pytest.raises(ValueError, match="separable, joint"):
        infonce(normal(300, [0.5]), 0, critic="bilinear")


def hidden_by_the_other_half(n: int, k: int, m: int, seed: int, sides: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Exact log density ratios of sums of m records against each of them, `(1, n, n)`, and the half of each.

    With `sides` the others of a batch are records of the other half; without, draws that nobody else has.
    """
    generator = torch.Generator().manual_seed(seed)
    y, side = torch.randn(n, k, generator=generator), (torch.arange(n) >= n // 2).long()
    others = math.sqrt(m - 1) * torch.randn(n, k, generator=generator)
    if sides:
        for half in (0, 1):
            pool = y[side != half]
            drawn = torch.stack([torch.randperm(len(pool), generator=generator)[: m - 1] for _ in range(n // 2)])
            others[side == half] = pool[drawn].sum(1)
    x = y + others
    ratio = -(torch.cdist(x, y) ** 2) / (2 * (m - 1)) + x.square().sum(-1)[:, None] / (2 * m)
    return (ratio + k / 2 * math.log(m / (m - 1)))[None], side


@pytest.mark.parametrize("name", ["infonce", "nwj"])
def test_halves_that_hide_each_other_give_what_independent_draws_give_only_with_sides(name: str) -> None:
    found: dict[str, list[float]] = {"with": [], "without": [], "independent": []}
    for seed in range(4):
        for sides, kinds in ((True, ("with", "without")), (False, ("independent",))):
            scores, side = hidden_by_the_other_half(280, 64, 8, seed, sides)
            for kind in kinds:
                who = rivals(torch.arange(280), None if kind == "without" else side)
                found[kind].append(BOUNDS[name].values(scores, who, torch.full((1,), 1e-3)).mean().item())
    fair, blind, right = (np.mean(found[kind]) / math.log(2) for kind in ("with", "without", "independent"))
    assert fair == pytest.approx(right, abs=0.25)
    assert blind < right - 2.0


def test_rivals_are_of_the_same_side_and_each_row_knows_among_how_many_it_is() -> None:
    found = rivals(torch.tensor([4, 4, 7, 9, 9, 5, 6]), torch.tensor([0, 0, 0, 1, 1, 1, 1]))
    assert found.records == 2
    torch.testing.assert_close(found.candidates, torch.tensor([2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0]))
    torch.testing.assert_close(found.chance.sum(1), torch.ones(7))
    torch.testing.assert_close(found.chance[5], torch.tensor([0.0, 0.0, 0.0, 0.25, 0.25, 0.0, 0.5]))
    values = torch.tensor([1.0, 3.0, 5.0, 0.0, 8.0, 9.0, 7.0])
    torch.testing.assert_close(found.mean(values), torch.tensor((2 + 5 + 4 + 9 + 7) / 5))
    torch.testing.assert_close(found.side_mean(values[None])[0], torch.tensor([3.5] * 3 + [20 / 3] * 4))


@pytest.mark.parametrize("name", list(BOUNDS))
def test_values_average_to_the_bound_and_two_sides_are_two_problems(name: str) -> None:
    bound, generator = BOUNDS[name], torch.Generator().manual_seed(0)
    scores = 2.0 * torch.randn(2, 30, 30, generator=generator)
    side = (torch.arange(30) >= 14).long()
    who = rivals(torch.arange(30), side)
    choice = torch.full((2,), 0.05)
    values = bound.values(scores, who, choice)
    torch.testing.assert_close(who.mean(values), bound.means(scores, who, choice[:, None])[:, 0], atol=1e-4, rtol=1e-4)
    other = scores + 50.0 * (side[:, None] != side)
    torch.testing.assert_close(bound.values(other, who, choice), values, msg="scores across sides say nothing")
    if name == "infonce":
        for half in (0, 1):
            here = side == half
            alone = bound.values(scores[:, here][:, :, here], rivals(torch.arange(int(here.sum()))), choice)
            torch.testing.assert_close(values[:, here], alone)


@pytest.mark.parametrize("name", list(BOUNDS))
def test_pairs_of_two_sides_are_measured_and_their_null_stays_within_them(name: str) -> None:
    pairs = normal(300, [0.9])
    halves = replace(pairs, side=torch.arange(300) % 2)
    (plain,), (found,) = (ESTIMATORS[name](each, 0) for each in (pairs, halves))
    assert found.bits.ceiling == pytest.approx(plain.bits.ceiling - 1.0)
    assert found.bits.value == pytest.approx(plain.bits.value, abs=0.2)
    assert found.matched_minus_mismatched.conclusive
    lonely = torch.arange(300) % 2
    lonely[pairs.part == STOP] = torch.arange(60).clamp_max(1)
    (few,) = ESTIMATORS[name](replace(pairs, side=lonely), 0)
    assert "side of a part" in few.bits.status


@pytest.mark.parametrize("name", list(BOUNDS))
@pytest.mark.parametrize(("d", "noise"), [(1, 0.01), (8, 0.1), (8, 0.01)])
def test_very_strong_dependence_is_never_zero_negative_or_above_the_ceiling(name: str, d: int, noise: float) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(1, 1000, d, generator=generator)
    x = y + noise * torch.randn(y.shape, generator=generator)
    (found,) = ESTIMATORS[name](Pairs(x, y, torch.arange(1000), parts(1000)), 0)
    assert found.bits.lo <= found.bits.value <= found.bits.hi <= found.bits.ceiling
    assert found.bits.value > 5.0
    assert found.matched_minus_mismatched.conclusive, "the number in its own sample is there"
    assert abs(found.matched_minus_mismatched.value) < 100.0
    if d == 8:
        assert found.bits.status == "saturated"


@pytest.mark.parametrize("name", list(BOUNDS))
def test_a_critic_that_says_nothing_gives_zero_with_a_width(name: str) -> None:
    found = [ESTIMATORS[name](normal(300, [0.0], seed=seed, d=2), seed)[0].bits for seed in range(3)]
    assert any(one.value == 0.0 for one in found)
    for one in found:
        assert one.lo < 0.0 < one.hi
        assert one.hi - one.lo > 0.01
        assert one.draws.std() > 0.0
        assert one.status == "ok"


@pytest.mark.parametrize("name", list(BOUNDS))
def test_no_value_is_above_the_entropy_of_the_classes(name: str) -> None:
    classes = torch.randint(3, (1, 400), generator=torch.Generator().manual_seed(0))
    x = classes[..., None] + 0.01 * torch.randn(1, 400, 1, generator=torch.Generator().manual_seed(1))
    (found,) = ESTIMATORS[name](Pairs(x, classes, torch.arange(400), parts(400)), 0)
    assert found.bits.status == "saturated"
    assert 0.95 * found.bits.ceiling < found.bits.value <= found.bits.hi <= found.bits.ceiling


def test_a_critic_that_cannot_be_read_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Separable, "scores", lambda self, w, x, y: torch.nan * sum(v.sum() for v in w) * (x.u @ y.v.mT))
    (found,) = infonce(normal(200, [0.9]), 0)
    assert found.bits.status == "inconclusive: the critic learned nothing from 120 records"
