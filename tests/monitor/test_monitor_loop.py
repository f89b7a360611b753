"""A monitor changes nothing of the training, and leaves nothing behind."""

from __future__ import annotations

import copy

import pytest
import torch
from loops import ALWAYS, LOOPS, data, net, plain, sgd, trace
from torch import nn
from torch.nn import functional as F

import ptaudit
from ptaudit import Monitor, StopTraining
from ptaudit.errors import DataError, ModelError, PtauditError


def state_after(model):
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    return [p.detach().clone() for p in model.state_dict().values()], grads, torch.get_rng_state()


def same(one, other):
    return all(
        (x is None and y is None) or torch.equal(x, y) for a, b in zip(one, other) for x, y in zip(list(a), list(b))
    )


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_the_training_is_the_same_to_the_last_bit(loop):
    model, loader = net(), data()
    other, before = copy.deepcopy(model), trace(model)
    torch.manual_seed(7)
    loop(other, loader)
    torch.manual_seed(7)
    with Monitor(model, loader, ALWAYS) as monitor:
        loop(model, loader)
    assert monitor.leakage["*"].conclusive
    assert same(state_after(model), state_after(other))
    assert trace(model) == before == trace(model)
    assert monitor.stopped == ""


def test_nothing_is_left_behind_when_the_loop_raises_in_the_middle_of_a_captured_pass():
    model, loader = net(), data()
    before, weights = trace(model), copy.deepcopy(model.state_dict())
    monitor = Monitor(model, loader, ALWAYS)

    def loop():
        with monitor:
            for number, (x, _) in enumerate(loader):
                loss = model(x).square().sum()
                if number == 6:
                    assert trace(model) != before
                    raise ZeroDivisionError
                loss.backward()

    with pytest.raises(ZeroDivisionError):
        loop()
    assert monitor._live.captures == 3
    assert trace(model) == before
    assert all(torch.equal(one, other) for one, other in zip(weights.values(), model.state_dict().values()))
    plain(model, loader)  # goes on without it
    with Monitor(model, loader, ALWAYS) as again:
        plain(model, loader)
    assert again.leakage["*"].conclusive


def test_hooks_and_gradients_of_the_user_stay():
    model, loader, calls = net(), data(), []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    model[0].weight.register_hook(lambda grad: 2 * grad)
    before = trace(model)
    with Monitor(model, loader, ALWAYS):
        plain(model, loader, 1)
    assert trace(model) == before
    assert len(calls) >= len(loader)


def test_copies_made_inside_are_free_of_the_monitor():
    model, loader = net(), data()
    with Monitor(model, loader, ALWAYS) as monitor:
        for x, _ in loader:
            average = copy.deepcopy(model)
            loss = model(x).square().sum() + average(x).square().sum()
            model.zero_grad()
            loss.backward()
    assert monitor._live.captures > 0
    assert monitor._passes.seen == len(loader)


def test_the_callback_sees_every_layer_before_the_step_and_may_stop_the_training():
    model, loader, told, at = net(), data(), [], []

    def on_leakage(step, layer, bits):
        told.append((step, layer, bits))
        at.append(copy.deepcopy(model[0].weight))
        if len(told) == 6:
            raise StopTraining(f"{bits.value:.1f} bits")

    with Monitor(model, loader, ALWAYS, on_leakage) as monitor:
        plain(model, loader, 9)
    assert [(layer, bits.conclusive) for _, layer, bits in told] == [(name, True) for name in ("*", "0", "3")] * 2
    (first, *_), (second, *_) = told[0], told[-1]
    assert first < second == monitor._passes.steps + 1
    assert torch.equal(model[0].weight, at[-1])  # the step that was about to be taken was not
    assert monitor.stopped == f"{told[-1][2].value:.1f} bits"
    assert monitor.stopped in str(monitor)
    assert len(monitor.table) == 6
    assert monitor.leakage["3"] is told[-1][2]


def test_stop_training_ends_the_block_from_anywhere_and_no_other_error_does():
    model, loader = net(), data()
    with Monitor(model, loader) as monitor:
        raise StopTraining
    assert monitor.stopped == "StopTraining was raised"

    def fail(*_):
        raise KeyError("mine")

    before = trace(model)
    with pytest.raises(KeyError, match="mine"), Monitor(model, loader, ALWAYS, fail):
        plain(model, loader)
    assert trace(model) == before


