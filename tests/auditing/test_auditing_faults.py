"""Full disks, folders that vanish, signals and kills: one clear line, nothing half-written, and the run can go on."""

from __future__ import annotations

import errno
import random
import resource
import shutil
import signal
import time

import pytest
from audit_case import call, start, start_and_stop, tables
from fault_case import fail_at, goes_on, nothing_is_half_written, one_line, run

from ptaudit.auditing.epoch import EpochAudit

WRITES = 1 + 3 + 3 + 13  # thresholds, parts, checkpoints, files of the run folder
SOME = [2, 5, WRITES]


def test_how_often_a_run_writes(home, tmp_path, monkeypatch):
    calls = fail_at(monkeypatch, 0, None)
    assert run(home, tmp_path / "run").exit_code == 0
    assert len(calls) == WRITES


# The disk is full


def full_disk_at(home, out, monkeypatch, number):
    with monkeypatch.context() as patch:
        fail_at(patch, number, OSError(errno.ENOSPC, "No space left on device"))
        one_line(run(home, out), str(out), "cannot be written: No space left on device", "go on with --resume")
    nothing_is_half_written(out)
    goes_on(home, out)


@pytest.mark.parametrize("number", SOME)
def test_a_disk_that_is_full_at_a_write(home, tmp_path, monkeypatch, number):
    full_disk_at(home, tmp_path / "run", monkeypatch, number)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_a_disk_that_is_full_at_any_write(home, tmp_path, monkeypatch, number):
    full_disk_at(home, tmp_path / "run", monkeypatch, number)


def test_a_limit_on_the_size_of_files(home, tmp_path):
    """As real as a full disk: the system lets the process write no file of more than 16 KiB."""
    limit = (2**14, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    process = start(
        "run",
        home / "spec.yaml",
        "--out",
        tmp_path / "run",
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    _, err = process.communicate(timeout=600)
    assert process.returncode == 2, err
    assert "Traceback" not in err
    assert f"error: {tmp_path / 'run'}" in err.splitlines()[-1]
    assert "cannot be written: File too large (mend that, then go on with --resume)" in err.splitlines()[-1]
    nothing_is_half_written(tmp_path / "run")
    goes_on(home, tmp_path / "run")


@pytest.mark.parametrize("what", ["mkdir", "open"])
def test_a_read_only_file_system(home, tmp_path, monkeypatch, what):
    honest = getattr(type(tmp_path), what)

    def refuse(self, *args, **options):
        writing = what == "mkdir" or "a" in "".join(map(str, args))
        if writing and str(self).startswith(str(tmp_path / "run")):
            raise OSError(errno.EROFS, "Read-only file system")
        return honest(self, *args, **options)

    monkeypatch.setattr(type(tmp_path), what, refuse)
    one_line(run(home, tmp_path / "run"), "cannot be written: Read-only file system (choose another with --out)")


def test_a_report_that_cannot_be_written_does_not_cost_the_run(home, tmp_path):
    result = run(home, tmp_path / "run", "--output", "junit=/dev/full")
    one_line(result, "/dev/full: cannot be written: ")
    assert tables(tmp_path / "run") == tables(home / "undisturbed")


# The folder vanishes


def at_epoch(patch, epoch, do):
    honest = EpochAudit.__call__

    def disturbed(self, moment):
        if moment.epoch == epoch:
            do()
        honest(self, moment)

    patch.setattr(EpochAudit, "__call__", disturbed)


def test_a_folder_that_is_deleted_while_the_run_is_under_way(home, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_epoch(patch, 1, lambda: shutil.rmtree(out))
        one_line(run(home, out), f"{out}: was removed or replaced while this run was under way")
    assert not out.exists()
    goes_on(home, out)


def test_a_folder_that_is_replaced_by_another_run(home, tmp_path, monkeypatch):
    out = tmp_path / "run"

    def replace():
        shutil.rmtree(out)
        shutil.copytree(home / "undisturbed", out)

    with monkeypatch.context() as patch:
        at_epoch(patch, 2, replace)
        one_line(run(home, out), "was removed or replaced")
    assert tables(out) == tables(home / "undisturbed")
    assert not (out / ".resume").exists()


def test_what_a_kill_after_the_last_write_left_is_cleared(home, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("ptaudit.auditing.folder.shutil.rmtree", lambda *_, **__: None)
        assert run(home, out).exit_code == 0
    assert (out / ".resume").is_dir()
    assert call("show", out).exit_code == 0
    result = call("run", home / "spec.yaml", "--out", out, "--resume")
    assert result.exit_code == 0
    assert "this run is whole; nothing to resume" in result.stderr
    assert not (out / ".resume").exists()


# Ctrl-C and SIGTERM


@pytest.mark.parametrize("number", SOME)
def test_ctrl_c_during_a_write(home, tmp_path, monkeypatch, number):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        fail_at(patch, number, KeyboardInterrupt())
        result = run(home, out)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1].startswith("interrupted: resume with ptaudit run ")
    nothing_is_half_written(out)
    goes_on(home, out)


@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_signals_end_a_run_so_that_it_can_go_on(home, tmp_path, signals):
    out = tmp_path / "run"
    process = start_and_stop("run", home / "spec.yaml", "--out", out, epoch=1)
    process.send_signal(signal.SIGCONT)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.02)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("interrupted: resume with ptaudit run ")
    assert "Traceback" not in err
    nothing_is_half_written(out)
    goes_on(home, out)


# kill -9


def killed_anywhere(home, out, moment):
    """Killed so many seconds after it was started, whatever it was at; returns whether the run was whole by then."""
    process = start("run", home / "spec.yaml", "--out", out)
    time.sleep(moment)
    process.kill()
    process.communicate()
    whole = (out / "leakage.csv").exists()
    if process.returncode == 0:
        assert whole
    else:
        assert process.returncode == -signal.SIGKILL
    result = call("run", home / "spec.yaml", "--out", out, "--resume")
    assert result.exit_code == 0, result.output
    assert ("this run is whole; nothing to resume" in result.stderr) == whole
    goes_on(home, out)
    return whole


@pytest.fixture(scope="module")
def duration(home):
    """Seconds that the command takes in a process of its own."""
    began = time.monotonic()
    process = start("run", home / "spec.yaml", "--out", home / "timed")
    assert process.wait(timeout=600) == 0, process.communicate()
    process.communicate()
    return time.monotonic() - began


@pytest.mark.parametrize("number", range(3))
def test_killed_at_a_random_moment(home, tmp_path, duration, number):
    killed_anywhere(home, tmp_path / "run", duration * random.Random().uniform(0.3, 1.0))


@pytest.mark.slow
def test_killed_at_20_random_moments(home, tmp_path, duration):
    for number in range(20):
        moment = duration * random.Random().uniform(0, 1.05)
        whole = killed_anywhere(home, tmp_path / f"run-{number}", moment)
        print(f"killed after {moment:.2f} s of {duration:.2f} s: {'whole' if whole else 'resumed'}, tables the same")
