"""A loop on a CUDA device; runs where there is one."""

from __future__ import annotations

import copy

import pytest
import torch
from loops import ALWAYS, data, net, trace
from torch.nn import functional as F

from ptaudit import Monitor

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def train(model, loader, scaler):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for x, y in [*loader, *loader]:
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.float16, enabled=scaler.is_enabled()):
            loss = F.cross_entropy(model(x.cuda()).float(), y.cuda())
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()


@pytest.mark.parametrize("half", [False, True])
def test_the_training_is_the_same_and_its_leakage_is_known(half):
    model, loader = net().cuda(), data()
    other, before = copy.deepcopy(model), trace(model)
    scalers = [torch.amp.GradScaler("cuda", growth_interval=4, enabled=half) for _ in range(2)]
    torch.manual_seed(0)
    train(other, loader, scalers[0])
    torch.manual_seed(0)
    with Monitor(model, loader, ALWAYS, scaler=scalers[1]) as monitor:
        train(model, loader, scalers[1])
    assert trace(model) == before
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))
    assert all(bits.conclusive and bits.value > 0.3 for bits in monitor.leakage.values())
