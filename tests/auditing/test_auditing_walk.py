"""An audit of checkpoints tells what the audit of the training told that left them."""

from __future__ import annotations

import json
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import yaml
from audit_case import ONE_VIEW, call, interrupt_at, tables, write_spec

from ptaudit.tables.folder import read_run
from ptaudit.training.trainer import Replay

TRAIN = {"train__epochs": 3, "audit__epochs": "all", "audit__views": ONE_VIEW, "audit__records": 120}
WALK = {**TRAIN, "train__epochs": None, "train": None, "replay": {"checkpoints": "my ckpts/epoch*.pt"}}


def walk_spec(folder, **changes):
    spec = {name: value for name, value in {**WALK, **changes}.items() if name != "train__epochs"}
    return write_spec(folder, **spec)


def run(home, out, *flags):
    return call("run", home / "spec.yaml", "--out", out, "-q", *flags)


@contextmanager
def saving_to(home):
    """Trainings save every epoch in `my ckpts`."""
    (home / "my ckpts").mkdir()
    honest = Replay.snapshots

    def saving(self, audited, **options):
        for moment in honest(self, audited, **options):
            state = {"model": moment.model.state_dict(), "global_step": moment.step}
            torch.save(state, home / "my ckpts" / f"epoch{moment.epoch}.pt")
            yield moment

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Replay, "snapshots", saving)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with `trained`, the run of a training that saved every epoch in `my ckpts`."""
    home = tmp_path_factory.mktemp("walk")
    with saving_to(home):
        assert call("run", write_spec(home, **TRAIN), "--out", home / "trained", "-q").exit_code == 0
    return home


@pytest.fixture(scope="module")
def walked(trained):
    """The same folder, with `walked`, the audit of the checkpoints; `spec.yaml` is the spec of it."""
    result = call("run", walk_spec(trained), "--out", trained / "walked")
    assert result.exit_code == 0, result.output
    assert "checkpoints: done after" in result.stderr
    return trained


@pytest.fixture
def copy(trained, tmp_path):
    """The checkpoints and the spec in a folder of their own, to be tampered with."""
    (tmp_path / "my ckpts").mkdir()
    for path in (trained / "my ckpts").iterdir():
        (tmp_path / "my ckpts" / path.name).write_bytes(path.read_bytes())
    walk_spec(tmp_path)
    return tmp_path


def but_of_members(path):
    """The lines of a table, but of membership: nobody tells the walk who was trained on."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if ",membership," not in line]


def test_the_tables_are_those_of_the_training(walked):
    for name in ("leakage.csv", "layers.csv"):
        assert but_of_members(walked / "walked" / name) == but_of_members(walked / "trained" / name)
    ours, theirs = (read_run(walked / name) for name in ("walked", "trained"))
    for a, b in zip(ours.rows, theirs.rows, strict=True):
        if a.game == "membership":
            assert a.status.startswith("inconclusive: no index file says which records")
            assert b.measured or b.status.startswith("inconclusive")
            continue
        assert (a.draws is None) == (b.draws is None)
        assert a.draws is None or np.array_equal(a.draws, b.draws)
    assert repr(ours.epochs) == repr(theirs.epochs)  # losses and accuracies of members too: those of the model


def test_the_manifest_names_the_files_and_the_report_warns(walked):
    manifest = json.loads((walked / "walked/manifest.json").read_text(encoding="utf-8"))
    assert [entry["epoch"] for entry in manifest["checkpoints"]] == [0, 1, 2, 3]
    assert manifest["checkpoints"][2]["file"] == str(walked / "my ckpts/epoch2.pt")
    assert len({entry["sha256"] for entry in manifest["checkpoints"]}) == 4
    assert manifest["seeds"] == []
    report = (walked / "walked/report.md").read_text(encoding="utf-8")
    for text in (report, call("show", walked / "walked", "--format", "plain").stdout):
        words = " ".join(text.split())
        assert "Nothing was trained: the weights are those of saved checkpoints" in words
        assert "for no index file names it" in words
    assert "the number called epoch in the file's name" in " ".join(report.split())


def test_index_files_name_the_split(trained, tmp_path):
    path = write_spec(trained, **{k: v for k, v in TRAIN.items() if k != "train__epochs"}, train__epochs=1)
    (tmp_path / "in.txt").write_text("\n".join(map(str, range(0, 200))), encoding="utf-8")
    path = walk_spec(trained, audit__epochs=[1], data={"source": "sklearn:digits", "members": str(tmp_path / "in.txt")})
    assert call("run", path, "--out", tmp_path / "run", "-q").exit_code == 0
    walk_spec(trained)
    assert any("the index files of `data`" in text for text in read_run(tmp_path / "run").manifest["warnings"])


def test_listed_epochs_and_gates_on_them(copy):
    gate = {"id": "leak", "metric": "label.accuracy", "view": "batch-2", "over": "joint", "epoch": 2, "max": 0.01}
    walk_spec(copy, audit__epochs=[0, 2], gates=[gate, replace_max(gate, 1.0)])
    result = run(copy, copy / "run")
    assert result.exit_code == 1
    found = read_run(copy / "run")
    assert {row.epoch for row in found.rows} == {0, 2}
    assert [(v.id, v.outcome, v.worst_epoch) for v in found.verdicts] == [("leak", "fail", 2), ("leak-1.0", "pass", 2)]


