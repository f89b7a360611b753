from __future__ import annotations

import pytest
import torch
from torch import nn

from ptaudit.data import Records
from ptaudit.data.split import make_split
from ptaudit.errors import DataError, PtauditError
from ptaudit.spec.data import AugmentSpec
from ptaudit.spec.model import DataSpec, TrainSpec
from ptaudit.training.augment import augment_generator, crop, cutout, flip, make_augment
from ptaudit.training.checkpoint import CheckpointStore
from ptaudit.training.loss import make_loss
from ptaudit.training.trainer import Replay

PICTURES = torch.rand(400, 3, 8, 6, generator=torch.Generator().manual_seed(0)) + 0.1


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def records(inputs) -> Records:
    first = inputs if isinstance(inputs, torch.Tensor) else next(iter(inputs.values()))
    return Records(inputs, torch.arange(len(first)) % 2, 2)


def test_flip_mirrors_half_of_the_pictures():
    changed = flip(PICTURES, generator())
    mirrored = [torch.equal(new, old.flip(2)) for new, old in zip(changed, PICTURES, strict=True)]
    kept = [torch.equal(new, old) for new, old in zip(changed, PICTURES, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 150 < sum(mirrored) < 250


def test_crop_shifts_by_up_to_the_padding_and_fills_with_black():
    changed = crop(PICTURES, 2, generator())
    padded = torch.nn.functional.pad(PICTURES, [2] * 4)
    seen = set()
    for new, old in zip(changed, padded, strict=True):
        found = [(y, x) for y in range(5) for x in range(5) if torch.equal(new, old[:, y : y + 8, x : x + 6])]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 25


def test_cutout_blackens_one_square():
    changed = cutout(PICTURES, 4, generator())
    hole = changed == 0
    assert torch.equal(changed[~hole], PICTURES[~hole])
    assert torch.equal(hole[:, 0], hole[:, 1])
    heights, widths = hole[:, 0].any(2).sum(1), hole[:, 0].any(1).sum(1)
    assert torch.equal(hole[:, 0].sum((1, 2)), heights * widths)  # a rectangle
    assert (set(heights.tolist()), set(widths.tolist())) == ({2, 3, 4}, {2, 3, 4})
    one = cutout(PICTURES, 1, generator())
    assert torch.equal((one == 0).sum((1, 2, 3)), torch.full((400,), 3))


def test_noise_has_the_deviation_asked_for():
    augment = make_augment(AugmentSpec(noise=0.05), records(torch.zeros(500, 20)))
    changed = augment(torch.zeros(500, 20), generator())
    assert float(changed.std()) == pytest.approx(0.05, rel=0.05)
    assert abs(float(changed.mean())) < 0.002


def test_all_of_it_depends_on_seed_and_epoch_only_and_leaves_the_records():
    augment = make_augment(AugmentSpec(crop=2, flip=True, cutout=3, noise=0.1), records(PICTURES))
    before = PICTURES.clone()
    first = augment(PICTURES, augment_generator(3, 1))
    assert torch.equal(PICTURES, before)
    torch.rand(7)  # the global generator has no part in it
    assert torch.equal(first, augment(PICTURES, augment_generator(3, 1)))
    for other in (augment_generator(3, 2), augment_generator(4, 1)):
        assert not torch.equal(first, augment(PICTURES, other))


def test_nothing_asked_for_is_nothing():
    assert make_augment(None, records(PICTURES)) is None


@pytest.mark.parametrize(
    ("spec", "inputs", "message"),
    [
        ({"flip": True}, torch.rand(4, 30), r"data\.augment: flip is for pictures .* shape \(30,\)"),
        ({"crop": 2, "noise": 0.1}, torch.rand(4, 9, 9), "crop is for pictures"),
        ({"noise": 0.1}, torch.ones(4, 9).long(), r"noise changes one tensor of decimal numbers; .* int64"),
        ({"noise": 0.1}, {"x": torch.rand(4, 3), "mask": torch.rand(4, 3) > 0}, r"the records are \{x: \(3,\), mask"),
        ({"crop": 7}, PICTURES, "crop: 7 is more than the 6 pixels"),
        ({"cutout": 9}, PICTURES, "cutout: 9 is more than the 6 pixels"),
    ],
)
def test_what_does_not_fit_the_records(spec, inputs, message):
    with pytest.raises(DataError, match=message):
        make_augment(AugmentSpec(**spec), records(inputs))


FUNCTIONS = """
import torch

def jitter(inputs, generator):
    scale = torch.rand(len(inputs["x"]), 1, generator=generator)
    return {**inputs, "x": inputs["x"] * scale.to(inputs["x"].device)}

def narrower(inputs, generator): return inputs[:, :-1]
def half(inputs, generator): return inputs.half()
def fewer(inputs): return inputs
def careless(inputs, generator): return inputs + torch.rand(inputs.shape)
def in_place(inputs, generator): return inputs.add_(1)
"""


@pytest.fixture
def function(tmp_path):
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    return lambda name: f"{tmp_path}/mine.py:{name}"


def test_own_function_on_a_dictionary(function):
    inputs = {"x": torch.ones(5, 3), "ids": torch.arange(5)[:, None]}
    changed = make_augment(function("jitter"), records(inputs))(inputs, generator())
    assert torch.equal(changed["ids"], inputs["ids"])
    assert torch.equal(changed["x"], torch.rand(5, 1, generator=generator()).expand(5, 3))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("narrower", r"mine\.py:narrower: .* returned float32\(4, 2\)@cpu for 4 records of float32\(4, 3\)@cpu"),
        ("half", r"returned float16\(4, 3\)"),
        ("fewer", r"the augmentation failed: TypeError: fewer\(\) takes 1 positional argument"),
        ("careless", "differs from call to call with the same generator .*generator=generator"),
        ("in_place", r"changes its inputs in place .*clone"),
        ("jiter", "did you mean `jitter`"),
    ],
)
def test_wrong_functions_are_named(function, name, message):
    with pytest.raises(PtauditError, match=message):
        make_augment(function(name), records(torch.rand(4, 3)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_sees_the_same_draws():
    augment = make_augment(AugmentSpec(crop=2, flip=True, cutout=3, noise=0.1), records(PICTURES))
    there = augment(PICTURES.cuda(), generator())
    torch.testing.assert_close(there.cpu(), augment(PICTURES, generator()), rtol=0, atol=1e-6)


# in training


class StoppedError(Exception):
    pass


def training(augment, seed: int = 0) -> Replay:
    generator = torch.Generator().manual_seed(1)
    pictures = Records(torch.rand(60, 1, 6, 6, generator=generator), torch.arange(60) % 3, 3)
    split = make_split(60, DataSpec(source="sklearn:iris"))
    train = TrainSpec(epochs=3, batch_size=8, optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    augment = make_augment(augment, pictures)
    return Replay(model, pictures, split, train, make_loss("cross_entropy"), seed, torch.device("cpu"), augment)


ALL = AugmentSpec(crop=1, flip=True, cutout=2, noise=0.1)


def weights(replay: Replay) -> list[float]:
    return torch.cat([p.detach().flatten() for p in replay.model.parameters()]).tolist()


def test_training_sees_changed_records_and_evaluation_plain_ones():
    plain, changed = training(None), training(ALL)
    first = [plain.run((), ())[0], changed.run((), ())[0]]
    assert first[0] == first[1]  # before training: members and held-out records as they are
    assert weights(plain) != weights(changed)
    same = training(None)
    same.model.load_state_dict(changed.model.state_dict())
    assert same.evaluate(same.split.members) == changed.evaluate(changed.split.members)


def test_a_resumed_run_draws_the_same(tmp_path):
    whole = training(ALL)
    whole.run((), ())

    def stop(epoch: int, batch: int, batches: int) -> None:
        if (epoch, batch) == (2, 3):
            raise StoppedError

    store = CheckpointStore(tmp_path, {})
    with pytest.raises(StoppedError):
        training(ALL).run((), (), checkpoint=store, progress=stop)
    again = training(ALL)
    torch.rand(5)
    again.run((), (), checkpoint=store)
    assert weights(again) == weights(whole)
    assert weights(again) != weights(training(ALL, seed=1))
