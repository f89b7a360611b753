"""What is known of inversion attacks: where they are exact, and where nothing is to be had."""

from dataclasses import replace

import pytest
import torch
from inversion_cases import classes, dense, granted, pictures, psnr, seen_of, shared, sigmoid_lenet, update
from torch import nn

from ptaudit.attacks.inversion.messages import Budget
from ptaudit.attacks.inversion.registry import ATTACKS
from ptaudit.views.view import Update

LIKE = pictures(64, seed=9)


def rebuilt(name, seen, known, **budget):
    return ATTACKS[name].rebuild(seen, known, Budget(**budget), torch.Generator().manual_seed(0))


def prior_psnr(x):
    return psnr(LIKE.mean(0).expand_as(x), x)


def test_analytic_gives_a_record_back_exactly():
    x, y, model = pictures(6)[:, None], classes(6)[:, None], dense()
    found = rebuilt("analytic", seen_of(model, x, y), granted(model, LIKE))
    assert torch.allclose(found.records, x, atol=1e-4)
    assert torch.equal(found.labels, y)
    assert not found.unsolved.any()
    assert found.objective.max() < 1e-10


@pytest.mark.parametrize("labels", [True, False])
def test_analytic_takes_a_batch_apart_and_proves_it(labels):
    x, y, model = pictures(16).view(4, 4, 1, 12, 12), classes(16).view(4, 4), dense(hidden=512)
    found = rebuilt("analytic", seen_of(model, x, y), granted(model, LIKE, labels=y if labels else None))
    assert not found.unsolved.any()
    assert psnr(found.records, x).min() > 60.0
    assert torch.equal(found.labels.sort(1).values, y.sort(1).values)
    assert found.objective.max() < 1e-6


def test_analytic_says_what_it_could_not_prove():
    # Two units, and no record alone in either.
    x, y, model = pictures(12).view(2, 6, 1, 12, 12), classes(12).view(2, 6), dense(hidden=2)
    found = rebuilt("analytic", seen_of(model, x, y), granted(model, LIKE))
    assert found.unsolved.sum() >= 8
    assert torch.equal(found.records[found.unsolved], LIKE.mean(0).expand(int(found.unsolved.sum()), -1, -1, -1))


def test_analytic_says_nothing_of_batches_whose_proofs_are_upset():
    x, y, model = pictures(4).view(1, 4, 1, 12, 12), classes(4).view(1, 4), dense()
    seen, known = seen_of(model, x, y), granted(model, LIKE)
    for told in ((seen, replace(known, clip=1.0)), (replace(seen, noise_std=0.1), known)):
        assert "clipping, noise" in ATTACKS["analytic"].why_not(*told)
    one = seen_of(model, x[:, :1], y[:, :1])
    assert ATTACKS["analytic"].why_not(replace(one, noise_std=0.1), replace(known, clip=1.0)) == ""


def test_analytic_reads_one_record_from_an_update_of_several_steps():
    x, y, model = pictures(3)[:, None], classes(3)[:, None], dense()
    seen = [[update(model, a, b, 4, 0.1)] for a, b in zip(x, y)]
    found = rebuilt("analytic", shared(seen, 1, update=Update(4, 0.1)), granted(model, LIKE))
    assert torch.allclose(found.records, x, atol=1e-3)


def test_analytic_under_noise_is_between_the_record_and_the_prior():
    x, y, model = pictures(40)[:, None], classes(40)[:, None], dense()
    errors = []
    for noise in (0.0, 0.02, 0.2, 20.0):
        seen, generator = seen_of(model, x, y), torch.Generator().manual_seed(3)
        noisy = {p: g + noise * torch.randn(g.shape, generator=generator) for p, g in seen.gradients.items()}
        seen = type(seen)(noisy, 1, noise_std=noise)
        errors.append(float((rebuilt("analytic", seen, granted(model, LIKE)).records - x).square().mean()))
    of_prior = float((LIKE.mean(0) - x).square().mean())
    assert errors == sorted(errors)
    assert errors[0] < 1e-8
    assert errors[1] < 0.5 * of_prior
    assert errors[-1] < 1.3 * of_prior


