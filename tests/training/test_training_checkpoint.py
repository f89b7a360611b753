from __future__ import annotations

import pytest
import torch

from ptaudit.errors import RunFolderError
from ptaudit.training.checkpoint import Checkpoint, CheckpointStore
from ptaudit.training.epoch_snapshot import EpochStats

STATS = (EpochStats(0, 0, 1.5, float("nan"), 1.25, 0.5),)


def checkpoint() -> Checkpoint:
    return Checkpoint({"weight": torch.arange(3.0)}, {"state": {}, "param_groups": [{"lr": 0.1}]}, STATS)


def test_comes_back_as_it_was(tmp_path):
    store = CheckpointStore(tmp_path / "deep" / "folder", {"spec": "a"})
    assert store.latest() is None
    store.save(checkpoint())
    found = store.latest()
    assert torch.equal(found.model["weight"], torch.arange(3.0))
    assert found.optimizer == checkpoint().optimizer
    assert repr(found.stats) == repr(STATS)  # NaN differs from itself
    assert [path.name for path in store.path.parent.iterdir()] == [store.path.name]


def test_failed_save_leaves_the_last_whole_one(tmp_path):
    store = CheckpointStore(tmp_path, {})
    store.save(checkpoint())
    before = store.path.read_bytes()
    with pytest.raises(Exception, match="lambda"):
        store.save(Checkpoint({"weight": lambda: 0}, {}, STATS))
    assert store.path.read_bytes() == before
    assert torch.equal(store.latest().model["weight"], torch.arange(3.0))


def test_another_key_is_refused_and_the_difference_named(tmp_path):
    CheckpointStore(tmp_path, {"spec": "a", "torch": "2"}).save(checkpoint())
    with pytest.raises(RunFolderError, match=r"spec was a, is now b.*--fresh") as error:
        CheckpointStore(tmp_path, {"spec": "b", "torch": "2"}).latest()
    assert "torch" not in str(error.value)
    with pytest.raises(RunFolderError, match="data was None, is now c"):
        CheckpointStore(tmp_path, {"spec": "a", "torch": "2", "data": "c"}).latest()


@pytest.mark.parametrize(
    "damage", [lambda content: content[: len(content) // 2], lambda content: b"", lambda content: b"x" * 99]
)
def test_damaged_file_is_named(tmp_path, damage):
    store = CheckpointStore(tmp_path, {})
    store.save(checkpoint())
    store.path.write_bytes(damage(store.path.read_bytes()))
    with pytest.raises(RunFolderError, match=r"checkpoint\.pt: the checkpoint is damaged"):
        store.latest()


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    store = CheckpointStore(tmp_path, {})
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    torch.save({"key": {}, "model": Evil(), "optimizer": {}, "stats": []}, store.path)
    with pytest.raises(RunFolderError, match="damaged"):
        store.latest()
    assert not marker.exists()
