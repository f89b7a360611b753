"""What models and losses of a user's own do wrong is found before anything is written, and said with the remedy."""

from __future__ import annotations

import pytest
from audit_case import call, write_spec

from ptaudit.tables.folder import read_run

MINE = """\
import torch
from torch import nn
from torch.nn import functional as F

class Heads(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.body, self.main, self.aux, self.kind = nn.Linear(64, 8), nn.Linear(8, 10), nn.Linear(8, 10), kind

    def forward(self, x):
        h = self.body(x.flatten(1)).relu()
        if not self.training:
            return self.main(h)
        return (self.main(h), self.aux(h)) if self.kind == "tuple" else {"out": self.main(h), "aux": self.aux(h)}

class Sparse(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(17, 4, sparse=True), nn.Linear(4, 10)

    def forward(self, x):
        return self.head(self.table(x.flatten(1).round().long().clamp(0, 16)).mean(1))

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.calls = nn.Linear(64, 10), 0

    def forward(self, x):
        self.calls += self.training
        if self.training and self.calls > 3:
            raise KeyError("scale")
        return self.head(x.flatten(1))

class OnlyInTraining(Broken):
    def forward(self, x):
        return self.head(x.flatten(1)[:, :-1] if self.training else x.flatten(1))

def share(output, target):
    return F.cross_entropy(output, target, reduction="none") / len(target)
"""

ADAM = {"train__optimizer": {"name": "adam"}}

MISTAKES = {
    "a tuple in training mode": (
        {"model": {"entry": "mine.py:Heads", "args": {"kind": "tuple"}}},
        ["train.loss", "in training mode the model returns tuple, cross_entropy needs a tensor", "wrap the model"],
    ),
    "a dictionary in training mode": (
        {"model": {"entry": "mine.py:Heads", "args": {"kind": "dict"}}},
        ["in training mode the model returns dict, cross_entropy needs a tensor (parts: out, aux)"],
    ),
    "sparse gradients and adam": (
        {"model__entry": "mine.py:Sparse", **ADAM},
        ["train.optimizer", "does not take sparse gradients, of layer table", "sparse=False"],
    ),
    "sparse gradients and weight decay": (
        {"model__entry": "mine.py:Sparse", "train__optimizer": {"name": "sgd", "weight_decay": 0.1}},
        ["train.optimizer", "does not take sparse gradients, of layer table", "without weight_decay"],
    ),
    "a model that fails in training mode": (
        {"model__entry": "mine.py:OnlyInTraining"},
        ["train: a training step failed: RuntimeError: mat1 and mat2", "in training mode"],
    ),
    "a loss that divides by the batch": (
        {"train__loss": "mine.py:share"},
        ["train.loss: the loss divides by the number of records", "reduction='none'"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("verb", ["run", "check"])
def test_it_is_one_line_before_anything_is_written(tmp_path, name, verb):
    changes, words = MISTAKES[name]
    path = write_spec(tmp_path, **changes)
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    result = call(verb, path, *(("--out", tmp_path / "run", "-q") if verb == "run" else ()))
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert not (tmp_path / "run").exists()


def test_sparse_gradients_with_sgd_are_trained_and_read(tmp_path):
    path = write_spec(
        tmp_path, model__entry="mine.py:Sparse", audit__games=["membership"], train__epochs=1, audit__epochs=[1]
    )
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    assert call("run", path, "--out", tmp_path / "run", "-q").exit_code == 0


def test_code_of_the_spec_that_fails_late_is_named_by_its_line(tmp_path):
    path = write_spec(tmp_path, model__entry="mine.py:Broken", audit__games=["membership"])
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    result = call("run", path, "--out", tmp_path / "run", "-q")
    place = MINE.splitlines().index('            raise KeyError("scale")') + 1
    assert result.exit_code == 2
    assert f"error: {tmp_path / 'mine.py'}:{place}: this code raised KeyError: 'scale'" in result.stderr


def test_segmentation_with_positions_that_do_not_count(tmp_path):
    source = (
        "import torch\nfrom torch import nn\n\ndef net():\n    return nn.Conv2d(1, 3, 3, padding=1)\n\ndef maps():\n"
        "    g = torch.Generator().manual_seed(0)\n    x = torch.rand(80, 1, 4, 4, generator=g)\n"
        "    y = (3 * x[:, 0]).long()\n    y[:, 0], y[:10] = 255, 255\n    return x, y\n"
    )
    changes = {"model__entry": "seg.py:net", "data": {"source": "seg.py:maps"}, "audit__games": ["membership"]}
    path = write_spec(tmp_path, train__ignore_index=255, **changes)
    (tmp_path / "seg.py").write_text(source, encoding="utf-8")
    result = call("run", path, "--out", tmp_path / "run", "-q", "--format", "md")
    assert result.exit_code == 0, result.output
    assert "10 of 80 records have no label that counts" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert not any(row.value != row.value and row.status == "ok" for row in read_run(tmp_path / "run").rows)


def test_ignore_index_of_a_loss_that_does_not_use_it_is_an_error(tmp_path):
    result = call("check", write_spec(tmp_path, train__ignore_index=255, train__loss="mse"))
    assert result.exit_code == 2
    assert "ignore_index" in result.stderr
