"""Small specs and the models they name, and calls of the command line on them."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml
from typer.testing import CliRunner

from ptaudit.auditing.epoch import EpochAudit
from ptaudit.cli import app
from ptaudit.tables.folder import read_run

MODELS = """\
import torch
from torch import nn

def net(hidden=16, classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, classes))

def batchnorm():
    norm = nn.BatchNorm1d(16, track_running_stats=False)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), norm, nn.ReLU(), nn.Linear(16, 10))

class Spare(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.spare = net(), nn.Linear(3, 3)

    def forward(self, x):
        return self.body(x)

def untrainable():
    return net().requires_grad_(False)

def not_a_number():
    model = net()
    model[1].weight.data[0, 0] = float("nan")
    return model

def regression():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
"""

DATA = """\
import torch

def numbers(n=160):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(n, 4, generator=generator)
    return inputs, inputs.sum(1) + 0.1 * torch.randn(n, generator=generator)
"""

BASE = {
    "version": 1,
    "name": "small",
    "model": {"entry": "models.py:net"},
    "data": {"source": "sklearn:digits", "limit": 320},
    "train": {"epochs": 2, "batch_size": 32, "optimizer": {"name": "sgd", "lr": 0.1}},
    "audit": {
        "epochs": [0, 2],
        "tokens": {"dim": 16},
        "views": [
            {"name": "record", "batch_size": 1},
            {"name": "batch-2", "batch_size": 2},
            {"name": "batch-4", "batch_size": 4},
            {"name": "dp-1", "batch_size": 2, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": 1.0}},
            {"name": "dp-4", "batch_size": 2, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": 4.0}},
        ],
        "games": ["identity", {"name": "label", "fit_batches": 512}, "membership"],
    },
}
TABLES = ("leakage.csv", "layers.csv", "epochs.csv", "layer_epoch.csv")

ONE_VIEW = [{"name": "batch-2", "batch_size": 2}]


def write_spec(folder: Path, **changes: object) -> Path:
    """The base spec with `a__b=value` set (None: left out), in a file beside the models."""
    spec = copy.deepcopy(BASE)
    for path, value in changes.items():
        *parents, name = path.split("__")
        part = spec
        for parent in parents:
            part = part.setdefault(parent, {})
        if value is None:
            part.pop(name, None)
        else:
            part[name] = value
    (folder / "models.py").write_text(MODELS, encoding="utf-8")
    (folder / "data.py").write_text(DATA, encoding="utf-8")
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return path


def call(*words: object):
    """The command in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def interrupt_at(monkeypatch, epoch):
    """Ctrl-C while an epoch is audited."""
    honest = EpochAudit.__call__

    def disturbed(self, moment):
        if moment.epoch == epoch:
            raise KeyboardInterrupt
        honest(self, moment)

    monkeypatch.setattr(EpochAudit, "__call__", disturbed)


STOPS = """\
import os, signal
from ptaudit.auditing.epoch import EpochAudit
from ptaudit.cli import main

honest = EpochAudit.__call__

def stopped(self, moment):
    if moment.epoch == {epoch}:
        os.kill(os.getpid(), signal.SIGSTOP)
    honest(self, moment)

EpochAudit.__call__ = stopped
main()
"""


def start(*words: object, before=lambda: None, program=("-m", "ptaudit")) -> subprocess.Popen[str]:
    """The command in a process of its own, which calls `before` first and hears of Ctrl-C.

    A shell that starts the tests in the background tells them, and so their processes, to ignore it.
    """

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        before()

    command = [sys.executable, *program, *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        preexec_fn=prepare,
    )


def start_and_stop(*words: object, epoch: int) -> subprocess.Popen[str]:
    """The command in a process that stands still where it would audit that epoch; SIGCONT lets it go on."""
    process = start(*words, program=("-c", STOPS.format(epoch=epoch)))
    found = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert found is not None
    assert found.si_code == os.CLD_STOPPED, process.communicate()
    return process


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def bits(folder: Path, **wanted: object) -> dict[object, float]:
    """Bits by (epoch, layer) of the rows whose columns equal the given values; not of static adversaries."""
    kept = [row for row in read_run(folder).rows if row.metric == "bits" and row.adaptive]
    rows = [row for row in kept if all(getattr(row, name) == value for name, value in wanted.items())]
    return {(row.epoch, row.layer): row.value for row in rows}
