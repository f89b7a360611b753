"""An inversion attack of somebody else's: one file and a line in the registry."""

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from ptaudit.attacks.inversion.messages import Budget, Granted, InputSpace, SharedGradients
from ptaudit.attacks.inversion.registry import ATTACKS, EVERY_KIND, InversionAttack
from ptaudit.training.loss import cross_entropy
from ptaudit.views.view import Update

MODULE = '''
import torch
from ptaudit.attacks.inversion.messages import Reconstruction

def why_not(seen, granted):
    return "" if granted.prior is not None else "needs a prior"

def rebuild(seen, granted, budget, generator, progress):
    """Always the prior."""
    records = granted.prior.expand(len(seen), seen.records, *granted.space.shape)
    labels = torch.zeros(len(seen), seen.records, dtype=torch.long)
    return Reconstruction(records, labels, torch.zeros(len(seen)), 0, 0.0, False)
'''


@pytest.fixture
def guess(tmp_path, monkeypatch):
    (tmp_path / "guesses.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(ATTACKS, "guess", InversionAttack("guesses", "Guesses the prior.", most_records=4))
    yield ATTACKS["guess"]
    sys.modules.pop("guesses", None)


def seen(targets=3, rounds=2, m=4, **more):
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (2, 5), "bias": (2,)}
    some = {path: torch.randn(targets, rounds, *shape, generator=generator) for path, shape in shapes.items()}
    return SharedGradients(some, m, **more)


def granted(prior=None, kind="table"):
    low, high = torch.tensor(-1.0), torch.tensor(1.0)
    space = InputSpace((5,), kind, low, high, torch.tensor(0.0), torch.tensor(1.0), classes=2)
    return Granted(nn.Linear(5, 2), cross_entropy, space, prior=prior)


def test_a_new_attack_is_called_where_it_applies(guess):
    found = guess.rebuild(seen(), granted(torch.ones(5)), Budget(), torch.Generator())
    assert found.records.shape == (3, 7, 5)
    assert found.records.sum() == 3 * 7 * 5
    assert guess.cost == "closed form"


def test_all_that_keeps_it_from_applying_is_said(guess):
    assert guess.why_not(seen(), granted()) == "needs a prior"
    with pytest.raises(ValueError, match="needs a prior"):
        guess.rebuild(seen(), granted(), Budget(), torch.Generator())
    reason = guess.why_not(seen(m=8, update=Update(2, 0.1)), granted(torch.ones(5), kind="tokens"))
    assert [word in reason for word in ("tokens", "at most 4", "several steps")] == [True] * 3


def test_slots_say_which_records_a_round_holds():
    assert seen(rounds=2, m=3).slots.tolist() == [[0, 1, 2], [0, 3, 4]]
    assert seen(rounds=2, m=3, fixed_batch=True).slots.tolist() == [[0, 1, 2]] * 2
    assert [seen(rounds=4, m=1).records, seen(rounds=4, m=3).records] == [1, 9]
    assert seen(rounds=4, m=3, fixed_batch=True).records == 3


def test_some_targets_are_those_of_what_is_seen_and_granted():
    all_seen, norms = seen(), {"norm": (torch.arange(6.0).view(3, 2, 1), torch.ones(3, 2, 1))}
    all_granted = replace(granted(), labels=torch.tensor([[0], [1], [2]]), batch_norm=norms)
    index = torch.tensor([2, 0])
    assert torch.equal(all_seen.some(index).gradients["bias"], all_seen.gradients["bias"][index])
    some = all_granted.some(index)
    assert some.labels.tolist() == [[2], [0]]
    assert some.batch_norm["norm"][0].flatten().tolist() == [4.0, 5.0, 0.0, 1.0]


@pytest.mark.parametrize("wrong", [{"seconds": 0.0}, {"iterations": 0}, {"restarts": 0}])
def test_a_budget_buys_something(wrong):
    with pytest.raises(ValueError, match="at least one iteration"):
        Budget(**wrong)


@pytest.mark.parametrize("name", list(ATTACKS))
def test_every_attack_says_what_it_does_and_costs(name):
    attack = ATTACKS[name]
    assert attack.says.endswith(".")
    assert set(attack.kinds) <= set(EVERY_KIND)
    assert (attack.cost == "closed form") == (attack.passes == 0)
    assert callable(attack._module.rebuild)
