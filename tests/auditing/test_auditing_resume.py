"""Interrupted, killed, taken up again: the tables are those of a run that nobody disturbed."""

from __future__ import annotations

import random
import shutil
import signal
import time

import pytest
from audit_case import MODELS, ONE_VIEW, call, interrupt_at, start_and_stop, tables, write_spec

from ptaudit.auditing.epoch import EpochAudit
from ptaudit.tables.folder import read_run

LONG = {
    "train__epochs": 5,
    "audit__epochs": "all",
    "audit__views": ONE_VIEW,
    "audit__games": ["identity", "membership"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a spec, `spec.yaml`, and the run of it that nobody disturbed, `undisturbed`."""
    folder = tmp_path_factory.mktemp("resume")
    assert call("run", write_spec(folder, **LONG), "--out", folder / "undisturbed", "-q").exit_code == 0
    return folder


def run(home, out, *flags):
    return call("run", home / "spec.yaml", "--out", out, "-q", *flags)


@pytest.fixture
def interrupted(home, tmp_path, monkeypatch):
    """The folder of a run that was interrupted while epoch 2 was audited."""
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        assert run(home, tmp_path / "run").exit_code == 130
    return tmp_path / "run"


# Interrupted


@pytest.mark.parametrize("epoch", [0, 5])
def test_interrupted_and_resumed_is_as_undisturbed(home, tmp_path, monkeypatch, epoch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_at(patch, epoch)
        result = run(home, out)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1].startswith("interrupted: resume with ptaudit run ")
    assert "Traceback" not in result.stderr
    assert not (out / "leakage.csv").exists()
    assert run(home, out, "--resume").exit_code == 0
    assert tables(out) == tables(home / "undisturbed")
    assert not (out / ".resume").exists()
    assert (out / "bootstrap.npz").read_bytes() == (home / "undisturbed" / "bootstrap.npz").read_bytes()


def test_interrupted_twice(home, interrupted, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)
        assert run(home, interrupted, "--resume").exit_code == 130
    assert run(home, interrupted, "--resume").exit_code == 0
    assert tables(interrupted) == tables(home / "undisturbed")


def test_whole_epochs_are_not_audited_again(home, interrupted, monkeypatch):
    audited = []
    honest = EpochAudit.__call__
    monkeypatch.setattr(EpochAudit, "__call__", lambda self, m: (audited.append(m.epoch), honest(self, m))[1])
    assert run(home, interrupted, "--resume").exit_code == 0
    assert audited == [2, 3, 4, 5]


def test_several_seeds_resume_in_the_second(tmp_path, monkeypatch):
    path = write_spec(tmp_path, audit__views=ONE_VIEW, audit__games=["identity"], train__seeds=[3, 4])
    assert call("run", path, "--out", tmp_path / "undisturbed", "-q").exit_code == 0
    calls = []
    honest = EpochAudit.__call__

    def disturbed(self, moment):
        calls.append(moment.epoch)
        if len(calls) == 4:  # two audited epochs a seed
            raise KeyboardInterrupt
        honest(self, moment)

    with monkeypatch.context() as patch:
        patch.setattr(EpochAudit, "__call__", disturbed)
        assert call("run", path, "--out", tmp_path / "run", "-q").exit_code == 130
    assert call("run", path, "--out", tmp_path / "run", "-q", "--resume").exit_code == 0
    assert tables(tmp_path / "run") == tables(tmp_path / "undisturbed")


def test_a_folder_that_a_process_works_in_is_refused_and_ctrl_c_ends_it_well(home, tmp_path):
    out = tmp_path / "run"
    process = start_and_stop("run", home / "spec.yaml", "--out", out, epoch=1)
    try:
        for flag in ("--resume", "--fresh"):
            result = run(home, out, flag)
            assert result.exit_code == 2
            line = f"error: {out}: another run is under way here (process {process.pid})"
            assert result.stderr.splitlines()[-1].startswith(line)
    finally:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "interrupted: resume with ptaudit run " in err.splitlines()[-1]
    assert "Traceback" not in err
    assert run(home, out, "--resume").exit_code == 0
    assert tables(out) == tables(home / "undisturbed")


# Killed


def kill_and_resume(home, out, epoch, delay):
    process = start_and_stop("run", home / "spec.yaml", "--out", out, epoch=epoch)
    process.send_signal(signal.SIGCONT)
    time.sleep(delay)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "leakage.csv").exists()
    assert call("show", out).exit_code == 2
    assert run(home, out).exit_code == 2
    assert run(home, out, "--resume").exit_code == 0
    assert tables(out) == tables(home / "undisturbed")


def test_killed_at_a_random_moment_and_resumed_is_as_undisturbed(home, tmp_path):
    kill_and_resume(home, tmp_path / "run", 1, random.Random().uniform(0, 0.3))


DAMAGES = {
    "cut off": lambda content: content[:100],
    "empty": lambda content: b"",
    "flipped": lambda content: content[:900] + bytes([content[900] ^ 1]) + content[901:],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["epoch-000001.npz", "checkpoint.pt"])
def test_a_file_that_was_damaged_is_named(home, interrupted, name, damage):
    part = interrupted / ".resume" / "seed-0" / name
    part.write_bytes(DAMAGES[damage](part.read_bytes()))
    result = run(home, interrupted, "--resume")
    assert result.exit_code == 2
    what = "the checkpoint is damaged" if name == "checkpoint.pt" else "the rows of epoch 1 are missing or damaged"
    line = result.stderr.splitlines()[-1]
    assert f"{part}: {what}" in line
    assert line.endswith("(use --fresh to start again)")


def test_a_folder_in_the_place_of_a_mark_is_no_matter(home, interrupted):
    (interrupted / ".resume" / "begun").unlink()
    (interrupted / ".resume" / "begun").mkdir()
    result = run(home, interrupted, "--resume")
    assert result.exit_code == 0, result.output
    assert tables(interrupted) == tables(home / "undisturbed")


def test_afresh_after_damage(home, interrupted):
    (interrupted / ".resume" / "seed-0" / "checkpoint.pt").write_bytes(b"")
    assert run(home, interrupted, "--fresh").exit_code == 0
    assert tables(interrupted) == tables(home / "undisturbed")


# What may be resumed


def test_a_whole_run_has_nothing_to_resume(home, tmp_path):
    gate = {"id": "leak", "metric": "identity.bits", "view": "batch-2", "over": "joint", "max": 0.01}
    path = write_spec(tmp_path, audit__views=ONE_VIEW, audit__games=["identity"], audit__epochs=[2], gates=[gate])
    assert call("run", path, "--out", tmp_path / "run").exit_code == 1
    before = tables(tmp_path / "run")
    result = call("run", path, "--out", tmp_path / "run", "--resume")
    assert result.exit_code == 1
    assert "this run is whole; nothing to resume" in result.stderr
    assert tables(tmp_path / "run") == before


@pytest.mark.parametrize("whole", [False, True])
def test_another_spec_is_refused_with_the_difference_named(home, interrupted, whole):
    out = interrupted
    if whole:
        assert run(home, out, "--resume").exit_code == 0
    result = run(home, out, "--resume", "--set", "train.optimizer.lr=0.2", "--set", "audit.views.0.batch_size=5")
    assert result.exit_code == 2
    line = result.stderr.splitlines()[-1]
    assert "audit.views.0.batch_size was 2, is now 5, train.optimizer.lr was 0.1, is now 0.2" in line
    assert "--fresh" in line
    assert run(home, out, "--resume").exit_code == 0
    assert tables(out) == tables(home / "undisturbed")


def test_another_model_is_refused(tmp_path, monkeypatch):
    path = write_spec(tmp_path, **LONG)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        assert run(tmp_path, tmp_path / "run").exit_code == 130
    (tmp_path / "models.py").write_text(MODELS + "\n# changed\n", encoding="utf-8")
    result = call("run", path, "--out", tmp_path / "run", "--resume")
    assert result.exit_code == 2
    assert f"the checkpoint belongs to another run: code of {tmp_path / 'models.py'} was " in result.stderr


# Folders that are there already


def test_an_existing_run_is_neither_replaced_nor_mixed(home):
    before = tables(home / "undisturbed")
    result = run(home, home / "undisturbed")
    assert result.exit_code == 2
    assert "holds a run (--fresh to replace it, or another --out)" in result.stderr
    assert tables(home / "undisturbed") == before


def test_an_unfinished_run_asks_whether_to_go_on(home, interrupted):
    result = run(home, interrupted)
    assert result.exit_code == 2
    assert "holds an unfinished run (--resume to go on, --fresh to replace it)" in result.stderr


def test_fresh_replaces_everything(home, interrupted):
    (interrupted / "stale.csv").write_text("1", encoding="utf-8")
    (interrupted / "seeds" / "7").mkdir(parents=True)
    assert run(home, interrupted, "--fresh").exit_code == 0
    assert tables(interrupted) == tables(home / "undisturbed")
    assert {path.name for path in interrupted.iterdir()} == {path.name for path in (home / "undisturbed").iterdir()}


def test_fresh_keeps_the_old_run_when_the_new_one_cannot_start(home, tmp_path):
    path = write_spec(tmp_path, audit__views=ONE_VIEW, audit__games=["identity"], audit__epochs=[2])
    assert call("run", path, "--out", tmp_path / "run", "-q").exit_code == 0
    result = call("run", path, "--out", tmp_path / "run", "--fresh", "--set", "model.args.classes=3")
    assert result.exit_code == 2
    assert read_run(tmp_path / "run").rows


OTHER = ("--set", "train.optimizer.lr=0.02")
BOTH = "holds a run, and the unfinished one that was to replace it (--resume to go on with the unfinished one, --fresh"


@pytest.fixture
def replacing(home, tmp_path, monkeypatch):
    """A copy of a run that another one, of another spec, was about to replace when it was interrupted."""
    out = tmp_path / "run"
    shutil.copytree(home / "undisturbed", out)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        assert run(home, out, "--fresh", *OTHER).exit_code == 130
    return out


def test_an_interrupted_run_leaves_the_one_that_it_was_to_replace(home, replacing):
    assert tables(replacing) == tables(home / "undisturbed")
    assert call("show", replacing).exit_code == 0
    assert call("gate", replacing).exit_code == call("gate", home / "undisturbed").exit_code
    result = run(home, replacing)
    assert result.exit_code == 2
    assert BOTH in result.stderr


def test_it_goes_on_and_replaces_the_old_one_at_last(home, replacing, tmp_path):
    assert run(home, tmp_path / "expected", *OTHER).exit_code == 0
    assert run(home, replacing, "--resume", *OTHER).exit_code == 0
    assert tables(replacing) == tables(tmp_path / "expected") != tables(home / "undisturbed")
    assert {path.name for path in replacing.iterdir()} == {path.name for path in (home / "undisturbed").iterdir()}


def test_begun_again_it_forgets_the_interrupted_one(home, replacing):
    assert run(home, replacing, "--fresh").exit_code == 0
    assert tables(replacing) == tables(home / "undisturbed")
    assert run(home, replacing, "--resume").exit_code == 0  # it has ended: nothing is left to resume


def test_the_old_run_outlives_a_new_one_that_is_killed_or_diverges(home, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(home / "undisturbed", out)
    process = start_and_stop("run", home / "spec.yaml", "--out", out, "--fresh", *OTHER, epoch=1)
    process.kill()
    process.communicate()
    assert tables(out) == tables(home / "undisturbed")
    result = run(home, out, "--fresh", "--set", "train.optimizer.lr=1.0e+30")
    assert result.exit_code == 2
    assert f"the run that was in {out} before is still there" in result.stderr.replace("\n", " ")
    assert tables(out) == tables(home / "undisturbed")
    assert not (out / ".resume").exists()


@pytest.mark.parametrize("flag", [(), ("--fresh",), ("--resume",)])
def test_a_folder_that_holds_no_run_is_left_alone(home, tmp_path, flag):
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years of work", encoding="utf-8")
    result = run(home, tmp_path, *flag)
    assert result.exit_code == 2
    assert f"{tmp_path}: is not a run folder" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_run_folder(home, tmp_path):
    (tmp_path / "run").write_text("", encoding="utf-8")
    assert run(home, tmp_path / "run").exit_code == 2


def test_an_empty_folder_will_do(tmp_path):
    path = write_spec(tmp_path, audit__views=ONE_VIEW, audit__games=["identity"], audit__epochs=[0])
    (tmp_path / "run").mkdir()
    assert call("run", path, "--out", tmp_path / "run", "-q").exit_code == 0


def test_fresh_and_resume_exclude_each_other(home, tmp_path):
    assert run(home, tmp_path / "run", "--fresh", "--resume").exit_code == 2
    assert not (tmp_path / "run").exists()
