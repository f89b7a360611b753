"""Labels from the gradient of the last layer, where it is known that they are there."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from inversion_cases import classes, dense, gradient, granted, pictures, seeded, seen_of, shared, update
from torch import nn

from ptaudit.attacks.inversion import labels
from ptaudit.attacks.inversion.registry import ATTACKS
from ptaudit.views.view import Update

LIKE = pictures(64, seed=9)


def trained(model, steps=30):
    optimizer, x, y = torch.optim.SGD(model.parameters(), lr=0.5), pictures(200, seed=4), classes(200, seed=5)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def without_bias():
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.Sigmoid(), nn.Linear(32, 5, bias=False)))


@pytest.mark.parametrize("model", [dense(), trained(dense()), without_bias()], ids=["fresh", "trained", "no bias"])
def test_the_label_of_one_record_is_always_found(model):
    x, y = pictures(60)[:, None], classes(60)[:, None]
    assert torch.equal(labels.recover(seen_of(model, x, y), granted(model, LIKE)), y)


@pytest.mark.parametrize("m", [2, 8, 32])
def test_counts_are_exact_before_training(m):
    """Where all inputs have nearly the same probabilities: Geng et al., section 3."""
    model = dense()
    with torch.no_grad():
        model[3].weight.mul_(0.05)
    x, y = pictures(10 * m).view(10, m, 1, 12, 12), classes(10 * m).view(10, m)
    found = labels.recover(seen_of(model, x, y), granted(model, LIKE))
    assert torch.equal(found.sort(1).values, y.sort(1).values)


def test_an_update_of_several_steps_tells_the_label_too():
    x, y, model = pictures(20)[:, None], classes(20)[:, None], dense()
    seen = shared([[update(model, a, b, 3, 0.1)] for a, b in zip(x, y)], 1, update=Update(3, 0.1))
    assert torch.equal(labels.recover(seen, granted(model, LIKE)), y)


def test_the_record_of_all_rounds_comes_first():
    x, y, model = pictures(5), torch.tensor([2, 0, 1, 3, 4]), dense()
    with torch.no_grad():
        model[3].weight.mul_(0.05)
    rounds = [gradient(model, x[i], y[i]) for i in (torch.tensor([0, 1, 2]), torch.tensor([0, 3, 4]))]
    found = labels.recover(shared([rounds], 3), granted(model, LIKE))
    assert found[0, 0] == 2
    assert found[0, 1:3].tolist() == [0, 1]
    assert found[0, 3:].tolist() == [3, 4]


def test_it_says_what_it_needs():
    attack, x, y = ATTACKS["labels"], pictures(1)[None], classes(1)[None]
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 5), nn.Softplus())
    assert "class scores" in attack.why_not(seen_of(model, x, y), granted(model, LIKE))
    whole = seen_of(dense(), x, y)
    first = type(whole)({path: g for path, g in whole.gradients.items() if path.startswith("1")})
    assert "last layer (3) is not shared" in attack.why_not(first, granted(dense(), LIKE))
    assert "numbers" in attack.why_not(whole, granted(dense(), LIKE, count=None))


def test_slopes_of_another_loss_are_not_read_as_those_of_cross_entropy():
    x, y, one = pictures(4)[:, None], classes(4, 2)[:, None], dense(count=1)
    seen = seen_of(one, x, y, of=lambda model, x, y: gradient_of(model, bce(model(x), y)))
    assert "cross-entropy" in ATTACKS["labels"].why_not(seen, replace(granted(one, LIKE, count=2), loss=bce))
    smooth, model = partial(nn.functional.cross_entropy, reduction="none", label_smoothing=0.1), dense()
    known = replace(granted(model, LIKE), loss=smooth)
    assert "cross-entropy" in ATTACKS["inverting-gradients"].why_not(seen_of(model, x, classes(4)[:, None]), known)


def bce(scores, targets):
    return nn.functional.binary_cross_entropy_with_logits(scores[:, 0], targets.float(), reduction="none")


def gradient_of(model, losses):
    found = torch.autograd.grad(losses.mean(), list(model.parameters()))
    return {path: g for (path, _), g in zip(model.named_parameters(), found)}
