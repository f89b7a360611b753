"""The content game on networks whose gradients are known to give a record away, or nothing of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from content_case import found, game, only, pictures
from torch import nn

from ptaudit.data import Records
from ptaudit.games.content.measure import draw
from ptaudit.stats.fidelity import MOST_PSNR
from ptaudit.views.view import View

N = 240


def network(inputs=64, hidden=24):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, 2))


@pytest.fixture(scope="module")
def alone():
    return game(network(), *pictures(N))


def test_one_record_is_rebuilt_exactly_from_the_first_linear_layer(alone):
    seen = found(alone)
    for scope in (0, 1):  # all layers jointly, and the first
        assert seen["explained_variance"][scope].value > 0.999
        assert seen["psnr_db"][scope].value == pytest.approx(MOST_PSNR)
        assert seen["ssim"][scope].value > 0.999
        assert seen["bits"][scope].value > 100.0
    for metric in ("bits", "explained_variance", "psnr_gain_db", "ssim_gain"):
        for one in seen[metric]:
            assert abs(one.null) < 0.05, metric
            assert one.n == N


def test_gradients_of_other_records_tell_no_more_than_the_prior(alone):
    turned = replace(alone, targets=alone.targets[torch.randperm(N, generator=torch.Generator().manual_seed(1))])
    seen = found(turned)
    for metric in ("bits", "explained_variance", "psnr_gain_db", "ssim_gain"):
        for one in seen[metric]:
            assert one.lo <= 0.01, metric
            assert one.value < 0.03, metric


def test_noise_hides_and_so_do_others():
    explained = []
    for noise in (0.0, 0.1, 1.0, 30.0):
        played = game(network(), *pictures(N), View("dp", 1, clip=1.0, noise_std=noise))
        explained.append(found(played)["explained_variance"][0].value)
    assert explained[0] > 0.999
    assert explained[0] > explained[1] > explained[2] + 0.05
    assert explained[3] < 0.05
    eight = found(game(network(), *pictures(N), View("eight", 8)))["explained_variance"]
    assert 0.0 <= eight[0].value < 0.3


def test_a_smaller_view_reads_no_more_than_its_source():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 2))
    x, _ = pictures(N)
    whole = game(net, x, torch.randint(2, (N,), generator=generator))
    most = found(whole)["explained_variance"]
    last = found(only(whole, [1, 2]))["explained_variance"]
    assert last[0].value <= most[0].value
    assert max(one.value for one in last[1:]) <= last[0].value + 0.03
    assert most[2].value > 0.1  # not because nothing is there


@pytest.mark.parametrize("size", [1, 4])
def test_the_plainest_attacker_does_not_find_more(size):
    """Row with the largest bias gradient, divided by it: by autograd, with no code of the package."""
    net, (x, y), view = network(), pictures(N), View("v", size)
    seen = found(game(net, x, y, view))["explained_variance"]
    mean, errors, priors = x.mean(0), [], []
    generator = torch.Generator().manual_seed(3)
    for target in range(N):
        others = torch.randperm(N, generator=generator)
        batch = torch.cat([torch.tensor([target]), others[others != target][: size - 1]])
        net.zero_grad()
        nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
        bias = net[1].bias.grad
        row = int(bias.abs().argmax())
        rebuilt = (net[1].weight.grad[row] / bias[row]).clamp(0.0, 1.0).view_as(mean)
        # It may draw its answer towards the mean picture, as far as is best.
        errors.append(torch.stack([(mean + s * (rebuilt - mean) - x[target]).square().mean() for s in (1.0, 0.5, 0.2)]))
        priors.append((mean - x[target]).square().mean())
    plain = 1.0 - float(torch.stack(errors).mean(0).min() / torch.stack(priors).mean())
    assert seen[0].hi >= plain - 1e-6
    assert seen[1].hi >= plain - 1e-6
    assert plain > (0.999 if size == 1 else 0.0)


def test_fields_of_a_table_and_tokens_of_a_text_are_read_off_one_gradient():
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(4, (N,), generator=generator)
    rows = torch.cat([torch.randn(N, 2, generator=generator), nn.functional.one_hot(kind, 4).float()], 1)
    labels = torch.randint(2, (N,), generator=generator)
    seen = found(game(network(6, 16), rows, labels))
    assert seen["fields"][1].value > 0.999
    assert seen["fields_gain"][1].value == pytest.approx(1.0 - seen["fields"][1].null, abs=0.02)
    assert "psnr_db" not in seen

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(700, 8), nn.Linear(8, 2)

        def forward(self, ids):
            return self.head(self.embed(ids).mean(1))

    torch.manual_seed(0)
    ids = (torch.rand(N, 6, generator=generator) ** 3 * 60).long() * 11
    played = game(Bag(), ids, labels, records=Records(ids, labels, 2))
    seen = found(played)
    assert seen["tokens"][1].value > 0.99
    assert seen["bits"][1].value > 0.95 * seen["bits"][1].ceiling
    assert seen["tokens_gain"][1].lo > 0.3
    assert seen["tokens"][2].value < 0.9  # the head sees the mean embedding alone


def test_what_is_no_number_is_inconclusive_and_too_few_records_are_too(alone):
    tokens = alone.observation.tokens.clone()
    tokens[1] = np.nan
    seen = replace(alone.observation, tokens=tokens, sums=None)
    lost = found(replace(alone, observation=seen))["bits"]
    assert "not finite" in lost[2].status
    assert not lost[0].conclusive
    few = game(network(), *pictures(100), View("eight", 8))
    assert all("needs 160 records" in one.status for row in found(few).values() for one in row)


def test_no_batch_has_records_of_two_folds_and_every_record_is_asked_for():
    drawn = draw(200, View("three", 3, rounds=2), False, torch.Generator().manual_seed(0))
    fold = torch.full((200,), -1)
    for batch, of in zip(drawn.members.permute(1, 0, 2).flatten(1), drawn.fold):
        assert set(fold[batch].tolist()) <= {-1, int(of)}
        fold[batch] = of
    assert set(drawn.record.tolist()) == set(range(200))
    assert (drawn.members[:, :, 0] == drawn.record).all()


def test_the_same_seed_gives_the_same_numbers(alone):
    one, two = (found(alone, seed=4)["bits"] for _ in range(2))
    assert [(e.value, e.lo, e.null) for e in one] == [(e.value, e.lo, e.null) for e in two]
