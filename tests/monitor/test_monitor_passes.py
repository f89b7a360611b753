"""Which passes of a loop are training passes of their own, and which records are in them."""

from __future__ import annotations

import pytest
import torch
from loops import ALWAYS, attacking, data, net, plain, sgd
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ptaudit import Monitor
from ptaudit.monitor.call_arguments import CallArguments, fingerprints
from ptaudit.sketches.reader import TokenReader


def losses(output, targets):
    return F.cross_entropy(output, targets, reduction="none")


def small():
    """Its layers fit into a token, so that the sketch keeps every inner product."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_tokens_are_those_of_the_records_by_themselves(reduction):
    """At a rate of zero the weights stay, so every record has one true token, also in the last, smaller batch."""
    model, loader = small(), data(200)
    x, y = loader.dataset.tensors
    with Monitor(model, loader, ALWAYS, reduction=reduction) as monitor:
        for inputs, targets in [*loader, *loader]:
            F.cross_entropy(model(inputs), targets, reduction=reduction).backward()
            sgd(model, 0.0).step()
    window = monitor._live.window
    place = {number: i for i, number in enumerate(fingerprints([x]))}
    order = [place[number] for number in window._owners]
    assert sorted(order) == list(range(200))
    reader = TokenReader(model, losses, 64, 0)
    reader.prepare(x, y)
    for mine, true in zip(window.read(), reader.read(x[order], y[order]).values, strict=True):
        assert torch.allclose(mine @ mine.T, true @ true.T, rtol=1e-4, atol=1e-5)


def test_a_changing_scale_of_the_loss_is_taken_out():
    def window(scaler, known):
        model, loader = net(drop=None), data()
        optimizer = sgd(model, 0.0)
        with Monitor(model, loader, ALWAYS, scaler=scaler if known else None) as monitor:
            for x, y in [*loader, *loader]:
                optimizer.zero_grad()
                scaler.scale(F.cross_entropy(model(x), y)).backward()
                scaler.step(optimizer)
                scaler.update()
        values, owners = monitor._live.window.read(), monitor._live.window._owners
        return values[:, sorted(range(len(owners)), key=owners.__getitem__)]

    def growing(enabled):
        return torch.amp.GradScaler("cpu", init_scale=1.0, growth_interval=3, enabled=enabled)

    torch.manual_seed(0)
    bare = window(growing(False), True)
    torch.manual_seed(0)
    assert torch.allclose(window(growing(True), True), bare, rtol=1e-5, atol=1e-7)
    torch.manual_seed(0)
    assert not torch.allclose(window(growing(True), False), bare, rtol=0.5)


def test_only_passes_in_training_mode_with_gradients_are_seen():
    model, loader = net(), data()
    x, y = loader.dataset.tensors
    with Monitor(model, loader, ALWAYS) as monitor:
        with torch.no_grad():
            model(x)
        model.eval()
        F.cross_entropy(model(x), y).backward()
    assert monitor._passes.seen == 0
    assert str(monitor).startswith("0 steps: nothing known yet; 0 of 0 passes")


def test_steps_are_those_of_the_optimizer_also_when_gradients_are_accumulated():
    model, loader = net(), data()
    optimizer, seen = sgd(model), []
    with Monitor(model, loader, ALWAYS, lambda step, layer, bits: seen.append(step)) as monitor:
        for number, (x, y) in enumerate([*loader, *loader], start=1):
            F.cross_entropy(model(x), y).backward()
            if number % 5 == 0:
                optimizer.step()
    assert (monitor._passes.seen, monitor._passes.steps) == (20, 4)
    assert monitor._live.captures == 17  # all but the first three
    assert sorted(set(seen)) == sorted(set(monitor.table["step"]))
    assert max(seen) <= 4


def test_a_forward_pass_that_leads_nowhere_is_left_out():
    model, loader = net(), data()
    optimizer = sgd(model)
    with Monitor(model, loader, ALWAYS) as monitor:
        for number, (x, y) in enumerate([*loader, *loader]):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            if number == 12:
                model(x)  # accuracy on the training set, say, without eval and no_grad
    assert monitor._live.passes == 21
    assert monitor._live.captures == 16  # not the first three, nor that one, nor the one after it
    assert all(info.capture == "rule" for info in monitor._live.reader.layers)


def test_several_forward_passes_that_share_a_backward_pass_are_inconclusive():
    model, loader = net(), data()
    optimizer = sgd(model)
    with Monitor(model, loader, ALWAYS) as monitor:
        for x, y in [*loader, *loader]:
            optimizer.zero_grad()
            (F.cross_entropy(model(x), y) + F.cross_entropy(model(x + 0.1), y)).backward()
            optimizer.step()
    assert monitor._live.captures == 0
    assert len(monitor.table) == 3
    assert set(monitor.table["status"]) == {
        "inconclusive: several forward passes share a backward pass, so that their gradients cannot be told apart"
    }


def test_passes_of_an_attack_on_the_inputs_are_none_of_training():
    model, loader = net(drop=None), data(640)
    with Monitor(model, loader, ALWAYS) as monitor:
        attacking(model, loader)
    assert monitor._passes.seen == 120
    assert 36 <= monitor._live.captures <= 40
    assert all(info.capture == "rule" for info in monitor._live.reader.layers)


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.b(checkpoint(lambda x: self.a(x).relu(), x, use_reentrant=False))


def test_activation_checkpoints_inside_of_the_model():
    model, loader = Checkpointed(), data()
    with Monitor(model, loader, ALWAYS) as monitor:
        plain(model, loader)
    assert monitor._passes.seen == 20
    assert monitor.leakage["*"].conclusive
    assert monitor.leakage["b"].conclusive


def test_layers_that_are_unfrozen_later_are_read_from_then_on():
    model, loader = net(), data()
    model[0].requires_grad_(False)
    with Monitor(model, loader, ALWAYS) as monitor:
        plain(model, loader, 1)
        assert set(monitor.leakage) == {"*", "3"}
        model[0].requires_grad_(True)
        plain(model, loader, 1)
    assert set(monitor.leakage) == {"*", "0", "3"}
    assert all(bits.conclusive for bits in monitor.leakage.values())


def test_rows_are_found_in_whatever_the_model_is_called_with():
    x, ids, mask = torch.randn(5, 3), torch.arange(5), torch.ones(4, 4)
    batch = CallArguments((mask[:0].sum(), {"x": x, "n": 3}), {"ids": ids, "mask": mask, "flag": True, "none": None})
    assert len(batch) == 5
    assert [tuple(tensor.shape) for tensor in batch.rows] == [(5, 3), (5,)]
    args, kwargs = batch.call(lambda *args, **kwargs: (args, kwargs), [x[:2], ids[:2]])
    assert args[1]["x"].shape == (2, 3)
    assert args[1]["n"] == 3
    assert kwargs["ids"].tolist() == [0, 1]
    assert kwargs["mask"] is mask
    assert kwargs["flag"] is True
    assert len(CallArguments((3, "text"), {})) == 0


@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "bfloat16", "int64", "uint8", "bool", "complex64"])
def test_a_record_is_known_by_its_content(kind):
    draws = torch.Generator().manual_seed(0)
    rows = (torch.randn(400, 3, 30, generator=draws) * 40).round().to(getattr(torch, kind))
    if kind == "bool":
        rows = torch.rand(400, 3, 30, generator=draws) < 0.5
    numbers = fingerprints([rows])
    assert len(set(numbers)) == 400
    order = torch.randperm(400, generator=draws)
    assert fingerprints([rows[order]]) == [numbers[i] for i in order]
    changed = rows.clone()
    changed[7, 2, 29] = 1 - rows[7, 2, 29].to(torch.int) if kind == "bool" else rows[7, 2, 29] + 1
    assert [i for i, (a, b) in enumerate(zip(numbers, fingerprints([changed]))) if a != b] == [7]


def test_sparse_content_and_long_rows_are_told_apart():
    one_hot = torch.eye(700)
    assert len(set(fingerprints([one_hot]))) == 700
    assert len(set(fingerprints([one_hot.long()]))) == 700
    long = torch.zeros(3, 150_000)
    long[1, 100] = long[2, 140_000] = 1.0
    assert len(set(fingerprints([long]))) == 3
    assert len(set(fingerprints([torch.zeros(3, 4), torch.tensor([0, 1, 2])]))) == 3
