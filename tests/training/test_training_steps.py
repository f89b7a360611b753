"""Accumulation, clipping, mixed precision: each against the same training written out by hand."""

from __future__ import annotations

import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ptaudit.data import Records
from ptaudit.data.split import make_split
from ptaudit.errors import DataError, ModelError, PtauditError
from ptaudit.sketches.reader import TokenReader
from ptaudit.spec.model import DataSpec, TrainSpec
from ptaudit.training.loss import make_loss
from ptaudit.training.loss_check import check_loss
from ptaudit.training.sampling import epoch_batches
from ptaudit.training.trainer import Replay

SGD = {"name": "sgd", "lr": 0.1}


def smooth_net(seed: int = 0) -> nn.Module:
    """Without kinks and without dropout, so that rounding stays rounding."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def gradient(model: nn.Module, records: Records, index, **loss) -> list[torch.Tensor]:
    """Of the summed loss of some records, by autograd."""
    inputs, targets = records.batch(torch.from_numpy(np.asarray(index)))
    total = F.cross_entropy(model(inputs), targets, reduction="sum", **loss)
    return list(torch.autograd.grad(total, list(model.parameters())))


@pytest.mark.parametrize("accumulate", [2, 4, 25])
@pytest.mark.parametrize("more", [{}, {"clip_norm": 0.05}, {"sam": {"rho": 0.1}}], ids=["plain", "clip", "sam"])
def test_accumulation_changes_nothing_but_rounding(replay, accumulate, more):
    settings = {"batch_size": 25, "epochs": 3, **more}  # 60 members: steps of 25, 25 and 10
    whole, parts = replay(model=smooth_net(), **settings), replay(model=smooth_net(), accumulate=accumulate, **settings)
    stats = whole.run((), ()), parts.run((), ())
    torch.testing.assert_close(flat(whole.model), flat(parts.model), rtol=1e-4, atol=1e-6)
    assert (flat(whole.model) - flat(smooth_net())).norm() > 0.05
    for one, other in zip(*stats):
        assert one.step == other.step
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)


def test_accumulation_bounds_the_records_in_a_pass(replay):
    sizes = []
    model = smooth_net()
    model.register_forward_hook(lambda m, x, y: sizes.append(len(y)) if m.training else None)
    replay(model=model, batch_size=25, accumulate=4, epochs=1).run((), ())
    assert sizes == [7, 7, 7, 4, 7, 7, 7, 4, 7, 3]


def test_batch_norm_and_a_micro_batch_of_one_record_is_explained(replay):
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    with pytest.raises(ModelError, match=r"batch of one record.*in a micro-batch"):
        replay(model=model, batch_size=3, accumulate=2).run((), ())


@pytest.mark.parametrize("precision", ["float32", "fp16"])
def test_clipping_shortens_the_gradient_of_the_batch(replay, blobs, precision):
    run = replay(model=smooth_net(), batch_size=60, epochs=1, optimizer=SGD, clip_norm=0.01, precision=precision)
    expected = gradient(run.model, blobs, run.split.members)
    direction = torch.cat([g.flatten() for g in expected])
    before = flat(run.model)
    run.run((), ())
    moved = (before - flat(run.model)) / 0.1
    assert float(moved.norm()) == pytest.approx(0.01, rel=1e-3)
    assert float(F.cosine_similarity(moved, direction, dim=0)) > 0.999


def test_a_gradient_that_is_short_enough_is_left_alone(replay):
    free, clipped = replay(model=smooth_net()), replay(model=smooth_net(), clip_norm=1e6)
    free.run((), ())
    clipped.run((), ())
    assert torch.equal(flat(free.model), flat(clipped.model))


@pytest.mark.parametrize("smoothing", [0.1, 0.9])
def test_the_smoothed_loss_is_trained_and_reported(replay, blobs, smoothing):
    run = replay(model=smooth_net(), batch_size=60, epochs=1, optimizer=SGD, label_smoothing=smoothing)
    expected = gradient(run.model, blobs, run.split.members, label_smoothing=smoothing)
    before = [p.detach().clone() for p in run.model.parameters()]
    stats = run.run((), ())
    for was, g, now in zip(before, expected, run.model.parameters(), strict=True):
        torch.testing.assert_close(now, was - 0.1 * g / 60, rtol=1e-4, atol=1e-6)
    inputs, targets = blobs.batch(torch.from_numpy(run.split.held_out))
    with torch.no_grad():
        loss = F.cross_entropy(run.model(inputs), targets, label_smoothing=smoothing)
    assert stats[-1].held_out_loss == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_half_precision_is_used_in_the_forward_pass_alone(replay, precision, dtype):
    model, seen = smooth_net(), set()
    model[0].register_forward_hook(lambda m, x, y: seen.add((m.training, y.dtype)))
    half, full = replay(model=model, precision=precision), replay(model=smooth_net())
    half.run((), ())
    full.run((), ())
    assert seen == {(True, dtype), (False, torch.float32)}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert 0 < (flat(model) - flat(full.model)).norm() < 0.05 * flat(full.model).norm()
    assert half.stats[-1].held_out_accuracy > 0.8


def test_the_loss_scale_cancels(replay):
    """Powers of two only move exponents: where nothing over- or underflows, the weights are the same."""
    ends = []
    for scale in (2.0**6, 2.0**12):
        run = replay(model=smooth_net(), precision="fp16", clip_norm=0.5)
        run.step.load(run.step.state() | {"scale": scale})
        run.run((), ())
        ends.append(flat(run.model))
    torch.testing.assert_close(*ends, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("more", [{}, {"sam": {}}], ids=["plain", "sam"])
def test_a_step_that_overflows_is_left_out_and_the_scale_halved(replay, more):
    run = replay(model=smooth_net(), precision="fp16", batch_size=60, epochs=1, optimizer=SGD, **more)
    run.step.load(run.step.state() | {"scale": 2.0**60})
    before = flat(run.model)
    run.run((), ())
    assert torch.equal(flat(run.model), before)
    assert run.step.state()["scale"] == 2.0**59


def test_the_scale_of_fp16_grows_as_torch_grows_it(replay):
    run = replay(model=smooth_net(), precision="fp16", epochs=1)
    assert run.step.state()["scale"] == 2.0**16
    run.step.load(run.step.state() | {"_growth_tracker": 1998})  # it doubles after 2,000 steps without overflow
    run.run((), ())
    assert run.step.state()["scale"] == 2.0**17


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_tokens_are_read_in_float32_whatever_the_training_ran_in(replay, blobs, precision):
    """Neither the precision nor the scale of the loss is in the tokens: those of a copy of the weights are the same."""
    inputs, targets = blobs.batch(torch.arange(20))

    def tokens(model):
        reader = TokenReader(model, make_loss("cross_entropy"), dim=16)
        reader.prepare(inputs, targets)
        return reader.read(inputs, targets)

    read = {}

    def observe(moment):
        read[moment.epoch] = tokens(moment.model)

    run = replay(model=smooth_net(), precision=precision, epochs=2)
    run.run({0, 2}, [observe])
    fresh = smooth_net()
    for epoch in (0, 2):
        if epoch:
            fresh.load_state_dict(run.model.state_dict())
        expected = tokens(fresh)
        assert torch.equal(read[epoch].values, expected.values)
        assert torch.equal(read[epoch].total_norm_sq, expected.total_norm_sq)


def test_poisson_sampling_is_independent_for_every_member():
    train = TrainSpec.model_validate(
        {"epochs": 1, "batch_size": 20, "defense": {"name": "dp_sgd", "clip": 1.0, "noise_multiplier": 1.0}}
    )
    members = np.arange(100, 200)
    epochs = [list(epoch_batches(train, members, 0, epoch)) for epoch in range(1, 401)]
    assert {len(steps) for steps in epochs} == {5}
    sizes = np.array([len(index) for steps in epochs for index in steps])
    assert sizes.mean() == pytest.approx(20, abs=4 * math.sqrt(16 / 2000))
    assert sizes.var() == pytest.approx(16, rel=0.15)  # binomial(100, 1/5)
    joins = np.array([np.isin(members, index) for steps in epochs for index in steps])
    assert abs(joins.mean(0) - 0.2).max() < 5 * math.sqrt(0.16 / 2000)
    correlation = np.corrcoef(joins.T) - np.eye(100)
    assert abs(correlation).max() < 5.5 / math.sqrt(2000)
    again = list(epoch_batches(train, members, 0, 3))
    assert all(np.array_equal(a, b) for a, b in zip(again, epochs[2], strict=True))


class Recorder:
    """A watch that takes what the backward pass adds to the gradients."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.seen: list[tuple[int, np.ndarray, list[torch.Tensor], nn.Module]] = []

    def _grads(self) -> list[torch.Tensor]:
        return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self.model.parameters()]

    @contextmanager
    def __call__(self, step, index, factor):
        before = self._grads()
        weights = [p.detach().clone() for p in self.model.parameters()]
        yield
        added = [factor * (now - was) for was, now in zip(before, self._grads(), strict=True)]
        self.seen.append((step, index, added, weights))


