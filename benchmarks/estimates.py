"""What `ptaudit check` foretells of a run, beside what the run takes: seconds of each phase and peak memory.

    python benchmarks/estimates.py                            # about ten minutes on one core
    python benchmarks/estimates.py --only init speech         # some of the projects

Four projects: the one that `ptaudit init` writes, an audit of saved checkpoints, a ResNet-50, and a network of 1-D
convolutions on waveforms, whose layers have many positions. The last two are on noise: their cost does not depend on
what there is to learn. `check` and `run` are processes of their own with one thread. Seconds are of wall time times the
share of it in which the process had a core, so that other work on the machine counts little.

`--json FILE` writes a list of rows: project, phase (training, capture, games, whole, memory, check), foretold,
measured, ratio. Memory is in MiB, and `check` is what the check itself took, without an estimate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

PHASES = ("training", "capture", "games")
SGD = {"name": "sgd", "lr": 0.01}
RECORD, BATCH = {"name": "record", "batch_size": 1}, {"name": "batch-8", "batch_size": 8}
GAMES = ["identity", "label", "membership"]
Row = dict[str, Any]


def waves(classes: int = 10) -> nn.Module:
    """1-D convolutions on waveforms, after the M5 of Dai et al. (arXiv 1610.00087), with GroupNorm."""
    layers: list[nn.Module] = []
    for inside, outside, kernel, stride in ((1, 32, 80, 4), (32, 32, 3, 1), (32, 64, 3, 1), (64, 64, 3, 1)):
        layers += [nn.Conv1d(inside, outside, kernel, stride), nn.GroupNorm(8, outside), nn.ReLU(), nn.MaxPool1d(4)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, classes))


def init(folder: Path) -> Path:
    """The project of a new user."""
    _command("init", folder)
    return folder / "spec.yaml"


def replay(folder: Path) -> Path:
    """The same model, audited from the checkpoints of five epochs."""
    path = init(folder)
    sys.path.insert(0, str(folder))
    from model import small_cnn
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = torch.from_numpy(digits.images / 16.0).float()[:, None], torch.from_numpy(digits.target)
    members = torch.arange(0, len(x), 2)
    torch.manual_seed(0)
    model = small_cnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    (folder / "ckpts").mkdir()
    for epoch in range(1, 6):
        for batch in members[torch.randperm(len(members))].split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
        torch.save({"epoch": epoch, "model_state_dict": model.state_dict()}, folder / "ckpts" / f"epoch-{epoch}.pt")
    np.save(folder / "members.npy", members.numpy())
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["data"] = {"source": "sklearn:digits", "members": "members.npy"}
    spec["replay"], spec["train"] = {"checkpoints": "ckpts/*.pt"}, {"loss": "cross_entropy"}
    spec["audit"]["epochs"] = [1, 3, 5]
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return path


def resnet50(folder: Path) -> Path:
    """53 convolutions, 53 BatchNorms and a linear layer; audited once, for it takes long."""
    model = {"entry": "torchvision:resnet50", "args": {"num_classes": 10}}
    return _on_noise(folder, model, [2], np.empty((512, 3, 32, 32), np.float32))


def speech(folder: Path) -> Path:
    """Half a second of sound at 16 kHz."""
    model = {"entry": f"{Path(__file__).resolve()}:waves"}
    return _on_noise(folder, model, [0, 2], np.empty((1024, 1, 8000), np.float32))


def _on_noise(folder: Path, model: Row, epochs: list[int], x: Any) -> Path:
    """Half of the records are trained on in two epochs, and audited after some."""
    generator = np.random.default_rng(0)
    generator.standard_normal(out=x, dtype=np.float32)
    np.savez(folder / "noise.npz", x=x, y=generator.integers(0, 10, len(x)))
    spec = {
        "version": 1,
        "name": "cost",
        "model": model,
        "data": {"source": "npz:noise.npz", "held_out": 0.5},
        "train": {"epochs": 2, "batch_size": 32, "optimizer": SGD, "loss": "cross_entropy"},
        "audit": {"epochs": epochs, "views": [RECORD, BATCH], "games": GAMES},
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return folder / "spec.yaml"


PROJECTS: dict[str, Callable[[Path], Path]] = {"init": init, "replay": replay, "resnet50": resnet50, "speech": speech}


def main() -> int:
    """Check and run every project."""
    parser = argparse.ArgumentParser(description="Hold what check foretells against what a run takes.")
    parser.add_argument("--only", nargs="+", choices=list(PROJECTS), default=list(PROJECTS), help="some projects")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    options = parser.parse_args()
    rows = [row for name in options.only for row in _project(name)]
    print(f"{'project':10}{'':10}{'foretold':>10}{'measured':>10}{'ratio':>8}")
    for row in rows:
        foretold, ratio = (f"{row[key]:.2f}" if row[key] is not None else "" for key in ("foretold", "ratio"))
        print(f"{row['project']:10}{row['phase']:10}{foretold:>10}{row['measured']:>10.2f}{ratio:>8}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def _project(name: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        spec = PROJECTS[name](folder)
        check = _command("check", spec, "--format", "json")
        run = _command("run", spec, "--out", folder / "run", "--no-gate", "--quiet")
        timings = json.loads((folder / "run" / "timings.json").read_text(encoding="utf-8"))
    report = json.loads(check["output"])
    foretold = {phase: report["estimate_seconds"][phase] * check["share"] for phase in PHASES}
    measured = {phase: timings[phase] * run["share"] for phase in PHASES}
    pairs = {phase: (foretold[phase], measured[phase]) for phase in PHASES}
    pairs["whole"] = (sum(foretold.values()), sum(measured.values()))
    pairs["memory"] = (report["memory_bytes"] / 2**20, run["peak_mib"])
    rows = [{"project": name, "phase": p, "foretold": f, "measured": m, "ratio": f / m} for p, (f, m) in pairs.items()]
    return [*rows, {"project": name, "phase": "check", "foretold": None, "measured": check["cpu"], "ratio": None}]


def _command(*words: object) -> Row:
    """What the command printed, its CPU seconds, the share of wall time that they are, and its peak memory."""
    command = [sys.executable, "-m", "ptaudit", *map(str, words)]
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as child:
        assert child.stdout is not None
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    unit = 1 if sys.platform == "darwin" else 1024
    share = min(1.0, cpu / (time.perf_counter() - began))
    return {"output": output, "cpu": cpu, "share": share, "peak_mib": usage.ru_maxrss * unit / 2**20}


if __name__ == "__main__":
    sys.exit(main())