def test_analytic_needs_a_layer_that_is_given_the_record():
    assert "no linear layer" in ATTACKS["analytic"].why_not(
        seen_of(sigmoid_lenet(), pictures(1)[None], classes(1)[None]), granted(sigmoid_lenet(), LIKE)
    )
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 5, bias=False))
    seen = seen_of(model, pictures(1)[None], classes(1)[None])
    assert "not both shared" in ATTACKS["analytic"].why_not(seen, granted(model, LIKE))


def test_dlg_rebuilds_a_picture_of_28_pixels_and_its_label():
    x, y, model = pictures(1, 28)[None], torch.tensor([[1]]), sigmoid_lenet(28)
    found = rebuilt("dlg", seen_of(model, x, y), granted(model, pictures(64, 28, seed=9)), iterations=150)
    assert psnr(found.records, x).item() > 30.0
    assert found.labels.item() == 1
    assert found.objective.item() < 1e-4


def test_dlg_rebuilds_from_an_update_and_from_the_gradient_of_some_layers():
    x, y, model = pictures(1)[:, None], classes(1)[:, None], sigmoid_lenet()
    seen = shared([[update(model, a, b, 3, 0.05)] for a, b in zip(x, y)], 1, update=Update(3, 0.05))
    assert psnr(rebuilt("dlg", seen, granted(model, LIKE), iterations=150).records, x).min() > 30.0
    whole = seen_of(model, x, y)
    first = type(whole)({path: g for path, g in whole.gradients.items() if not path.startswith("7")})
    assert psnr(rebuilt("dlg", first, granted(model, LIKE, labels=y), iterations=150).records, x).min() > 30.0


@pytest.mark.parametrize("name", ["inverting-gradients", "grad-inversion"])
def test_searches_beat_the_prior_and_not_on_the_gradient_of_another_record(name):
    x, y, model = pictures(4, seed=2)[:, None], classes(4)[:, None], sigmoid_lenet()
    found = rebuilt(name, seen_of(model, x, y), granted(model, LIKE), iterations=200, restarts=2)
    assert torch.equal(found.labels, y)
    gain = psnr(found.records, x) - prior_psnr(x)
    assert gain.min() > 2.0
    of_prior = (LIKE.mean(0) - x).square().mean()
    for shift in (1, 2, 3):
        assert (found.records.roll(shift, 0) - x).square().mean() > of_prior


def test_restarts_are_searches_of_the_same_target_and_the_best_one_is_kept():
    x, y, model = pictures(2)[:, None], classes(2)[:, None], sigmoid_lenet()
    seen, known = seen_of(model, x, y), granted(model, LIKE)
    one, three = (rebuilt("inverting-gradients", seen, known, iterations=40, restarts=r) for r in (1, 3))
    assert (three.objective <= one.objective + 0.02).all()
    assert three.objective.sum() < one.objective.sum()


def test_a_batch_is_rebuilt_by_search():
    x, y, model = pictures(2)[None], torch.tensor([[0, 1]]), sigmoid_lenet()
    found = rebuilt("dlg", seen_of(model, x, y), granted(model, LIKE, labels=y), iterations=150)
    assert (psnr(found.records, x) - prior_psnr(x)).mean() > 5.0


def test_a_budget_of_no_time_is_said_to_have_run_out():
    x, y, model = pictures(1)[None], classes(1)[None], sigmoid_lenet()
    for name in ("dlg", "inverting-gradients", "grad-inversion"):
        found = rebuilt(name, seen_of(model, x, y), granted(model, LIKE), seconds=1e-9)
        assert found.ran_out
        assert found.iterations == 0