def replace_max(gate, limit):
    return gate | {"id": f"{gate['id']}-{limit}", "max": limit}


def test_check_lists_and_costs_it(walked):
    result = call("check", walked / "spec.yaml", "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["step_seconds"] == 0
    assert "Nothing was trained" in result.stdout
    plain = call("check", walked / "spec.yaml", "--format", "plain")
    assert plain.exit_code == 0
    assert "one training step" not in plain.stdout


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b""), "epoch3.pt: this checkpoint is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "epoch3.pt: this checkpoint is damaged"),
        (lambda path: torch.save({"1.weight": torch.ones(3)}, path), "epoch3.pt: does not fit the model: missing: 1.b"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_named_before_anything_is_written(copy, damage, said, verb):
    damage(copy / "my ckpts" / "epoch3.pt")
    result = run(copy, copy / "run") if verb == "run" else call("check", copy / "spec.yaml")
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (copy / "run").exists()


def test_check_notices_weights_that_are_no_numbers(copy):
    path = copy / "my ckpts" / "epoch0.pt"
    state = torch.load(path, weights_only=True)
    state["model"]["1.weight"][:] = float("nan")
    torch.save(state, path)
    result = call("check", copy / "spec.yaml")
    assert result.exit_code == 2
    assert "the loss of the checkpoint of epoch 0 on the first 160 members is nan" in result.stderr


def interrupted(home, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        assert run(home, home / "run").exit_code == 130


def test_interrupted_and_resumed_is_as_undisturbed(copy, walked, monkeypatch):
    interrupted(copy, monkeypatch)
    assert run(copy, copy / "run", "--resume").exit_code == 0
    assert tables(copy / "run") == tables(walked / "walked")


@pytest.mark.parametrize("whole", [False, True])
def test_other_checkpoints_are_refused(copy, monkeypatch, whole):
    if whole:
        assert run(copy, copy / "run").exit_code == 0
    else:
        interrupted(copy, monkeypatch)
    path = copy / "my ckpts" / "epoch3.pt"
    before = path.read_bytes()
    path.write_bytes((copy / "my ckpts" / "epoch2.pt").read_bytes())
    result = run(copy, copy / "run", "--resume")
    assert result.exit_code == 2
    assert "checkpoint of epoch 3 was " in result.stderr
    path.write_bytes(before)
    (copy / "my ckpts" / "epoch4.pt").write_bytes(before)
    result = run(copy, copy / "run", "--resume")
    assert result.exit_code == 2
    assert "checkpoint of epoch 4 was None, is now " in result.stderr
    (copy / "my ckpts" / "epoch4.pt").unlink()
    assert run(copy, copy / "run", "--resume").exit_code == 0


def test_a_run_of_a_training_is_not_mixed_with_one_of_checkpoints(walked):
    result = run(walked, walked / "trained", "--resume")
    assert result.exit_code == 2
    assert "holds a run of another spec" in result.stderr


# how the columns of a table became inputs


def table_spec(folder):
    """A spec on wine, whose measurements are standardised; one with `replay` walks over `ckpts`."""
    train = {"data": {"source": "sklearn:wine", "held_out": 0.3}, "model": {"entry": "models.py:wine"}, **TRAIN}
    few = {"train__epochs": 1, "audit__records": 80, "audit__games": ["label"]}
    path = write_spec(folder, **{**train, **few})
    with (folder / "models.py").open("a", encoding="utf-8") as file:
        file.write(
            "\ndef wine():\n    return nn.Sequential(nn.Flatten(), nn.Linear(13, 8), nn.ReLU(), nn.Linear(8, 3))\n"
        )
    return path


def with_replay(spec, **data):
    content = yaml.safe_load(spec.read_text(encoding="utf-8"))
    del content["train"]
    content["data"] |= data
    content["replay"] = {"checkpoints": "my ckpts/*.pt"}
    spec.write_text(yaml.safe_dump(content), encoding="utf-8")
    return spec


def test_a_table_is_replayed_with_the_preprocessing_that_was_saved(tmp_path):
    with saving_to(tmp_path):
        assert call("run", table_spec(tmp_path), "--out", tmp_path / "trained", "-q", "--keep-records").exit_code == 0
    assert '"proline": {"mean"' in (tmp_path / "trained/preprocess.json").read_text(encoding="utf-8")
    spec = with_replay(table_spec(tmp_path))
    refused = call("run", spec, "--out", tmp_path / "walked", "-q")
    assert refused.exit_code == 2
    assert "data.preprocess: nothing says how the training turned these columns into inputs" in refused.stderr
    assert '"mean": m, "scale": s' in refused.stderr
    for said in (str(tmp_path / "trained/preprocess.json"), "fit"):
        with_replay(table_spec(tmp_path), preprocess=said)
        assert call("run", spec, "--out", tmp_path / "walked", "-q", "--fresh").exit_code == 0
        for name in ("leakage.csv", "layers.csv"):
            assert but_of_members(tmp_path / "walked" / name) == but_of_members(tmp_path / "trained" / name)
    with_replay(table_spec(tmp_path), preprocess="none")
    assert call("run", spec, "--out", tmp_path / "raw", "-q").exit_code == 0
    assert but_of_members(tmp_path / "raw/leakage.csv") != but_of_members(tmp_path / "trained/leakage.csv")
    assert not (tmp_path / "raw/preprocess.json").exists()
