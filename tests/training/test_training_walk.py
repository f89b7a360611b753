"""Checkpoints as others save them, found, fitted to the model, and walked over."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from ptaudit.errors import ModelError, PtauditError, RunFolderError, TrainingDivergedError
from ptaudit.training.checkpoint import CheckpointStore
from ptaudit.training.loss import make_loss
from ptaudit.training.saved import load_into, load_state
from ptaudit.training.walk import Walk, evaluate


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def trained() -> nn.Module:
    model = net()
    model(torch.randn(16, 4))  # moves the buffers too
    return model


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


SHAPES = {
    "bare": lambda s: s,
    "model": lambda s: {"epoch": 3, "model": s, "optimizer": {"state": {0: torch.ones(2)}}},
    "state_dict": lambda s: {"state_dict": s, "hyper_parameters": {"lr": 0.1}},
    "model_state_dict": lambda s: {"epoch": torch.tensor(3), "model_state_dict": s},
    "ddp": lambda s: prefixed(s, "module."),
    "compiled": lambda s: prefixed(s, "_orig_mod."),
    "compiled ddp": lambda s: {"model": prefixed(s, "module._orig_mod.")},
    "ddp of compiled parts": lambda s: {f"module.{n.replace('.', '._orig_mod.')}": v for n, v in s.items()},
    "lightning": lambda s: {"state_dict": {**prefixed(s, "model."), "criterion.weight": torch.ones(3)}},
    "lightning on ddp": lambda s: {"state_dict": prefixed(s, "module.model.")},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_common_shapes_of_files_are_read(tmp_path, shape):
    source, model = trained(), net()
    torch.save(SHAPES[shape](source.state_dict()), tmp_path / "a.pt")
    load_into(model, load_state(tmp_path / "a.pt")[0], tmp_path / "a.pt")
    assert same(model, source)


def test_safetensors_and_files_of_old_torch_are_read(tmp_path):
    source = trained()
    save_file(source.state_dict(), tmp_path / "a.safetensors")
    torch.save(source.state_dict(), tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(source.state_dict(), tmp_path / "c.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    for name in ("a.safetensors", "b.pt", "c.pt"):
        model = net()
        load_into(model, load_state(tmp_path / name)[0], tmp_path / name)
        assert same(model, source)


def test_a_key_names_the_state_among_several(tmp_path):
    source, other = trained(), trained()
    path = tmp_path / "a.pt"
    torch.save({"model": other.state_dict(), "ema": source.state_dict(), "step": 7}, path)
    model = net()
    state, step = load_state(path, "ema")
    load_into(model, state, path)
    assert same(model, source)
    assert step == 7
    with pytest.raises(ModelError, match=r"a\.pt: holds no state dict `emma` \(replay\.state; there are: model, ema"):
        load_state(path, "emma")


@pytest.mark.parametrize("other", ["ema_state_dict", "state_dict_ema"])
def test_two_sets_of_weights_are_one_too_many(tmp_path, other):
    state, average = trained().state_dict(), prefixed(trained().state_dict(), "module.")
    torch.save({"state_dict": state, other: average, "optimizer": {}, "epoch": 1}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=rf"holds more than one set of weights: state_dict, {other} .*replay\.state"):
        load_state(tmp_path / "a.pt")
    model = net()
    load_into(model, load_state(tmp_path / "a.pt", other)[0], tmp_path / "a.pt")
    assert torch.equal(model[0].weight, average["module.0.weight"])


def test_a_model_whose_own_names_have_a_prefix_is_left_alone(tmp_path):
    source, model = nn.ModuleDict({"model": trained()}), nn.ModuleDict({"model": net()})
    torch.save(source.state_dict(), tmp_path / "a.pt")
    load_into(model, load_state(tmp_path / "a.pt")[0], tmp_path / "a.pt")
    assert same(model, source)


def test_a_shared_weight_may_be_saved_once(tmp_path):
    def tied() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        model[1].weight = model[0].weight
        return model

    source, model = tied(), tied()
    save_model(source, str(tmp_path / "a.safetensors"))
    load_into(model, load_state(tmp_path / "a.safetensors")[0], tmp_path / "a.safetensors")
    assert same(model, source)


def changed(state, **changes):
    state = dict(state) | changes
    return {name: value for name, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"0.weight": None}, "missing: 0.weight"),
        ({"4.weight": torch.ones(2)}, "unexpected: 4.weight"),
        ({"3.weight": torch.ones(3, 8, dtype=torch.int8)}, "of another type: 3.weight int8, the model's is float32"),
        ({"3.weight": 1j * torch.ones(3, 8)}, "of another type: 3.weight complex64, the model's is float32"),
        ({"3.weight": torch.ones(5, 8)}, "misshaped: 3.weight (5, 8), the model's is (3, 8)"),
        (
            {"0.weight": None, "0.bias": None, "9.a": torch.ones(1)},
            "missing: 0.weight, 0.bias; unexpected: 9.a",
        ),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_what_does_not_fit_is_named_with_the_file(tmp_path, changes, said, prefix):
    torch.save(prefixed(changed(trained().state_dict(), **changes), prefix), tmp_path / "a.pt")
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ModelError) as error:
        load_into(model, load_state(tmp_path / "a.pt")[0], tmp_path / "a.pt")
    assert f"a.pt: does not fit the model: {said} (check model.entry" in str(error.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_many_names_are_not_all_listed(tmp_path):
    torch.save({"x": torch.ones(1)}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"missing: 0\.weight, 0\.bias, 1\.weight and 6 more; unexpected: x"):
        load_into(net(), load_state(tmp_path / "a.pt")[0], tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "holds list, not a state dict"),
        ({"weights": {"w": torch.ones(1)}}, "holds no state dict (name the key with replay.state; there are: weights)"),
        ({"a": 1}, "holds no state dict (save the weights alone"),
        ({0: torch.ones(1)}, "holds no state dict (save the weights alone"),
    ],
)
def test_a_file_without_a_state_dict(tmp_path, content, said):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ModelError) as error:
        load_state(tmp_path / "a.pt")
    assert f"a.pt: {said}" in str(error.value)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    torch.save(trained(), tmp_path / "a.pt")  # the whole module, as a pickle
    with pytest.raises(ModelError, match=r"holds more than tensors and plain values \(save the weights alone"):
        load_state(tmp_path / "a.pt")


def flipped(content):
    return content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 4]) + content[len(content) // 2 + 1 :]


@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"x" * 99, flipped])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_is_named(tmp_path, damage, zipped):
    path = tmp_path / "a.pt"
    torch.save({"w": torch.ones(5000)}, path, _use_new_zipfile_serialization=zipped)
    if damage is flipped and not zipped:
        pytest.skip("the old format has no check sums")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunFolderError, match=r"a\.pt: this checkpoint is damaged .*restore it, or leave it out"):
        load_state(path)


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: b"", lambda c: b"x" * 99])
def test_damaged_safetensors_are_named(tmp_path, damage):
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.ones(50)}, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunFolderError, match=r"a\.safetensors: this checkpoint is damaged"):
        load_state(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunFolderError, match=r"a\.pt: this checkpoint cannot be read: No such file"):
        load_state(tmp_path / "a.pt")


# The walk


@pytest.fixture
def walk(replay, tmp_path):
    """Makes a walk over the checkpoints 0 to 4 of a trained run, beside what the trainer said of it."""
    run = replay()
    told = run.run(range(5), [lambda moment: torch.save(moment.model.state_dict(), tmp_path / f"{moment.epoch}.pt")])
    saved = {epoch: tmp_path / f"{epoch}.pt" for epoch in range(5)}

    def make(**options) -> Walk:
        loss = make_loss("cross_entropy")
        return Walk(run.model, run.records, run.split, saved, loss, torch.device("cpu"), **options)

    make.told = told
    make.final = {name: value.clone() for name, value in run.model.state_dict().items()}
    return make


def test_it_comes_by_every_checkpoint_and_tells_what_training_told(walk):
    seen = []
    found = walk().run([0, 3, 4], [lambda moment: seen.append((moment.epoch, moment.stats.epoch))])
    assert seen == [(0, 0), (3, 3), (4, 4)]
    assert [stats.epoch for stats in found] == [0, 1, 2, 3, 4]
    for ours, theirs in zip(found, walk.told, strict=True):
        assert (ours.held_out_loss, ours.held_out_accuracy) == (theirs.held_out_loss, theirs.held_out_accuracy)
    assert found[4].train_accuracy > found[0].train_accuracy


def test_statistics_are_in_eval_mode_over_all_members(walk):
    one = walk()
    last = one.run([], [])[-1]
    inside = evaluate(one.model, one.records, one.loss, one.split.members)
    assert (last.train_loss, last.train_accuracy) == inside
    assert last.step == 0


def test_it_goes_on_where_it_was(walk, tmp_path):
    class StopError(Exception):
        pass

    def stop(moment):
        if moment.epoch == 2:
            raise StopError

    whole = walk().run(range(5), [])
    with pytest.raises(StopError):
        walk().run(range(5), [stop], checkpoint=CheckpointStore(tmp_path / "state", {}))
    seen, ticks = [], []
    again = walk().run(
        range(5),
        [lambda moment: seen.append(moment.epoch)],
        checkpoint=CheckpointStore(tmp_path / "state", {}),
        progress=lambda *told: ticks.append(told),
    )
    assert seen == [2, 3, 4]
    assert ticks == [(2, 1, 1), (3, 1, 1), (4, 1, 1)]
    assert again == whole


def test_weights_that_are_no_numbers_end_it_with_the_checkpoints_before_kept(walk, tmp_path):
    state = torch.load(tmp_path / "3.pt", weights_only=True)
    state["0.weight"][0, 0] = math.nan
    torch.save(state, tmp_path / "3.pt")
    one = walk()
    with pytest.raises(TrainingDivergedError, match=r"3\.pt: the loss at the checkpoint of epoch 3 is nan on members"):
        one.run(range(5), [])
    assert [stats.epoch for stats in one.stats] == [0, 1, 2]


def test_proving_names_the_first_that_is_wrong_and_leaves_the_weights(walk, tmp_path):
    one = walk()
    one.prove()
    assert all(torch.equal(walk.final[name], value) for name, value in one.model.state_dict().items())
    torch.save({"x": torch.ones(1)}, tmp_path / "4.pt")
    (tmp_path / "2.pt").write_bytes(b"")
    with pytest.raises(PtauditError, match=r"2\.pt: this checkpoint is damaged"):
        one.prove()


def test_names_of_opacus_fsdp_and_of_old_weight_norms():
    def net():
        return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), nn.Linear(3, 2))

    torch.manual_seed(0)
    trained, older = net(), {}
    for name, value in trained.state_dict().items():
        for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
            name = name.replace(f"parametrizations.weight.{new}", old)
        older[name] = value
    assert "0.weight_g" in older
    for written in (
        older,
        {f"_module.{name}": value for name, value in older.items()},
        {f"_module._fsdp_wrapped_module.{name}": value for name, value in trained.state_dict().items()},
        {name.replace("0.", "0._fsdp_wrapped_module.", 1): value for name, value in trained.state_dict().items()},
    ):
        model = net()
        load_into(model, written, Path("x.pt"))
        assert all(torch.equal(value, trained.state_dict()[name]) for name, value in model.state_dict().items())


def test_arrays_of_flower_are_taken_in_the_order_of_the_model(tmp_path):
    """`np.savez(f"round-{n}-weights.npz", *arrays)`, as its strategies do with the values of a state dict."""
    source, target, path = trained(), net(), tmp_path / "round-12-weights.npz"
    np.savez(path, *(value.numpy() for value in source.state_dict().values()))
    load_into(target, load_state(path)[0], path)
    assert same(source, target)
    np.savez(path, *(value.detach().numpy() for value in source.parameters()))  # without the buffers of BatchNorm
    with pytest.raises(ModelError, match=r"6 arrays without names, as Flower .* has 9 weights and buffers: 0\.weight"):
        load_into(target, load_state(path)[0], path)
    named = {name: value.numpy() for name, value in source.state_dict().items()}
    np.savez(path, **named)
    load_into(net(), load_state(path)[0], path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(RunFolderError, match="damaged or no checkpoint"):
        load_state(path)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
    with zipfile.ZipFile(path, "w") as archive:  # declares 4 TB
        archive.writestr("w.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(RunFolderError, match="damaged or no checkpoint"):
        load_state(path)
