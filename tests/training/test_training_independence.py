"""A loss of single records is one that does not look at the rest of its batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ptaudit.data import Records
from ptaudit.errors import ModelError
from ptaudit.training.independence import check_independence
from ptaudit.training.loss_check import check_loss

OUTPUT, TARGETS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1, 1, 0])


def each(output, target):
    return F.cross_entropy(output, target, reduction="none")


def contrastive(output, target):
    z = F.normalize(output, dim=1)
    other = ~torch.eye(len(z), dtype=torch.bool)
    positive = (target[:, None] == target) & other
    log_share = (z @ z.T).masked_fill(~other, -1e9).log_softmax(1)
    return -(log_share * positive).sum(1) / positive.sum(1).clamp(min=1)


DEPENDENT = {
    "divided by the batch": (lambda o, y: each(o, y) / len(y), "divides by the number of records: one record has"),
    "contrastive": (contrastive, "depends on the batch: one record has"),
    "centred": (lambda o, y: each(o, y) - each(o, y).mean(), "depends on the batch"),
    "centred in its gradient alone": (
        lambda o, y: each(o, y) - each(o, y).mean() + each(o, y).mean().detach(),
        "gradient of a record's loss depends on the other records",
    ),
    "weights that add up to 1": (
        lambda o, y: each(o, y) * torch.tensor([1.0, 2.0, 4.0])[y] / torch.tensor([1.0, 2.0, 4.0])[y].sum(),
        "depends on the batch",
    ),
    "weights by the classes of the batch": (
        lambda o, y: each(o, y) / torch.bincount(y, minlength=3)[y],
        "depends on the batch",
    ),
    "the hardest only": (
        lambda o, y: each(o, y) * (each(o, y) >= each(o, y).topk(min(16, len(y))).values[-1]),
        "depends on the batch",
    ),
    "cannot be taken of one": (lambda o, y: each(o, y) * o.topk(2, 0).values[0, 0], "cannot be taken of one record"),
    "random": (lambda o, y: each(o, y) * torch.rand(len(y)), "random, or keeps a state"),
}

INDEPENDENT = {
    "cross-entropy": each,
    "weighed by class": lambda o, y: F.cross_entropy(o, y, torch.tensor([1.0, 2.0, 4.0]), reduction="none"),
    "focal": lambda o, y: (1 - (-each(o, y)).exp()) ** 2 * each(o, y),
    "hinge, flat for some": lambda o, y: (1 - o.gather(1, y[:, None])[:, 0]).relu(),
    "of several heads": lambda o, y: each(o["main"], y) + 0.4 * each(o["more"][0], y),
}


@pytest.mark.parametrize("name", DEPENDENT)
def test_a_loss_that_looks_at_its_batch_is_refused_with_the_reason(name):
    loss, reason = DEPENDENT[name]
    before = torch.get_rng_state()
    with pytest.raises(ModelError, match=rf"^train\.loss: .*{reason}.* \(.+\)$"):
        check_independence(loss, OUTPUT, TARGETS)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", INDEPENDENT)
def test_a_loss_of_single_records_is_not(name):
    output = {"main": OUTPUT, "more": (OUTPUT.flip(1), "a name")} if name == "of several heads" else OUTPUT
    check_independence(INDEPENDENT[name], output, TARGETS)


def test_labels_that_come_late_are_looked_at_too():
    """Weights by the classes of the batch show nothing where all records at hand have one class."""
    targets = torch.arange(40) // 20
    records = Records(torch.randn(40, 4), targets, 2)
    with pytest.raises(ModelError, match="depends on the batch"):
        check_loss(nn.Linear(4, 2), records, lambda o, y: each(o, y) * y.float().mean())
    check_loss(nn.Linear(4, 2), records, lambda o, y: each(o, y) * (1 + y))
