"""What makes the numbers of an epoch doubtful is said, and nothing where there is no reason."""

from __future__ import annotations

import json

import pytest
from audit_case import call, write_spec

MINE = """\
import torch
from torch import nn
from torch.nn import functional as F

def plain(last=None):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10), *([last] if last else []))

def dropped():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10))

def normed(momentum=0.1):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16, momentum=momentum), nn.ReLU(), nn.Linear(16, 10)
    )

def dead():
    model = plain()
    model[1].bias.data.fill_(-100.0)
    return model

class OtherInTraining(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        out = self.head(x.flatten(1))
        return out if self.training else 30 * out

class Distribution(nn.Module):
    def forward(self, x):
        return x.exp() / x.exp().sum(1, keepdim=True)

def sigmoid():
    return plain(nn.Sigmoid())

def softmax():
    return plain(nn.Sequential(nn.Softmax(1), nn.Flatten()))

def log_softmax():
    return plain(nn.LogSoftmax(1))

def distribution():
    return plain(Distribution())

class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        out = self.head(x.flatten(1))
        return out - out.mean(0)

def flat(output, target):
    return F.cross_entropy(output, target, reduction="none") * (target > 1)
"""

WARNINGS = {
    "plain": ({}, []),
    "dropped": ({}, ["Dropout was off"]),
    "log_softmax": ({}, []),
    "sigmoid": ({}, ["The model ends in a sigmoid, and cross_entropy"]),
    "softmax": ({}, ["The model ends in a softmax, and cross_entropy"]),
    "distribution": ({}, ["The model ends in probabilities, and cross_entropy"]),
    "normed": ({}, ["BatchNorm statistics were frozen"]),
    "normed, one that lags": (
        {"model__args": {"momentum": 0.0001}, "train__optimizer": {"name": "sgd", "lr": 0.5}},
        ["The mean loss of members depends on the mode: at epoch 2: ", "BatchNorm statistics were frozen"],
    ),
    "OtherInTraining": ({}, ["The mean loss of members depends on the mode: at epoch 0: "]),
    "dead": ({}, ["give a gradient of 0: at epoch 0: layer 1 (160 of 160 records); at epoch 2: layer 1 (160 of"]),
    "plain, flat for two classes": (
        {"train__loss": "mine.py:flat"},
        ["Gradients that are 0 in float32: at epoch 0: "],
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_a_run_says_what_is_doubtful_in_its_manifest_and_at_once(tmp_path, name):
    changes, words = WARNINGS[name]
    path = write_spec(
        tmp_path, model__entry=f"mine.py:{name.partition(',')[0]}", audit__games=["membership"], **changes
    )
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    result = call("run", path, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    warnings = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))["warnings"]
    assert len(warnings) == len(words), warnings
    for warning, word in zip(warnings, words):
        assert word in warning
    at_once = [word for word in words if "at epoch" in word]
    assert ("warning: " in result.stderr) == bool(at_once)


@pytest.mark.parametrize("name", ["sigmoid", "OtherInTraining", "dead"])
def test_check_foretells_what_the_untrained_model_shows(tmp_path, name):
    path = write_spec(tmp_path, model__entry=f"mine.py:{name}", audit__games=["membership"])
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    result = call("check", path, "--format", "json")
    assert result.exit_code == 0, result.output
    warnings = json.loads(result.stdout)["warnings"]
    (warning,) = warnings
    assert WARNINGS[name][1][0].partition(": at epoch")[0] in warning


def test_layers_that_are_not_captured_have_no_gradient_of_0(tmp_path):
    path = write_spec(tmp_path, model__entry="mine.py:Centred", audit__games=["membership"])
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    found = json.loads(call("check", path, "--format", "json").stdout)
    assert [layer["capture"] for layer in found["layers"]] == ["none"]
    assert not [warning for warning in found["warnings"] if "Gradients that are 0" in warning]


def test_what_was_doubtful_before_a_run_was_resumed_is_said_too(tmp_path):
    path = write_spec(tmp_path, model__entry="mine.py:OtherInTraining", audit__games=["membership"])
    source = MINE.replace(
        "        return out if self.training else 30 * out",
        "        import pathlib\n"
        "        fail = pathlib.Path(__file__).with_name('fail')\n"
        "        fail.exists() and self.training and self.late() and 1 / 0\n"
        "        return out if self.training else 30 * out\n\n"
        "    def late(self):\n"
        "        self.steps = getattr(self, 'steps', 0) + 1\n"
        "        return self.steps > 8",
    )
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    (tmp_path / "fail").touch()
    assert call("run", path, "--out", tmp_path / "run", "-q").exit_code == 2  # in the first epoch, on the ninth pass
    (tmp_path / "fail").unlink()
    result = call("run", path, "--out", tmp_path / "run", "-q", "--resume")
    assert result.exit_code == 0, result.output
    (warning,) = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))["warnings"]
    assert "at epoch 0: " in warning