class Shifted(nn.Module):
    """A parameter of its own: no rule for single layers covers it."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(4))
        self.net = smooth_net()

    def forward(self, x):
        return self.net(x + self.shift)


DP = {"name": "dp_sgd", "clip": 0.5, "noise_multiplier": 0.5}
KINDS = {
    "plain": {},
    "accumulate": {"accumulate": 3},
    "fp16": {"precision": "fp16", "accumulate": 2},
    "sam": {"sam": {"rho": 0.2}, "accumulate": 2},
    "dp": {"defense": DP, "accumulate": 2},
    "dp-vmap": {"defense": DP},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_watch_sees_the_gradient_of_its_records_at_the_weights_themselves(replay, blobs, kind):
    if "dp" in kind:
        pytest.importorskip("opacus")
    model = Shifted() if kind == "dp-vmap" else smooth_net()
    run = replay(model=model, batch_size=16, epochs=1, **KINDS[kind])
    watch = Recorder(model)
    run.run((), (), watch=watch)
    batches = [index for index in epoch_batches(run.train, run.split.members, 0, 1) if len(index)]
    assert np.concatenate([index for _, index, _, _ in watch.seen]).tolist() == np.concatenate(batches).tolist()
    assert watch.seen[-1][0] == run.stats[-1].step
    reference = Shifted() if kind == "dp-vmap" else smooth_net()
    for _, index, added, weights in watch.seen:
        with torch.no_grad():
            for parameter, value in zip(reference.parameters(), weights, strict=True):
                parameter.copy_(value)
        expected = gradient(reference, blobs, index)
        loose = {"rtol": 0.05, "atol": 0.05} if kind == "fp16" else {"rtol": 1e-4, "atol": 1e-5}
        for got, true in zip(added, expected, strict=True):
            torch.testing.assert_close(got, true, **loose)


@pytest.mark.parametrize("kind", KINDS)
def test_a_watch_changes_nothing(replay, kind, small_net):
    if "dp" in kind:
        pytest.importorskip("opacus")

    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(4))
            self.net = small_net()

        def forward(self, x):
            return self.net(x + self.shift)

    ends = []
    for watched in (False, True):
        run = replay(model=Noisy() if kind == "dp-vmap" else small_net(), epochs=2, **KINDS[kind])
        run.run((), (), watch=Recorder(run.model) if watched else None)
        ends.append(flat(run.model))
    assert torch.equal(*ends)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_every_kind_can_be_timed(replay, kind):
    if "dp" in kind:
        pytest.importorskip("opacus")
    assert replay(model=smooth_net(), **KINDS[kind]).time_steps(2) > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_cuda_follows_the_cpu_in_every_kind_of_step(blobs, kind):
    """The noise of DP-SGD has another generator there, so that kind is compared without noise."""
    if "dp" in kind:
        pytest.importorskip("opacus")
    settings = dict(KINDS[kind])
    if "defense" in settings:
        settings["defense"] = DP | {"noise_multiplier": 0.0}
    losses = []
    for device in ("cpu", "cuda"):
        split = make_split(len(blobs), DataSpec(source="sklearn:iris"))
        train = TrainSpec.model_validate({"epochs": 3, "batch_size": 16, **settings})
        run = Replay(smooth_net(), blobs, split, train, make_loss("cross_entropy"), 0, torch.device(device))
        losses.append(run.run((), ())[-1].held_out_loss)
    assert losses[0] == pytest.approx(losses[1], rel=2e-2 if kind == "fp16" else 1e-3)


class Raising(nn.Module):
    """Fails in training, above some number of records, as a device or a kernel would."""

    def __init__(self, error: Exception, fits: int) -> None:
        super().__init__()
        self.net, self.error, self.fits = smooth_net(), error, fits

    def forward(self, x):
        if self.training and len(x) > self.fits:
            raise self.error
        return self.net(x)


@pytest.mark.parametrize("more", [{}, {"precision": "bf16"}], ids=["float32", "bf16"])
def test_a_step_that_does_not_fit_the_memory_says_how_to_split_it(replay, more):
    full = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(PtauditError, match=r"no memory left for a training step of 16 records \(split .*accumulate"):
        replay(model=Raising(full, 8), **more).run((), ())
    replay(model=Raising(full, 8), accumulate=2, epochs=1, **more).run((), ())


def test_what_half_precision_cannot_do_is_told_with_the_remedy(replay):
    missing = RuntimeError("\"cumsum_cuda\" not implemented for 'Half'\nsecond line")
    with pytest.raises(ModelError, match=r"^train\.precision: .* in fp16: .*'Half' \(use float32"):
        replay(model=Raising(missing, 0), precision="fp16").run((), ())
    with pytest.raises(RuntimeError, match="second line"):
        replay(model=Raising(missing, 0)).run((), ())


def test_labels_are_checked_for_the_smoothed_loss_too(blobs):
    wrong = Records(blobs.inputs, blobs.targets + 1, 4)
    with pytest.raises(DataError, match=r"labels are 1\.\.3, the model has 3 outputs"):
        check_loss(smooth_net(), wrong, make_loss("cross_entropy", label_smoothing=0.1))
