from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from ptaudit.data import Records
from ptaudit.data.split import Split, make_split
from ptaudit.errors import ModelError, TrainingDivergedError
from ptaudit.spec.model import DataSpec, TrainSpec
from ptaudit.training.checkpoint import CheckpointStore
from ptaudit.training.evaluate import members_evaluated
from ptaudit.training.loss import make_loss
from ptaudit.training.trainer import Replay


class StopHereError(Exception):
    pass


def state(model: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_equals_a_plain_training_loop(replay, blobs):
    run = replay(model=nn.Linear(4, 3), epochs=2, batch_size=60, optimizer={"name": "sgd", "lr": 0.1})
    plain = nn.Linear(4, 3)
    plain.load_state_dict(run.model.state_dict())
    run.run((), ())
    inputs, targets = blobs.batch(torch.from_numpy(run.split.members))
    for _ in range(2):  # one batch an epoch: the order does not matter
        plain.zero_grad()
        nn.functional.cross_entropy(plain(inputs), targets).backward()
        with torch.no_grad():
            for parameter in plain.parameters():
                parameter -= 0.1 * parameter.grad
    for got, expected in zip(run.model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(got, expected)


def test_learns_and_reports_what_an_evaluation_finds(replay, blobs):
    run = replay(epochs=8)
    stats = run.run((), ())
    assert [entry.epoch for entry in stats] == list(range(9))
    assert [entry.step for entry in stats] == [4 * epoch for epoch in range(9)]
    assert stats[-1].held_out_accuracy > 0.8
    assert stats[-1].train_loss < stats[0].train_loss - 0.5
    held_inputs, held_targets = blobs.batch(torch.from_numpy(run.split.held_out))
    run.model.eval()
    with torch.no_grad():
        output = run.model(held_inputs)
    assert stats[-1].held_out_loss == pytest.approx(float(nn.functional.cross_entropy(output, held_targets)), rel=1e-5)
    assert stats[-1].held_out_accuracy == pytest.approx(float((output.argmax(1) == held_targets).float().mean()))


def test_same_seed_same_weights_and_another_seed_other_weights(replay):
    runs = [replay(seed=seed) for seed in (0, 0, 1)]
    for run in runs:
        torch.rand(3)  # the global generator has no say
        run.run((), ())
    first, again, other = (state(run.model) for run in runs)
    assert same(first, again)
    assert not same(first, other)


def test_global_generator_is_left_alone(replay):
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    replay().run((), ())
    assert torch.equal(torch.rand(4), expected)


def test_observers_see_audited_epochs_in_order_and_cannot_change_what_follows(replay):
    quiet, watched = replay(), replay()
    seen = []

    def meddle(moment):
        seen.append((moment.epoch, moment.step, moment.stats.epoch))
        torch.manual_seed(0)
        moment.model.eval()

    quiet.run((), ())
    watched.run({0, 2, 4}, [meddle])
    assert seen == [(0, 0, 0), (2, 8, 2), (4, 16, 4)]
    assert same(state(quiet.model), state(watched.model))
    assert quiet.stats == watched.stats


def test_epoch_0_is_the_model_before_training(replay):
    run = replay()
    before, seen = state(run.model), []
    run.run({0}, [lambda moment: seen.append(state(moment.model))])
    assert same(before, seen[0])


@pytest.mark.parametrize("stop_at", [0, 1, 3, 4])
@pytest.mark.parametrize("optimizer", [{"name": "sgd", "lr": 0.1, "momentum": 0.9}, {"name": "adam", "lr": 0.01}])
def test_resumed_run_ends_with_the_same_bits(replay, small_net, tmp_path, stop_at, optimizer):
    settings = {"optimizer": optimizer, "schedule": {"name": "cosine", "warmup_epochs": 1}}
    whole = replay(**settings)
    whole.run((), ())

    def stop(moment):
        if moment.epoch == stop_at:
            raise StopHereError

    store = CheckpointStore(tmp_path / "checkpoint", {"spec": "a"})
    with pytest.raises(StopHereError):
        replay(**settings).run(range(5), [stop], checkpoint=store)

    seen = []
    resumed = replay(model=small_net(seed=99), **settings) if stop_at else replay(**settings)
    stats = resumed.run(range(5), [lambda moment: seen.append(moment.epoch)], checkpoint=store)
    assert seen == list(range(stop_at, 5))  # the epoch whose audit was cut short is repeated, whole ones are not
    assert same(state(whole.model), state(resumed.model))
    assert stats == whole.stats


def test_finished_run_resumes_to_its_end_without_training(replay, small_net, tmp_path):
    store = CheckpointStore(tmp_path, {})
    first = replay()
    first.run((), (), checkpoint=store)
    steps, seen = [], []
    again = replay(model=small_net(seed=7))
    stats = again.run({4}, [seen.append], checkpoint=store, progress=lambda *step: steps.append(step))
    assert (steps, seen) == ([], [])
    assert stats == first.stats
    assert same(state(first.model), state(again.model))


def test_divergence_names_epoch_and_step_and_keeps_what_was_whole(replay, small_net, tmp_path):
    store = CheckpointStore(tmp_path, {})
    run = replay(optimizer={"name": "sgd", "lr": 1e30}, schedule={"name": "constant", "warmup_epochs": 0})
    with pytest.raises(TrainingDivergedError, match=r"epoch 1, step \d"):
        run.run((), (), checkpoint=store)
    assert [entry.epoch for entry in run.stats] == [0]
    saved = store.latest()
    assert saved.stats == tuple(run.stats)
    assert same(list(saved.model.values()), state(small_net()))


def test_non_finite_weights_after_the_last_step_are_divergence_too(replay):
    run = replay(epochs=1, batch_size=60, optimizer={"name": "sgd", "lr": 1e38})
    with pytest.raises(TrainingDivergedError, match="after epoch 1"):
        run.run((), ())


def test_progress_counts_batches(replay):
    steps = []
    replay(epochs=2, batch_size=25).run((), (), progress=lambda *step: steps.append(step))
    assert steps == [(1, 1, 3), (1, 2, 3), (1, 3, 3), (2, 1, 3), (2, 2, 3), (2, 3, 3)]


def test_every_member_is_seen_once_an_epoch_in_an_order_of_its_own():
    inputs = torch.arange(40, dtype=torch.float32)[:, None]
    seen: list[list[int]] = []

    class Recorder(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            if self.training:
                seen.append(x[:, 0].long().tolist())
            return x * 0 + self.weight

    split = Split(np.arange(0, 40, 2), np.arange(1, 40, 2))
    spec = TrainSpec(epochs=2, batch_size=20, loss="mse")
    records = Records(inputs, torch.zeros(40), None)
    Replay(Recorder(), records, split, spec, make_loss("mse"), 0, torch.device("cpu")).run((), ())
    assert [sorted(order) for order in seen] == [list(range(0, 40, 2))] * 2
    assert seen[0] != seen[1]


def test_accuracy_only_for_classes(replay, blobs):
    numbers = Records(blobs.inputs, blobs.inputs.sum(1), None)
    stats = replay(model=nn.Linear(4, 1), records=numbers, loss="mse", optimizer={"name": "sgd", "lr": 0.05}).run(
        (), ()
    )
    assert all(math.isnan(entry.train_accuracy) and math.isnan(entry.held_out_accuracy) for entry in stats)
    assert stats[-1].held_out_loss < 0.1 * stats[0].held_out_loss


def test_binary_accuracy_from_one_logit(replay, blobs):
    binary = Records(blobs.inputs, (blobs.targets == 0).long(), 2)
    stats = replay(model=nn.Linear(4, 1), records=binary, loss="bce", epochs=8).run((), ())
    assert stats[-1].held_out_accuracy > 0.85


def test_frozen_parameters_stay(replay, small_net):
    model = small_net()
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    replay(model=model, optimizer={"name": "adamw", "lr": 0.01, "weight_decay": 0.1}).run((), ())
    assert torch.equal(model[0].weight, before)


def test_batch_norm_and_a_batch_of_one_record_is_explained(replay):
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    with pytest.raises(ModelError, match=r"batch of one record.*no single record of 60"):
        replay(model=model, batch_size=59).run((), ())


def test_gradients_are_gone_when_observers_are_called(replay):
    grads = []
    replay(epochs=1).run({1}, [lambda moment: grads.extend(p.grad for p in moment.model.parameters())])
    assert grads == [None] * 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_follows_the_cpu(blobs):
    losses = []
    for device in ("cpu", "cuda"):
        model = nn.Linear(4, 3)
        nn.init.zeros_(model.weight)
        nn.init.zeros_(model.bias)
        split = make_split(len(blobs), DataSpec(source="sklearn:iris"))
        run = Replay(model, blobs, split, TrainSpec(epochs=3), make_loss("cross_entropy"), 0, torch.device(device))
        losses.append(run.run((), ())[-1].held_out_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_accuracy_of_training_is_that_of_the_model_after_the_epoch(replay, blobs):
    found = []

    def look(moment):
        inputs, targets = blobs.batch(torch.from_numpy(run.split.members))
        moment.model.eval()
        with torch.no_grad():
            output = moment.model(inputs)
        right = float((output.argmax(1) == targets).float().mean())
        found.append((right, float(nn.functional.cross_entropy(output, targets))))

    run = replay(epochs=3)  # with dropout, which an average over the epoch would have had
    stats = run.run(range(4), [look])
    for entry, (accuracy, loss) in zip(stats, found, strict=True):
        assert entry.train_accuracy == pytest.approx(accuracy)
        assert entry.train_loss == pytest.approx(loss, rel=1e-5)


def test_of_many_members_some_at_random_stand_for_all():
    members = np.arange(30_000)
    some = members_evaluated(members)
    assert len(set(some.tolist())) == 10_000
    assert np.array_equal(some, members_evaluated(members))
    assert abs(some.mean() - members.mean()) < 300  # of standard error 71
    assert np.array_equal(members_evaluated(members[:500]), members[:500])
