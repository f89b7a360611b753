"""Fisher information: an efficient attacker reaches the bounds and never beats them; the tables say what they are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from audit_case import call, write_spec
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap

from ptaudit.auditing import check
from ptaudit.games.fisher_information.measure import Population, bounds
from ptaudit.games.fisher_information.training import of_training
from ptaudit.gradients.input_jacobian import Precision, SingularValues, singular_values
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.spec.registry import GAMES
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.fisher import fisher_loss, least_mse, mean_information
from ptaudit.tables.folder import read_run
from ptaudit.tables.row import find
from ptaudit.training.loss import cross_entropy
from ptaudit.views import View

NOISE, CLIP = 1e-4, 0.5
VIEW = View("dp", batch_size=8, clip=1.0, noise_std=2.0)
ONE = Population(spread=1.0, extent=1.0)


def network(d=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(d, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def released(model, target, clip=CLIP):
    """The clipped gradient of one record as a function of its input."""
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def release(x):
        def lost(weights):
            return cross_entropy(functional_call(model, weights, (x[None],)), target[None]).squeeze()

        found = torch.cat([g.flatten() for g in grad(lost)(weights).values()])
        return found * (clip / found.norm()).clamp(max=1.0)

    return release


def matched(release, truth, seen, steps=3):
    """The plainest efficient attacker: from near the truth, the input whose gradient is nearest to what was seen."""
    x = truth.expand(len(seen), -1)
    for _ in range(steps):
        residual = seen - vmap(release)(x)
        x = x + torch.einsum("ndp,np->nd", torch.linalg.pinv(vmap(jacrev(release))(x)), residual)
    return x


@pytest.mark.parametrize("target", [0, 2])
def test_an_attacker_that_matches_the_gradient_reaches_the_bound_and_does_not_beat_it(target):
    """With a little noise the maximum likelihood is unbiased and efficient, clipped or not."""
    model, x, y = network(), torch.tensor([0.8, -1.1, 0.3, 1.6]).double(), torch.tensor(target)
    losses = RecordLosses(model, cross_entropy, x[None], y[None])
    found = singular_values(losses, ["0", "2", "4"], CLIP, Precision())
    release, d = released(model, y), 4
    generator = torch.Generator().manual_seed(0)
    truth = release(x)
    noise = NOISE * torch.randn(1000, len(truth), generator=generator, dtype=torch.float64)
    errors = matched(release, x, truth + noise) - x
    jacobian = jacrev(release)(x)
    # Along the direction that the gradient tells most of, the standard error is 1 / eta.
    top = torch.linalg.svd(jacobian)[2][0]
    eta = float(fisher_loss(found.largest_sq[0].numpy(), NOISE)[0])
    error = float((errors @ top).std())
    assert 1.0 / eta * 0.95 < error < 1.1 / eta
    # Over all numbers it is that of the whole Fisher information, of which the trace gives a lower bound.
    mse = float(errors.square().mean())
    exact = NOISE**2 * float(torch.linalg.inv(jacobian.T @ jacobian).trace()) / d
    assert exact * 0.95 < mse < exact * 1.1
    assert mse >= float(least_mse(mean_information(found.sum_sq[0].numpy(), d, NOISE))[0])


def test_who_knows_the_others_of_a_batch_learns_as_much_as_of_one_record():
    """A sum of five records, four of them known: what is left is the release of the fifth."""
    model, y = network(), torch.tensor(1)
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    release = released(model, y)
    each = vmap(release)(inputs)
    noise = NOISE * torch.randn(1000, each.shape[1], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    errors = matched(release, inputs[0], each.sum(0) + noise - each[1:].sum(0)) - inputs[0]
    found = singular_values(RecordLosses(model, cross_entropy, inputs[:1], y[None]), ["0", "2", "4"], CLIP, Precision())
    top = torch.linalg.svd(jacrev(release)(inputs[0]))[2][0]
    assert float((errors @ top).std()) == pytest.approx(
        1.0 / fisher_loss(found.largest_sq[0].numpy(), NOISE)[0], rel=0.1
    )


def test_only_who_knows_more_than_mean_and_spread_beats_the_bound_of_the_prior():
    """Inputs on a line: the guess along it beats what holds for a round prior, by less than the prior itself tells."""
    generator = np.random.default_rng(0)
    d, noise = 6, 1.0
    jacobian, _ = np.linalg.qr(generator.standard_normal((20, d)))
    spread = 1.0
    along = generator.standard_normal(4000) * math.sqrt(d) * spread
    x = along[:, None] * np.eye(d)[0]
    seen = x @ jacobian.T + noise * generator.standard_normal((4000, 20))
    naive = seen @ jacobian / noise**2
    round_prior = naive / (1.0 / noise**2 + 1.0 / spread**2)
    knows_the_line = naive[:, :1] / (1.0 / noise**2 + 1.0 / (d * spread**2))
    bound = float(least_mse(mean_information(float(d), d, noise), spread))
    assert ((round_prior - x) ** 2).mean() >= bound * 0.97
    assert ((knows_the_line - x[:, :1]) ** 2).sum(1).mean() / d < bound / 2.0


def values(largest, total, columns=4, steps=4, doubts=None):
    largest, total = torch.as_tensor(largest).double(), torch.as_tensor(total).double()
    return SingularValues(largest, total, columns, steps, doubts or ("",) * len(largest))


def test_noise_and_rounds_scale_the_loss_and_batches_do_not():
    generator = torch.Generator().manual_seed(0)
    largest = torch.rand(2, 40, generator=generator) + 0.1
    found = values(largest, 3.0 * largest)

    def loss(**changes):
        return bounds(found, replace(VIEW, **changes), ONE, 0)["fisher_loss"][0].value

    assert loss() == pytest.approx(float(np.median(np.sqrt(largest[0].numpy()))) / 2.0)
    assert loss(noise_std=1.0) == pytest.approx(2.0 * loss())
    assert loss(rounds=4) == pytest.approx(2.0 * loss())
    assert loss(batch_size=64) == loss(users=3) == loss()


def test_the_worst_record_is_the_largest_of_those_looked_at():
    largest = torch.arange(1.0, 41.0)[None].square()
    found = bounds(values(largest, largest), VIEW, ONE, 0)
    worst = found["fisher_loss_max"][0]
    assert (worst.value, worst.lo, worst.hi, worst.n) == (20.0, 20.0, 20.0, 40)
    assert found["fisher_loss"][0].value == 10.25
    # By few products the largest singular value is known up to a gap, which the upper ends hold.
    rough = bounds(values(largest, largest, columns=900, steps=16), VIEW, ONE, 0)
    assert rough["fisher_loss_max"][0].lo == 20.0 < rough["fisher_loss_max"][0].hi < 23.0
    assert rough["fisher_loss"][0].value == 10.25
    assert rough["fisher_loss"][0].hi > found["fisher_loss"][0].hi


def test_decibels_are_those_of_the_least_error_and_of_a_guess_where_nothing_is_told():
    total = torch.full((2, 30), 16.0)
    total[1] = 0.0
    told, silent = bounds(values(total, total), VIEW, Population(spread=0.5, extent=2.0), 0)["psnr_hi_db"]
    # Information 16 / (4 * 2^2) = 1, and 1 / 0.25 = 4 of the prior: a mean squared error of 1 / 5.
    assert told.value == told.lo == told.hi == pytest.approx(10.0 * math.log10(4.0 * 5.0))
    assert silent.value == silent.null == told.null == pytest.approx(10.0 * math.log10(4.0 / 0.25))


def test_a_population_is_its_spread_within_classes_and_its_extent():
    inputs = (torch.tensor([[0.0, 2.0], [2.0, 2.0], [7.0, 2.0], [7.0, 8.0]]), torch.tensor([[7], [9], [9], [9]]))
    found = Population.of(inputs, torch.tensor([0, 0, 1, 1]))
    # Of each class the sum of squares, as it would be of another record: 2 * 2 and 18 * 2, of 8 numbers.
    assert (found.spread, found.extent) == pytest.approx((math.sqrt(40.0 / 8.0), 8.0))
    whole = Population.of(inputs, torch.zeros(4))
    assert whole.spread == pytest.approx(math.sqrt(inputs[0].double().var(0).mean()))


def test_a_doubtful_layer_is_inconclusive():
    found = bounds(values(torch.ones(2, 9), torch.ones(2, 9), doubts=("", "hidden")), VIEW, ONE, 0)
    for joint, one in found.values():
        assert joint.conclusive
        assert one.status == "inconclusive: hidden"


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """Digits, at the untrained model and after training: a record, and noise of three strengths."""
    folder = tmp_path_factory.mktemp("fisher")
    views = [
        {"name": "bare", "batch_size": 2},
        *(
            {"name": f"pruned-{share}", "batch_size": 1, "defense": {"name": "prune", "ratio": share}}
            for share in (0.1, 0.9)
        ),
        *(
            {"name": f"dp-{m}-{s:g}", "batch_size": m, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": s}}
            for m, s in ((2, 1.0), (4, 1.0), (2, 4.0))
        ),
    ]
    gate = {"id": "told", "metric": "fisher-information.fisher_loss", "view": "dp-2-4", "over": "all", "max": 100.0}
    path = write_spec(
        folder,
        train__epochs=8,
        audit__epochs=[0, 8],
        audit__views=views,
        audit__games=[{"name": "fisher-information", "records": 24}],
        gates=[gate | {"needs": "mechanism"}],
    )
    assert call("run", path, "--out", folder / "run", "-q").exit_code == 0
    return read_run(folder / "run")


def test_every_layer_and_epoch_has_a_row_for_each_metric(audited):
    for view in ("dp-2-1", "dp-4-1", "dp-2-4"):
        rows = find(audited.rows, view=view)
        for metric in GAMES["fisher-information"].metrics:
            epochs = (8,) if metric == "fisher_loss_training" else (0, 8)
            there = {(row.epoch, row.layer) for row in rows if row.metric == metric}
            assert there == {(e, name) for e in epochs for name in ("*", "1", "3")}
        assert all(row.status == "ok" and row.n == 24 and row.knows == "others" for row in rows)
        assert all(row.lo <= row.value <= row.hi for row in rows)
    assert all(row.status.startswith("inconclusive: no noise") for row in find(audited.rows, view="bare"))


def test_who_matches_a_pruned_gradient_as_if_it_were_plain_is_led_astray(audited):
    """The more is pruned, the further; it is a static adversary, and no bound on others."""
    little, much = (
        {(row.epoch, row.layer): row for row in find(audited.rows, view=f"pruned-{share}", metric="psnr_hi_db")
         if row.adversary == "inversion-influence"}
        for share in (0.1, 0.9)
    )  # fmt: skip
    assert len(little) == len(much) == 6
    assert all(row.knowledge == "static" and row.knows == "others" for row in (*little.values(), *much.values()))
    assert all(much[place].value < little[place].value for place in much)
    assert all(row.value >= row.null for row in much.values())
    bounds = find(audited.rows, view="pruned-0.9", adversary="cramer-rao")
    assert all(row.status.startswith("inconclusive: no noise") for row in bounds)


def test_batches_tell_no_less_and_four_times_the_noise_a_quarter(audited):
    small, large, noisy = (
        {(row.epoch, row.layer): row.value for row in find(audited.rows, view=view, metric="fisher_loss")}
        for view in ("dp-2-1", "dp-4-1", "dp-2-4")
    )
    assert small == large
    assert {place: value / 4.0 for place, value in small.items()} == pytest.approx(noisy, rel=1e-4)


def test_layers_and_epochs_are_told_apart(audited):
    rows = {(row.epoch, row.layer): row for row in find(audited.rows, view="dp-2-1", metric="fisher_loss")}
    for epoch in (0, 8):
        assert rows[epoch, "*"].value >= max(rows[epoch, "1"].value, rows[epoch, "3"].value)
        assert not rows[epoch, "1"].lo <= rows[epoch, "3"].value <= rows[epoch, "1"].hi
    assert not rows[0, "3"].lo <= rows[8, "3"].value <= rows[0, "3"].hi


def test_eight_epochs_of_sums_tell_as_much_as_the_squares_of_their_losses_add_up_to(audited):
    worst, training = (
        {row.layer: row for row in find(audited.rows, view="dp-2-1", metric=metric, epoch=epoch)}
        for metric, epoch in (("fisher_loss_max", 0), ("fisher_loss_training", 8))
    )
    for layer, row in training.items():
        assert row.value == pytest.approx(math.sqrt(8.0) * worst[layer].value, rel=1e-4)
        assert row.lo == pytest.approx(math.sqrt(8.0) * worst[layer].lo, rel=1e-4)
        assert row.hi == pytest.approx(math.sqrt(8.0) * worst[layer].hi, rel=1e-4)


def test_nobody_who_holds_all_sums_of_a_training_is_surer_than_its_loss_allows():
    """The best unbiased estimator of an input that linear gradients of four weights show, each in several sums."""
    generator = np.random.default_rng(0)
    sums, jacobians = (1, 2, 3, 4), generator.normal(size=(4, 12, 5)) * np.array([0.3, 1.0, 3.0, 1.0])[:, None, None]
    x, noise = generator.normal(size=5), 2.0
    shown = np.concatenate([np.repeat(j[None], count, 0) for j, count in zip(jacobians, sums)]).reshape(-1, 5)
    seen = shown @ x + noise * generator.normal(size=(4000, len(shown)))
    error = np.sqrt(np.linalg.eigvalsh(np.cov(np.linalg.pinv(shown) @ seen.T)).min())
    losses = fisher_loss(np.linalg.norm(jacobians, 2, axis=(1, 2)) ** 2, noise)
    worst = {e: Estimate(v, v, v, 0.0, math.nan, 1) for e, v in zip((0, 1, 3, 6, 10), (*losses, 0.0))}
    total = of_training(worst)[10]
    assert total.lo <= 1.0 / error <= total.hi * 1.05
    same = of_training(dict.fromkeys((0, 4), worst[1]))[4]
    assert same.lo == same.value == pytest.approx(2.0 * losses[1])  # of the same weights the bound is reached


def test_a_training_whose_beginning_was_not_audited_is_inconclusive():
    one, lost = Estimate(1.0, 1.0, 1.0, 0.0, math.nan, 9), inconclusive("too few records")
    assert of_training({}) == of_training({4: one}) == {}
    assert "needs epoch 0" in of_training({4: one, 8: one})[8].status
    told = of_training({0: one, 2: lost, 4: one})
    assert told[2].conclusive
    assert not told[4].conclusive


def test_a_gate_that_needs_a_mechanism_passes_on_the_bound(audited):
    (verdict,) = audited.verdicts
    assert (verdict.outcome, verdict.rows, verdict.warning) == ("pass", 3, "")


def test_check_asks_for_no_more_records_than_the_game_looks_at(tmp_path):
    """It draws no batches, however large those of a view are."""
    views = [{"name": "dp", "batch_size": 64, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": 1.0}}]
    path = write_spec(tmp_path, audit__views=views, audit__games=["fisher-information"])
    assert [one.why_not for one in check(path).limits] == [""]
    path = write_spec(tmp_path, audit__views=views, audit__games=["fisher-information", "identity"])
    assert {one.game: bool(one.why_not) for one in check(path).limits} == {
        "fisher-information": False,
        "identity": True,
    }
