"""Whole defended runs: randomised labels, taking a run up again, and the weights of the epoch before."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ptaudit.data import Records
from ptaudit.data.split import make_split
from ptaudit.defenses.label_dp import LabelDpTraining, label_prior
from ptaudit.errors import DataError
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.spec.model import DataSpec, TrainSpec
from ptaudit.training.checkpoint import CheckpointStore
from ptaudit.training.loss import make_loss, train_loss
from ptaudit.training.trainer import Replay
from ptaudit.training.walk import Walk

CPU = torch.device("cpu")
SPLIT = DataSpec(source="sklearn:iris")


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))


def make_run(records: Records, seed: int = 0, keep_before: bool = False, **train: object) -> Replay:
    optimizer = {"name": "sgd", "lr": 0.1, "momentum": 0.9}
    spec = TrainSpec.model_validate({"epochs": 3, "batch_size": 16, "optimizer": optimizer, **train})
    loss, model = train_loss(spec), net()
    (spec.defense or UNDEFENDED).insert(model, records.inputs[:4], loss, seed)
    split = make_split(len(records), SPLIT)
    return Replay(model, records, split, spec, loss, seed, CPU, keep_before=keep_before)


def label_dp(epsilon: float) -> LabelDpTraining:
    return LabelDpTraining(name="label_dp", epsilon=epsilon)


# Labels


def many(n: int = 40_000) -> Records:
    targets = torch.from_numpy(np.random.default_rng(0).choice(3, n, p=[0.5, 0.3, 0.2]))
    return Records(torch.zeros(n, 2), targets, 3)


def test_labels_are_answered_by_the_table_of_the_paper():
    """Algorithms 1 and 2 of arXiv 2102.06062, written out; the prior comes from the held-out records."""
    records, epsilon = many(), 1.2
    split = make_split(len(records), SPLIT)
    prior = np.bincount(records.targets[split.held_out].numpy()) / len(split.held_out)
    np.testing.assert_allclose(label_prior(records, split), prior)
    top = np.sort(prior)[::-1].cumsum()
    gains = [math.exp(epsilon) / (math.exp(epsilon) + k - 1) * top[k - 1] for k in (1, 2, 3)]
    k = 1 + int(np.argmax(gains))
    likely = np.argsort(-prior)[:k]
    shown = label_dp(epsilon).relabelled(records, split, 0).targets.numpy()
    truth = records.targets.numpy()
    for label in range(3):
        said = shown[split.members][truth[split.members] == label]
        for answer in range(3):
            expected = 0.0
            if answer in likely:
                kept = math.exp(epsilon) if answer == label else 1.0
                expected = kept / (math.exp(epsilon) + k - 1) if label in likely else 1 / k
            assert np.mean(said == answer) == pytest.approx(expected, abs=0.02), (label, answer)
    assert np.array_equal(shown[split.held_out], truth[split.held_out])


def test_labels_are_drawn_once_from_the_seed():
    records = many(400)
    split = make_split(len(records), SPLIT)
    first, again, other = (label_dp(1.0).relabelled(records, split, seed).targets for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert UNDEFENDED.relabelled(records, split, 0) is records


def test_training_sees_the_same_answers_in_every_epoch_and_evaluation_the_truth(blobs):
    run = make_run(blobs, defense={"name": "label_dp", "epsilon": 0.5}, epochs=2)
    seen: list[dict[int, int]] = [{}, {}]
    step = run.step

    class Noting:
        def __getattr__(self, name):
            return getattr(step, name)

        def __call__(self, batch, number, watch=None):
            epoch = (number - 1) // 4
            seen[epoch] |= dict(zip(batch.index.tolist(), batch.targets.tolist()))
            return step(batch, number, watch)

    run.step = Noting()
    run.run((), ())
    assert seen[0] == seen[1]
    assert set(seen[0]) == set(run.split.members.tolist())
    changed = [index for index, label in seen[0].items() if label != int(blobs.targets[index])]
    assert len(changed) > 10
    held_out = torch.from_numpy(run.split.held_out)
    assert torch.equal(run.records.targets[held_out], blobs.targets[held_out])


def test_little_epsilon_costs_accuracy_and_much_costs_none(blobs):
    def accuracy(epsilon):
        runs = [make_run(blobs, seed, defense={"name": "label_dp", "epsilon": epsilon}, epochs=6) for seed in range(3)]
        return np.mean([run.run((), ())[-1].held_out_accuracy for run in runs])

    assert accuracy(12.0) > 0.8
    assert accuracy(0.1) < 0.6


def test_numbers_have_no_labels_to_randomise(blobs):
    numbers = replace(blobs, targets=torch.linspace(0, 1, 120)[:, None].expand(120, 3), classes=None)
    with pytest.raises(DataError, match=r"train\.defense: defense `label_dp` randomises classes.*one integer class"):
        make_run(numbers, loss="bce", defense={"name": "label_dp", "epsilon": 1})


# Resume

WAYS = {
    "prune": {"defense": {"name": "prune", "ratio": 0.5}},
    "prune-fp16": {"defense": {"name": "prune", "ratio": 0.5}, "precision": "fp16", "accumulate": 2, "clip_norm": 1.0},
    "sign": {"defense": {"name": "sign"}, "optimizer": {"name": "adam", "lr": 0.01}},
    "perturb": {"defense": {"name": "perturb", "size": 0.3}},
    "vib": {"defense": {"name": "vib", "beta": 0.01, "width": 6}, "optimizer": {"name": "adam", "lr": 0.01}},
    "dropout": {"defense": {"name": "dropout", "rate": 0.4}},
    "label_dp": {"defense": {"name": "label_dp", "epsilon": 2}},
}


class StopHereError(Exception):
    pass


def stop_at(epoch: int):
    def observe(moment):
        if moment.epoch == epoch:
            raise StopHereError

    return observe


@pytest.mark.parametrize("way", WAYS)
def test_resumed_run_ends_with_the_same_bits(blobs, tmp_path, way):
    whole = make_run(blobs, **WAYS[way])
    stats = whole.run((), ())
    store = CheckpointStore(tmp_path, {})
    with pytest.raises(StopHereError):
        make_run(blobs, **WAYS[way]).run(range(4), [stop_at(2)], checkpoint=store)
    again = make_run(blobs, **WAYS[way])
    assert again.run((), (), checkpoint=store) == stats
    state = again.model.state_dict()
    assert state.keys() == whole.model.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in whole.model.state_dict().items())
    other = make_run(blobs, **WAYS[way], seed=1)
    other.run((), ())
    assert not all(torch.equal(value, state[name]) for name, value in other.model.state_dict().items())


# The weights of the epoch before


def noting(found: dict, states: dict):
    def observe(moment):
        found[moment.epoch] = moment.before
        states[moment.epoch] = {name: value.clone() for name, value in moment.model.state_dict().items()}

    return observe


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_observers_get_the_weights_of_the_epoch_before(blobs):
    before, states = {}, {}
    make_run(blobs, keep_before=True).run(range(4), [noting(before, states)])
    assert before[0] is None
    assert all(same(before[epoch], states[epoch - 1]) for epoch in (1, 2, 3))
    assert not same(before[3], states[3])
    only = {}
    make_run(blobs, keep_before=True).run([3], [noting(only, {})])
    assert same(only[3], states[2])
    none = {}
    make_run(blobs).run(range(4), [noting(none, {})])
    assert set(none.values()) == {None}


def test_the_epoch_before_is_there_right_after_a_resume(blobs, tmp_path):
    states, store = {}, CheckpointStore(tmp_path, {})
    make_run(blobs).run(range(4), [noting({}, states)])
    with pytest.raises(StopHereError):
        make_run(blobs, keep_before=True).run(range(4), [stop_at(2)], checkpoint=store)
    before = {}
    make_run(blobs, keep_before=True).run(range(4), [noting(before, {})], checkpoint=store)
    assert list(before) == [2, 3]
    assert same(before[2], states[1])
    assert same(before[3], states[2])


def test_a_walk_hands_over_the_checkpoint_before(blobs, tmp_path):
    saved, states = {}, {}
    run = make_run(blobs)

    def save(moment):
        saved[moment.epoch] = tmp_path / f"{moment.epoch}.pt"
        torch.save(moment.model.state_dict(), saved[moment.epoch])

    run.run([0, 1, 3], [save, noting({}, states)])

    def walk(keep_before=True):
        return Walk(net(), blobs, run.split, saved, make_loss("cross_entropy"), CPU, keep_before=keep_before)

    before, seen = {}, {}
    stats = walk().run([0, 1, 3], [noting(before, seen)])
    assert before[0] is None
    assert same(before[1], states[0])
    assert same(before[3], states[1])
    assert same(seen[3], states[3])
    store, later, nothing = CheckpointStore(tmp_path / "state", {}), {}, {}
    with pytest.raises(StopHereError):
        walk().run([0, 1, 3], [stop_at(3)], checkpoint=store)
    assert walk().run([0, 1, 3], [noting(later, {})], checkpoint=store) == stats
    assert list(later) == [3]
    assert same(later[3], states[1])
    walk(keep_before=False).run([3], [noting(nothing, {})])
    assert nothing == {3: None}
