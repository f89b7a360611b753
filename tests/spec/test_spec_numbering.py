"""The epoch of a checkpoint: what stands in it, what its name says, and what happens where they disagree."""

from __future__ import annotations

import json
import random
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from ptaudit.spec.checkpoint_labels import read_label
from ptaudit.spec.numbering import number

STATE = {"weight": torch.ones(2)}


def saved(folder, **files):
    """Writes `NAME: content` and returns the paths."""
    paths = []
    for name, content in files.items():
        paths.append(folder / name)
        paths[-1].parent.mkdir(exist_ok=True)
        torch.save(content, paths[-1])
    return paths


def lightning(epoch, ready=None, **more):
    progress = {
        "fit_loop": {"epoch_progress": {"total": {"ready": 99}, "current": {"ready": ready, "completed": epoch}}}
    }
    loops = {} if ready is None else {"loops": progress}
    return {
        "epoch": epoch,
        "global_step": 25,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": STATE,
        **loops,
        **more,
    }


def epochs(paths):
    return {path.name: epoch for epoch, path in number(paths).saved.items()}


def test_lightning_counts_from_0_also_where_the_first_was_deleted(tmp_path):
    files = {f"epoch={e}-step={25 * (e + 1)}.ckpt": lightning(e, e + 1) for e in (3, 4)}
    assert list(number(saved(tmp_path, **files)).saved) == [4, 5]
    files = {f"epoch={e}-step={25 * (e + 1)}.ckpt": lightning(e) for e in (1, 2)}  # without loops
    assert list(number(saved(tmp_path, **files)).saved) == [2, 3]
    assert "wrote into the file" in number(saved(tmp_path, a=lightning(3, 4))).how


def test_lightning_saved_after_the_fit_has_ended(tmp_path):
    paths = saved(tmp_path, **{"epoch=1.ckpt": lightning(1, 2), "last.ckpt": lightning(3, 3)})
    assert epochs(paths) == {"epoch=1.ckpt": 2, "last.ckpt": 3}


def test_timm_counts_from_0(tmp_path):
    files = {f"checkpoint-{e}.pth.tar": {"epoch": e, "arch": "a", "version": 2, "state_dict": STATE} for e in (11, 12)}
    assert list(number(saved(tmp_path, **files)).saved) == [12, 13]


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("net_{}.pt", 0, [1, 2]),
        ("net_{}.pt", 1, [2, 3]),  # the name counts from 0
        ("net_{}.pt", -1, [1, 2]),  # the key counts from 0
        ("epoch_{}.pt", -1, [1, 2]),
        ("acc_7{}.pt", 0, [1, 2]),  # the number in the name is none of the epoch
    ],
)
def test_name_and_key(tmp_path, name, key, expected):
    files = {name.format(e): {"epoch": e + key, "model": STATE} for e in (1, 2)}
    assert list(number(saved(tmp_path, **files)).saved) == expected


def test_epoch_0_with_steps_counts_from_0(tmp_path):
    files = {f"ck{e}.pt": {"epoch": e, "global_step": 10 * (e + 1), "model": STATE} for e in (0, 1)}
    assert list(number(saved(tmp_path, **files)).saved) == [1, 2]
    files = {f"ck{e}.pt": {"epoch": e, "global_step": 10 * e, "model": STATE} for e in (0, 1)}
    assert list(number(saved(tmp_path, **files)).saved) == [0, 1]


def test_names_and_files_that_disagree(tmp_path):
    files = {"epoch1.pt": {"epoch": 1, "model": STATE}, "epoch2.pt": {"epoch": 7, "model": STATE}}
    with pytest.raises(ValueError, match=r"epoch2\.pt` is of epoch 2 by its name and of epoch 7 by what stands in it"):
        number(saved(tmp_path, **files))
    with pytest.raises(ValueError, match=r"is of epoch 9 by its name, and after 2 epochs by what stands in it"):
        number(saved(tmp_path, **{"epoch=9.ckpt": lightning(1, 2)}))


def test_what_is_silent_or_of_one_epoch_is_refused(tmp_path):
    some = {"a.pt": {"epoch": 1, "model": STATE}, "b.pt": STATE}
    with pytest.raises(ValueError, match=r"b\.pt` does not tell its epoch, and .*a\.pt` does"):
        number(saved(tmp_path, **some))
    with pytest.raises(ValueError, match=r"are of one epoch, 2"):
        number(saved(tmp_path, **{"epoch=1.ckpt": lightning(1, 2), "last.ckpt": lightning(1, 2)}))
    with pytest.raises(ValueError, match=r"are of one epoch, 1"):
        number([tmp_path / "a_1.pt", tmp_path / "b_1.pt", tmp_path / "a_2.pt"])
    with pytest.raises(ValueError, match=r"of which epoch is `.*best\.pt`"):
        number([tmp_path / "e2.pt", tmp_path / "best.pt", tmp_path / "e10.pt"])


