"""Faults on purpose, and what must be true after them."""

from __future__ import annotations

import os

from audit_case import ONE_VIEW, call, tables

from ptaudit import files

SHORT = {
    "train__epochs": 2,
    "audit__epochs": "all",
    "audit__views": ONE_VIEW,
    "audit__games": ["identity", "membership"],
    "audit__records": 100,
}


def run(home, out, *flags):
    return call("run", home / "spec.yaml", "--out", out, "-q", *flags)


def one_line(result, *words):
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    assert "internal error" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0]


def nothing_is_half_written(out):
    assert not list(out.rglob("*.part"))
    assert not (out / "leakage.csv").exists()


def goes_on(home, out):
    result = run(home, out, "--resume")
    assert result.exit_code == 0, result.output
    for name in [*tables(out), "bootstrap.npz", "spec.resolved.yaml"]:
        assert (out / name).read_bytes() == (home / "undisturbed" / name).read_bytes(), name
    assert not (out / ".resume").exists()


def fail_at(patch, number, error):
    """The `number`-th write of the run goes wrong, when half of it may be on the disk."""
    honest, calls = os.fsync, []

    def sync(file):
        calls.append(file)
        if len(calls) == number:
            raise error
        honest(file)

    patch.setattr(files.os, "fsync", sync)
    return calls
