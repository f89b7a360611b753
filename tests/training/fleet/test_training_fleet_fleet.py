"""From a spec's training to what reference models say, and back from their folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from ptaudit.data import Records
from ptaudit.errors import DataError, PtauditError, RunFolderError, TrainingDivergedError
from ptaudit.progress import Silent
from ptaudit.spec.fleet import FleetSpec
from ptaudit.training.fleet.assignment import assignment
from ptaudit.training.fleet.fleet import train_fleet
from ptaudit.training.fleet.stack import Stack
from ptaudit.training.trainer import Replay

KEY = {"code": "a", "torch": "2"}


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def trained(context, **fleet):
    return train_fleet(context, FleetSpec(**fleet), KEY, Silent())


@pytest.mark.parametrize("pool", [40, 41])
def test_stacked_or_one_by_one_the_signals_are_the_same(pool, fleet_context):
    """Of an odd pool one half of every pair is larger, and trained with those of its size."""
    context = fleet_context(pool=pool, batch_size=7)
    one, stacked = trained(context, models=6, at_once=1), trained(context, models=6, at_once=4)
    assert one.outputs.shape == (6, 3, pool, 3)
    assert one.losses.shape == (6, 3, pool)
    assert one.outputs.dtype == one.losses.dtype == np.float32
    assert one.epochs == (0, 1, 2)
    assert np.array_equal(one.included, assignment(6, pool, 0))
    np.testing.assert_allclose(stacked.outputs, one.outputs, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(stacked.losses, one.losses, rtol=1e-3, atol=1e-4)
    assert set(one.training) == {"one after the other: as fleet.at_once says"}
    at_once = 3 if pool % 2 else 4
    assert set(stacked.training) == {f"up to {at_once} as one program: as fleet.at_once says"}


def test_a_model_is_what_the_replay_of_its_half_gives(fleet_context):
    context = fleet_context(pool=50)
    signals = trained(context, models=4)
    for model in (1, 2):
        seed, split = context.training_seed(model), context.split(model)
        assert set(split.members) == set(context.pool[signals.included[model]])
        run = Replay(
            context.build(seed), context.records, split, context.train, context.loss, seed, torch.device("cpu")
        )
        stats = run.run((), ())
        losses, included = signals.losses[model], signals.included[model]
        for epoch in context.epochs:
            assert stats[epoch].train_loss == pytest.approx(losses[epoch][included].mean(), rel=1e-4)
            assert stats[epoch].held_out_loss == pytest.approx(losses[epoch][~included].mean(), rel=1e-4)


def test_members_have_lower_losses_than_others_once_a_model_knows_them_by_heart(fleet_context):
    """Random labels: what a model says of a record that it was not trained on tells nothing of the label."""
    generator = torch.Generator().manual_seed(0)
    noise = Records(torch.randn(60, 4, generator=generator), torch.randint(3, (60,), generator=generator), 3)
    wide = lambda: nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3))  # noqa: E731
    context = fleet_context(wide, records=noise, epochs=60, optimizer={"name": "adam", "lr": 0.02})
    signals = trained(replace(context, epochs=(0, 60)), models=8)
    for epoch, gap in ((0, 0.0), (1, 2.0)):
        inside = signals.losses[:, epoch][signals.included].mean()
        outside = signals.losses[:, epoch][~signals.included].mean()
        assert (outside - inside > gap) if gap else abs(outside - inside) < 0.1


def test_only_new_models_are_trained(tmp_path, fleet_context):
    context = fleet_context()
    first = trained(context, models=4, folder=str(tmp_path / "fleet"))
    begun, build = [], context.build
    context = replace(context, build=lambda seed: begun.append(seed) or build(seed))
    more = trained(context, models=8, folder=str(tmp_path / "fleet"), at_once=1)
    assert begun == [context.training_seed(model) for model in (4, 5, 6, 7)]
    assert np.array_equal(more.outputs[:4], first.outputs)
    assert np.array_equal(more.losses[:4], first.losses)
    assert more.training[:4] == first.training
    begun.clear()
    fewer = trained(context, models=6, folder=str(tmp_path / "fleet"))
    assert not begun
    assert np.array_equal(fewer.outputs, more.outputs[:6])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"train": {"batch_size": 8}}, "train.batch_size was 16, is now 8"),
        ({"train": {"optimizer": {"name": "sgd", "lr": 0.2}}}, "train.optimizer was .*0.1.*, is now .*0.2"),
        ({"train": {"seed": 1}}, "seed of the fleet was 0, is now 1"),
        ({"train": {"pool": 100}}, "pool was [0-9a-f]{64}, is now [0-9a-f]{64}"),
        ({"key": {"code": "b"}}, "code was a, is now b"),
    ],
)
def test_a_stale_or_foreign_folder_is_refused_and_the_difference_named(change, told, tmp_path, fleet_context):
    trained(fleet_context(), models=2, folder=str(tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    context = fleet_context(**change.get("train", {}))
    with pytest.raises(RunFolderError, match=rf"model-00000.*another training: {told}.*fleet\.folder") as error:
        train_fleet(context, FleetSpec(models=4, folder=str(tmp_path)), {**KEY, **change.get("key", {})}, Silent())
    assert error.value.exit_code == 2
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_data_are_refused(tmp_path, fleet_context, blobs):
    trained(fleet_context(), models=2, folder=str(tmp_path))
    blobs.inputs[7, 2] += 1
    with pytest.raises(RunFolderError, match="another training: data was"):
        trained(fleet_context(records=blobs), models=2, folder=str(tmp_path))


@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: c[:-8] + b"\0\0\0\0\0\0\0\1"])
def test_a_damaged_file_is_named(damage, tmp_path, fleet_context):
    trained(fleet_context(), models=2, folder=str(tmp_path))
    path = tmp_path / "model-00001.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunFolderError, match=r"model-00001\.safetensors: the reference model is damaged"):
        trained(fleet_context(), models=2, folder=str(tmp_path))


def test_anyone_can_read_the_files(tmp_path, fleet_context):
    signals = trained(fleet_context(), models=2, folder=str(tmp_path))
    arrays = load_file(tmp_path / "model-00001.safetensors")
    assert np.array_equal(arrays["outputs"], signals.outputs[1])
    assert np.array_equal(arrays["losses"], signals.losses[1])
    assert np.array_equal(arrays["included"], signals.included[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model-00000.safetensors", "model-00001.safetensors"]


def test_where_memory_runs_out_half_as_many_are_trained_at_once(fleet_context, monkeypatch):
    tried = []
    step = Stack.step

    def scarce(self, index, draws):
        tried.append(len(self.models))
        if len(self.models) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, index, draws)

    context = fleet_context(epochs=1)
    expected = trained(context, models=6, at_once=1)
    monkeypatch.setattr(Stack, "step", scarce)
    signals = trained(context, models=6, at_once=6)
    assert {6, 3, 2} == set(tried)  # 6 to 3 and 3, each to 1 and 2
    np.testing.assert_allclose(signals.losses, expected.losses, rtol=1e-3, atol=1e-4)


def test_other_errors_are_not_taken_for_want_of_memory(fleet_context, monkeypatch):
    def broken(self, index, draws):
        raise RuntimeError("something else")

    monkeypatch.setattr(Stack, "step", broken)
    with pytest.raises(RuntimeError, match="something else"):
        trained(fleet_context(), models=4, at_once=4)


def test_how_and_why_is_logged(fleet_context):
    heard = Heard()
    dropping = lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 3))  # noqa: E731
    signals = train_fleet(fleet_context(dropping), FleetSpec(models=2), KEY, heard)
    assert heard.lines == [f"2 reference models {signals.training[0]}"]
    assert signals.training[0].startswith("one after the other: the model draws random numbers")


def test_the_callers_randomness_is_left_alone(fleet_context):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained(fleet_context(), models=4)
    assert torch.equal(torch.rand(3), expected)


def test_a_pool_that_cannot_be_halved(fleet_context):
    with pytest.raises(DataError, match="1 records cannot be halved between reference models"):
        fleet_context(pool=1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"pool": np.array([4, 7, 4])}, "in the pool twice"),
        ({"epochs": ()}, "one at least"),
        ({"epochs": (1, 0)}, "ascending"),
        ({"epochs": (0, 3)}, "from 0 to 2"),
    ],
)
def test_a_wrong_call_is_refused(change, told, fleet_context):
    with pytest.raises(ValueError, match=told):
        replace(fleet_context(), **change)


def test_an_odd_number_of_models_is_refused():
    with pytest.raises(ValueError, match="3 reference models are an odd number"):
        FleetSpec(models=3)


def test_an_output_that_is_no_tensor_is_named(fleet_context):
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.layer(x), x

    context = replace(
        fleet_context(Two), loss=lambda output, y: nn.functional.cross_entropy(output[0], y, reduction="none")
    )
    with pytest.raises(PtauditError, match="the model returns tuple, a fleet of reference models needs a tensor"):
        trained(context, models=2)


KILLED = """
    import os, signal, sys
    sys.path[:0] = {paths!r}
    from fleet_case import make_context
    from training_case import make_blobs
    from ptaudit.progress import Silent
    from ptaudit.spec.fleet import FleetSpec
    from ptaudit.training.fleet.fleet import train_fleet
    from ptaudit.training.fleet.store import FleetStore

    save = FleetStore.save
    def last_words(store, model, signals):
        save(store, model, signals)
        if model == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    FleetStore.save = last_words
    fleet = FleetSpec(models=6, folder={folder!r}, at_once=1)
    train_fleet(make_context(make_blobs()), fleet, {key!r}, Silent())