def test_a_file_that_tells_settles_what_names_leave_open(tmp_path):
    files = {f"net_{e}_acc{60 + e}.pt": {"epoch": e, "model": STATE} for e in (1, 2)}
    assert list(number(saved(tmp_path, **files)).saved) == [1, 2]


def trainer(folder, step, epoch):
    (folder / f"checkpoint-{step}").mkdir()
    save_file(STATE, folder / f"checkpoint-{step}" / "model.safetensors")
    state = {"epoch": epoch, "global_step": step}
    (folder / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps(state))
    return folder / f"checkpoint-{step}" / "model.safetensors"


def test_the_trainer_of_hugging_face_names_steps(tmp_path):
    paths = [trainer(tmp_path, step, epoch) for step, epoch in ((500, 1.0), (1000, 2.0))]
    found = number(paths)
    assert list(found.saved) == [1, 2]
    assert found.labels[2].step == 1000
    with pytest.raises(ValueError, match=r"saved after 2\.5 epochs and the number in its name is a step"):
        number([*paths, trainer(tmp_path, 1250, 2.5)])


@pytest.mark.parametrize("epoch", ["Infinity", "NaN", "-1", '"two"', "1e300"])
def test_epochs_that_are_none_tell_nothing(tmp_path, epoch):
    path = trainer(tmp_path, 500, 1.0)
    (path.parent / "trainer_state.json").write_text(f'{{"epoch": {epoch}}}')
    assert read_label(path) is None
    torch.save({"epoch": float("inf"), "model": STATE}, tmp_path / "a.pt")
    assert read_label(tmp_path / "a.pt") is None


def test_one_file_is_of_the_epoch_that_it_tells(tmp_path):
    assert list(number(saved(tmp_path, **{"resnet_18.pt": {"epoch": 17, "model": STATE}})).saved) == [17]
    with pytest.raises(ValueError, match=r"saved after 2\.5 epochs"):
        number(saved(tmp_path, **{"a.pt": {"epoch": 2.5, "model": STATE}}))


def test_parts_of_a_model_are_no_epochs(tmp_path):
    with pytest.raises(ValueError, match=r"model-00001-of-00002\.safetensors` is a part of a model"):
        number([tmp_path / f"model-0000{part}-of-00002.safetensors" for part in (1, 2)])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_only_the_outermost_key_counts_and_nothing_is_run(tmp_path, protocol):
    content = {"args": {"epoch": 9}, "many": [{"epoch": 8}, (1, 2.5, "a")], "model": STATE, "epoch": 3, "flag": True}
    torch.save(content, tmp_path / "a.pt", pickle_protocol=protocol)
    assert read_label(tmp_path / "a.pt").epoch == 3
    del content["epoch"]
    torch.save(content, tmp_path / "b.pt", pickle_protocol=protocol)
    assert read_label(tmp_path / "b.pt") is None


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('run')",))


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save({"bomb": Bomb(), "epoch": 3}, tmp_path / "a.pt")
    assert read_label(tmp_path / "a.pt").epoch == 3


def test_metadata_of_safetensors(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors", metadata={"epoch": "4", "global_step": "100"})
    assert (read_label(tmp_path / "a.safetensors").epoch, read_label(tmp_path / "a.safetensors").step) == (4, 100)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x02}q\x00.", bytes(100)])
def test_what_is_no_checkpoint_tells_nothing(tmp_path, content):
    for suffix in ("pt", "safetensors"):
        (tmp_path / f"a.{suffix}").write_bytes(content)
        assert read_label(tmp_path / f"a.{suffix}") is None


def test_damaged_files_tell_nothing(tmp_path):
    (path,) = saved(tmp_path, a=lightning(3, 4))
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        stream = archive.read(name)
    generator = random.Random(0)
    for _ in range(200):
        damaged = bytearray(stream)
        for _ in range(3):
            damaged[generator.randrange(len(damaged))] = generator.choice(b"us(}qt0.2ld]) aeX")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, bytes(damaged))
        packed = bytearray(path.read_bytes())
        read_label(path)
        packed[generator.randrange(len(packed))] = generator.randrange(256)
        path.write_bytes(packed)
        read_label(path)


@pytest.mark.parametrize("epoch", [-1, 10**400, float("nan"), float("inf")])
def test_impossible_epochs_tell_nothing(tmp_path, epoch):
    (path,) = saved(tmp_path, **{"a.ckpt": lightning(3, epoch)}) if isinstance(epoch, int) else [tmp_path / "none.pt"]
    assert read_label(path) is None
    (path,) = saved(tmp_path, **{"model.pt": {"model": STATE}})
    (tmp_path / "trainer_state.json").write_text(json.dumps({"epoch": epoch}))
    assert read_label(path) is None