def test_a_callback_may_use_the_model():
    model, loader, scores = net(), data(), []

    def on_leakage(step, layer, bits):
        model.eval()
        with torch.no_grad():
            scores.append(model(loader.dataset.tensors[0]).argmax(1).float().mean())
        model.train()

    with Monitor(model, loader, ALWAYS, on_leakage) as monitor:
        plain(model, loader)
    assert len(scores) == len(monitor.table) > 3


def test_a_model_has_one_monitor_at_a_time_and_a_monitor_one_block():
    model, loader = net(), data()
    with Monitor(model, loader) as monitor, pytest.raises(ModelError, match="another Monitor"), Monitor(model, loader):
        pass
    with pytest.raises(ModelError, match="one block"), monitor:
        pass
    with Monitor(model, loader):
        pass


def test_two_models_may_be_watched_at_once():
    one, two, loader = net(), net(), data()
    linear = F.linear
    with Monitor(one, loader, ALWAYS) as first, Monitor(two, loader, ALWAYS) as second:
        both = torch.optim.SGD([*one.parameters(), *two.parameters()], 0.1)
        for x, y in [*loader, *loader]:
            both.zero_grad()
            (F.cross_entropy(one(x), y) + F.cross_entropy(two(x), y)).backward()
            both.step()
    assert F.linear is linear
    assert first.leakage["*"].conclusive
    assert second._live.captures == 0  # always inside of a pass of the first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": nn.ReLU()}, "no trainable parameters"),
        ({"model": "resnet"}, "no torch.nn.Module"),
        ({"model": nn.DataParallel(nn.Linear(3, 3))}, "several devices"),
        ({"model": nn.Sequential(nn.MultiheadAttention(4, 2), nn.LazyLinear(3))}, "without a shape"),
        ({"model": nn.MultiheadAttention(4, 2)}, "bare attention"),
        ({"loader": 3}, "loader: is nothing to loop over"),
        ({"budget": 0.0}, "budget: must be"),
        ({"budget": float("nan")}, "budget: must be"),
        ({"layers": ["1.*", "c*"]}, "layers: the layer pattern"),
        ({"reduction": "none"}, "reduction: 'none' is neither"),
        ({"noise": -1.0}, "noise: -1.0"),
        ({"on_leakage": 3}, "on_leakage: must be a function"),
    ],
)
def test_what_cannot_be_watched_is_refused(change, message):
    with pytest.raises(PtauditError, match=message):
        Monitor(**({"model": net(), "loader": data()} | change))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_compiled_models_are_refused():
    model = net()
    with pytest.raises(ModelError, match="OptimizedModule: is compiled"):
        Monitor(torch.compile(model), None)
    model[0].compile()
    with pytest.raises(ModelError, match="Linear at 0: is compiled"):
        Monitor(model, None)
    with pytest.raises(ModelError, match="is compiled"):
        Monitor(torch.jit.trace(net().eval(), torch.randn(2, 6)), None)


def test_models_of_opacus_are_refused():
    opacus = pytest.importorskip("opacus")
    with pytest.raises(ModelError, match="GradSampleModule: has Opacus"):
        Monitor(opacus.GradSampleModule(net()), None)


def test_the_loader_may_be_anything_to_loop_over():
    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(data().dataset)

    for loader in (None, [], iter([]), torch.utils.data.DataLoader(Endless(), 8), data(320, 8, drop_last=True)):
        assert Monitor(net(), loader)._hopeless == ""
    with pytest.raises(DataError):
        Monitor(net(), 1.0)


def test_no_torch_before_it_is_used():
    import subprocess
    import sys

    code = "import sys, ptaudit; print('torch' in sys.modules, ptaudit.Monitor.__name__, 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert found.stdout.split() == ["False", "Monitor", "True"]
    assert ptaudit.StopTraining is StopTraining


def test_the_weights_may_be_moved_by_several_optimizers():
    model, loader = net(), data()
    optimizers = [sgd(model[0]), sgd(model[3]), sgd(nn.Linear(2, 2))]
    with Monitor(model, loader, ALWAYS) as monitor:
        for x, y in loader:
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()
            for optimizer in optimizers:
                optimizer.step()
    assert monitor._passes.steps == len(loader) == 10
    assert set(monitor.table["step"]) <= set(range(1, 11))