"""


def test_killed_half_way_no_finished_model_is_trained_again(tmp_path, fleet_context):
    folder = str(tmp_path / "fleet")
    here = Path(__file__).parent
    code = textwrap.dedent(KILLED.format(paths=[str(here), str(here.parent)], folder=folder, key=KEY))
    ended = subprocess.run([sys.executable, "-c", code], env={**os.environ}, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    kept = {path.name: path.stat().st_mtime_ns for path in Path(folder).iterdir()}
    assert sorted(kept) == [f"model-{model:05d}.safetensors" for model in range(3)]

    signals = trained(fleet_context(), models=6, folder=folder, at_once=1)
    assert {name: (Path(folder) / name).stat().st_mtime_ns for name in kept} == kept
    whole = trained(fleet_context(), models=6, at_once=1)
    assert np.array_equal(signals.outputs, whole.outputs)
    assert np.array_equal(signals.losses, whole.losses)


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_training_that_diverges_names_the_model(at_once, fleet_context):
    context = fleet_context(optimizer={"name": "sgd", "lr": 1e20})
    with pytest.raises(TrainingDivergedError, match=r"reference model 0.*lower train\.optimizer\.lr"):
        trained(context, models=4, at_once=at_once)


@pytest.mark.parametrize("at_once", [1, 4])
def test_the_last_step_is_looked_at_too(at_once, fleet_context):
    """A single step: its own loss is finite, what it leaves is not."""
    context = fleet_context(epochs=1, batch_size=60, optimizer={"name": "sgd", "lr": 1e38})
    with pytest.raises(TrainingDivergedError, match="the loss of reference model 0 on a record after epoch 1 is not"):
        trained(context, models=4, at_once=at_once)
