"""`replay`: which checkpoints there are, what their epochs are called, and what a spec that trains nothing may say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from test_spec_schema import fits

from ptaudit.errors import SpecError
from ptaudit.spec.load import dump, load
from ptaudit.spec.model import json_schema
from ptaudit.spec.numbering import number as numbering

WALK = """\
version: 1
name: small
model: {entry: net.py:net}
data: {source: sklearn:digits}
replay: {checkpoints: "ckpts/*.pt"}
"""


@pytest.fixture
def walk(write, tmp_path):
    """Writes a spec that walks over checkpoints of epochs 1, 2 and 10."""
    (tmp_path / "ckpts").mkdir()
    for epoch in (1, 2, 10):
        (tmp_path / "ckpts" / f"epoch-{epoch}.pt").touch()
    return lambda extra="", text=WALK: write(text, extra)


def number(names):
    found = numbering([Path(name) for name in names])
    return found.saved, found.how


def refused(path) -> str:
    with pytest.raises(SpecError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("names", "epochs", "how"),
    [
        (["epoch-1.pt", "epoch-2.pt", "epoch-10.pt"], [1, 2, 10], "the number called epoch"),
        (["epoch=0-step=400.ckpt", "epoch=1-step=800.ckpt"], [1, 2], "one more than the number called epoch"),
        (["epoch=3-val_loss=0.25.ckpt", "epoch=4-val_loss=0.20.ckpt"], [4, 5], "one more than the number called epoch"),
        (["epoch=3.pt", "epoch=4.pt"], [3, 4], "the number called epoch"),
        (["net_epoch1_acc62.pt", "net_epoch2_acc71.pt"], [1, 2], "the number called epoch"),
        (["weights.ep1.v2.pt", "weights.ep2.v2.pt"], [1, 2], "the number called epoch"),
    ],
)
def test_a_number_that_is_called_so_is_the_epoch(names, epochs, how):
    found, said = number(names)
    assert list(found) == epochs
    assert said.startswith(f"the epoch is {how}")


def test_several_numbers_that_differ_are_ambiguous():
    with pytest.raises(ValueError, match=r"which number is the epoch in `net_1_acc62`, `net_2_acc71`"):
        number(["net_1_acc62.pt", "net_2_acc71.pt"])


@pytest.mark.parametrize(
    ("names", "epochs"),
    [
        (["resnet18_12.pth.tar", "resnet18_6.pth.tar"], [6, 12]),
        (["checkpoint-500/model.safetensors", "checkpoint-1000/model.safetensors"], [500, 1000]),
        (["007.pt"], [7]),
    ],
)
def test_the_last_whole_number_that_tells_files_apart_is_the_epoch(names, epochs):
    found, said = number(names)
    assert list(found) == epochs
    assert "the last whole number in the f" in said


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["net.pt"], ["net.pt"]),
        (["x/2024010112304501.pt", "x/2024010112304502.pt"], ["x/2024010112304501.pt", "x/2024010112304502.pt"]),
        (["run3/model.pt"], ["run3/model.pt"]),
    ],
)
def test_without_such_numbers_they_count_from_1_in_natural_order(names, order):
    found, said = number(names)
    assert [str(path) for path in found.values()] == order
    assert list(found) == list(range(1, len(names) + 1))
    assert "count from 1 in the order of their names" in said


@pytest.mark.parametrize("names", [["init.pt", "final.pt"], ["v2-b.pt", "v2-a.pt"], ["best.pt", "last.pt"]])
def test_names_of_words_tell_no_order(names):
    with pytest.raises(ValueError, match=rf"the names of `.*{names[0]}` and `.*{names[1]}` do not tell their epochs"):
        number(names)


def test_steps_of_one_epoch_are_not_two_epochs():
    with pytest.raises(ValueError, match=r"epoch_1_step_200\.pt` and `.*epoch_1_step_400\.pt` are of one epoch, 1"):
        number(["epoch_1_step_200.pt", "epoch_1_step_400.pt"])


@pytest.mark.parametrize("names", [["step_100.pt", "step_200.pt"], ["net-iter200.pt"], ["m_global_step=4.ckpt"]])
def test_steps_are_no_epochs(names):
    with pytest.raises(ValueError, match=r"the number in `.*` is a step, not an epoch"):
        number(names)


def test_the_audited_epochs_are_those_of_the_checkpoints(walk):
    assert load(walk()).audited_epochs == (1, 2, 10)
    assert load(walk("audit: {epochs: {every: 2}}\n")).audited_epochs == (2, 10)
    assert load(walk("audit: {epochs: {every: 7}}\n")).audited_epochs == (10,)
    assert load(walk("audit: {epochs: [10, 1]}\n")).audited_epochs == (1, 10)
    assert load(walk()).last_epoch == 10


def test_an_epoch_without_a_checkpoint_is_refused(walk):
    said = refused(walk("audit: {epochs: [1, 3]}\n"))
    assert "spec.yaml:6: epoch 3 is audited, but has no checkpoint (there are: 1, 2, 10; " in said
    assert "; the epoch is the " in said
    said = refused(walk("gates: [{id: g, metric: label.bits, view: record, epoch: 3, max: 1}]\n"))
    assert "gate `g` is on epoch 3, which is not audited (audited: 1, 2, 10)" in said


def test_no_checkpoint(walk, tmp_path):
    assert "no checkpoint matches `" in refused(walk(text=WALK.replace("*.pt", "*.pth")))
    assert f"name the files in it, e.g. {tmp_path}/ckpts/*.pt" in refused(walk(text=WALK.replace("/*.pt", "")))


@pytest.mark.parametrize(
    ("extra", "key"),
    [
        ("train: {epochs: 3}\n", "train.epochs"),
        ("train: {loss: bce, batch_size: 3}\n", "train.batch_size"),
        ("train: {optimizer: {lr: 0.1}}\n", "train.optimizer"),
        ("train: {seeds: [1, 2]}\n", "train.seeds"),
    ],
)
def test_what_only_training_uses_is_refused(walk, extra, key):
    said = refused(walk(extra))
    assert f"spec.yaml:6: `{key}` is not used by a spec with `replay`, which trains nothing (remove it)" in said
    schema = json_schema()
    assert not fits(yaml.safe_load(walk(extra).read_text()), schema, schema)


def test_augmentation_is_refused(walk):
    text = WALK.replace("sklearn:digits", "sklearn:digits, augment: {flip: true}")
    assert "`data.augment` is not used by a spec with `replay`" in refused(walk(text=text))


@pytest.mark.parametrize("extra", ["", "train: {loss: mse}\n", "train: {label_smoothing: 0.1}\n", "train:\n"])
def test_of_train_the_loss_may_be_there(walk, tmp_path, extra):
    spec = load(walk(extra))
    assert set(yaml.safe_load(dump(spec))["train"]) <= {"loss", "label_smoothing"}
    (tmp_path / "elsewhere").mkdir()
    again = tmp_path / "elsewhere" / "spec.resolved.yaml"
    again.write_text(dump(spec), encoding="utf-8")
    assert load(again) == spec
    schema = json_schema()
    assert fits(yaml.safe_load(dump(spec)), schema, schema)


@pytest.mark.parametrize(
    ("extra", "word"),
    [("train: {los: mse}\n", "did you mean `loss`?"), ("train: 3\n", "`train`: expected a mapping, given 3")],
)
def test_mistakes_in_train_are_still_named(walk, extra, word):
    assert word in refused(walk(extra))


def test_without_replay_train_is_needed(walk):
    assert "`train` is missing" in refused(walk(text=WALK[: WALK.index("replay")]))
    schema = json_schema()
    assert not fits(yaml.safe_load(WALK[: WALK.index("replay")]), schema, schema)


def test_brackets_in_the_path_of_the_spec_are_no_pattern(write, tmp_path):
    home = tmp_path / "[a] b"
    (home / "c").mkdir(parents=True)
    for path in (home / "net.py", home / "c" / "e1.pt", home / "c" / "e[2].pt"):
        path.write_text("def net(): ...\n")
    spec = home / "spec.yaml"
    spec.write_text(WALK.replace("ckpts/*.pt", "c/*.pt"))
    assert list(load(spec).replay.saved) == [1, 2]
    spec.write_text(WALK.replace("ckpts/*.pt", "c/e[2].pt"))
    assert refused(spec).count("no checkpoint matches")
