"""Specs and tables that nobody should write, and what the command line must do with them all the same."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from typer.testing import CliRunner

from ptaudit.cli import app

MODEL = """\
import torch
from torch import nn
from torch.nn import functional as F

class Any(nn.Module):
    '''Takes as many features as there are.'''
    def __init__(self, hidden=4, classes=3):
        super().__init__()
        self.first, self.last = nn.Linear(4, hidden), nn.Linear(hidden, classes)

    def forward(self, x):
        x = x.float().flatten(1)
        return self.last(torch.tanh(self.first(F.pad(x, (0, max(0, 4 - x.shape[1])))[:, :4])))

def one(hidden=4):
    return Any(hidden, 1)

def loss(output, target):
    return F.cross_entropy(output, target, reduction='none')
"""

PEOPLE = ["age,color,score,income"] + [
    f"{20 + i % 50},{('red', 'green', 'blue')[i % 3]},{i * 7 % 11 / 2},{('low', 'high')[i * i % 5 % 2]}"
    for i in range(60)
]

_AUDIT = {
    "records": 16,
    "epochs": [0, 1],
    "layers": ["*"],
    "tokens": {"dim": 16},
    "views": [
        {"name": "record", "batch_size": 1},
        {
            "name": "dp",
            "batch_size": 2,
            "rounds": 1,
            "layers": ["last"],
            "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": 1.0},
        },
    ],
    "games": ["identity", {"name": "label"}],
    "seed": 0,
}
_GATES = [
    {"id": "leak", "metric": "identity.bits", "view": "dp", "over": "joint", "epoch": "last", "max": 9.0},
    {"id": "more", "metric": "identity.bits", "view": "record", "max_increase": 1.0, "same_weights": True},
]
_TRAIN = {
    "epochs": 1,
    "batch_size": 16,
    "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
    "schedule": {"name": "step", "step_size": 1, "gamma": 0.5},
    "loss": "cross_entropy",
    "seed": 0,
}


def _spec(**parts: Any) -> dict[str, Any]:
    return {"version": 1, "name": "fuzz", "model": {"entry": "model.py:Any", "args": {"hidden": 4}}, **parts}


PEOPLE_DATA = {"source": "csv:people.csv", "label": "income", "attributes": ["color"], "drop": ["score"]}
BASES = [
    _spec(data={"source": "sklearn:iris", "held_out": 0.5, "seed": 1}, train=_TRAIN, audit=_AUDIT, gates=_GATES),
    _spec(data=PEOPLE_DATA, train={**_TRAIN, "loss": "model.py:loss"}, audit=_AUDIT, gates=_GATES[:1]),
    _spec(
        data={"source": "sklearn:iris", "limit": 80, "preprocess": "fit"},
        replay={"checkpoints": "ckpts/*.pt"},
        audit=_AUDIT,
    ),
    _spec(
        data={"source": "sklearn:iris", "augment": {"noise": 0.1}},
        train={**_TRAIN, "label_smoothing": 0.1, "accumulate": 2, "clip_norm": 1.0, "sam": {"rho": 0.05}},
        audit={**_AUDIT, "live": {"budget": 0.5}, "games": ["membership", "identity"]},
    ),
]
"""Valid specs: a training on a bundled set, one on a table, a walk over checkpoints, a training with all extras."""

LARGE = [10**9, 10**30, -(10**30), 1e308, -1e308, float("inf"), float("nan"), 2**63, -1, -0.5]
ODD = [
    *(None, True, False, 0, 1, 2, 3.0, 0.5, 1e-30),
    *("", " ", "x", "all", "1", "nan", "true", "\u2603 ünï", "a" * 3000, "\u202e\u2028", "\x1b[31m", "a\nb", "\x7f"),
    *("..", "/", "~", "~nobody", "*", "[", "{}", "{x!r:>{y}}", "%s", "${NOPE}", "${", "${PTAUDIT_DATA:-data}"),
    *("model.py:Any", "model.py:none", "model.py", "nothing.py:x", "os.path:join", "no.such:thing", "builtins:exit"),
    *(
        "csv:",
        "csv:people.csv",
        "csv:/",
        "npz:people.csv",
        "sklearn:wine",
        "sklearn:",
        "parquet:people.csv",
        "folder:.",
    ),
    *([], {}, [[]], [None], [1, "a", {}], {"a": 1}, {"": ""}, {"name": "dp"}, ["identity"] * 3, [0, 1, 1], [10**12]),
    *({"every": 2}, {"every": 0}, {"name": "adam", "lr": 1}, {"checkpoints": "ckpts/*"}, {"checkpoints": "*"}),
]
WORDS = ["model.py:one", "model.py:Any", "model.py:loss", "bce", "mse", "cross_entropy", "adam", "adamw", "cosine"]
WORDS += ["exponential", "identity", "label", "membership", "label.accuracy", "membership.auc", "identity.accuracy"]
WORDS += ["joint", "all", "layers", "first", "last", "max", "model", "record", "dp", "income", "age", "color", "score"]
WORDS += ["csv:people.csv", "sklearn:wine", "sklearn:digits", "sklearn:breast_cancer", "ckpts/1.pt", "ckpts/*", "l*"]
NUMBERS = [0, 1, 2, 3, 5, 7, 8, 17, 64, 100, 1000, 0.01, 0.5, 0.99, 1.0, 1e-9, 1e6]
KEYS = ["epochs", "seed", "seeds", "replay", "live", "defense", "state", "<<", "loss", "args", "a b", "", "é", "0"]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values inside, the whole one left out."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in inside for place in ((*at, key), *places(item, (*at, key)))]


@st.composite
def values(draw: st.DrawFn) -> dict[str, Any]:
    """A valid spec in which a few values, keys and entries were changed."""
    spec = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(0, 3))):
        known = places(spec)
        if not known:
            break
        *parents, last = draw(st.sampled_from(known))
        holder: Any = spec
        for key in parents:
            holder = holder[key]
        kinds = ["near"] * 6 + ["set", "set", "large", "drop", "rename", "add", "repeat", "deepen"]
        change = draw(st.sampled_from(kinds))
        if change == "near":  # what could stand there, so that it gets further than the first check
            number = isinstance(holder[last], int | float)
            holder[last] = draw(st.sampled_from(NUMBERS if number else [*WORDS, [], ["*"], ["age"], [0], [1]]))
        elif change == "set":
            holder[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif change == "large" and parents[:2] != ["model", "args"]:  # a model of that size is built as asked
            holder[last] = draw(st.sampled_from(LARGE))
        elif change == "drop":
            del holder[last]
        elif change == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from([str(last)[:-1], f"{last}s", str(last).upper(), *KEYS]))] = holder.pop(last)
        elif change == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(KEYS))] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif change == "repeat" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        elif change == "deepen":
            for _ in range(draw(st.sampled_from([1, 50]))):
                holder[last] = [holder[last]] if draw(st.booleans()) else {"a": holder[last]}
    return spec


BOMB = "\n".join(["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 25)])
TEXTS = [
    *(
        "",
        "\n",
        "---\n---\n",
        "...",
        "null",
        "[]",
        "3",
        "'x",
        '"',
        "{",
        "[" * 1500,
        "a: " * 300,
        "- " * 3000,
        "? a\n: b",
    ),
    *("&a [*a]", "<<: *x", "a: &a {<<: *a}", BOMB, "!!python/object/apply:os.getcwd []", "a: !!python/name:os.system"),
    *("a: !!binary x", "a: !!set {x}", "%YAML 9.9\n---\na: 1", "\t\ta: 1", "a: 1\n\tb: 2", "a: 2020-01-01", "1: 2"),
    *("a: 0o17", "a: 1_000", "a: 0x1F", "a: .inf", "a: ~", "=: =", "a: |\n b\nc", "a: >-\n", "\ufeff", "\x00", "#"),
]


@st.composite
def specs(draw: st.DrawFn) -> bytes:
    """The content of a spec file: a changed spec, its text or bytes changed too, or something that is no spec."""
    if draw(st.integers(0, 14)) == 7:
        return draw(st.one_of(st.sampled_from(TEXTS).map(str.encode), st.binary(max_size=60)))
    text = yaml.safe_dump(draw(values()), sort_keys=False, allow_unicode=True)
    for _ in range(draw(st.sampled_from([0] * 9 + [1, 2]))):
        at, word = draw(st.integers(0, len(text))), draw(st.sampled_from([*TEXTS, *"\t\r:-[]{}&*!|>'\"%@`#,?", "  "]))
        change = draw(st.sampled_from(["insert", "cut", "drop", "lines", "append", "crlf"]))
        if change == "insert":
            text = text[:at] + word + text[at:]
        elif change == "cut":
            text = text[:at]
        elif change == "drop":
            text = text[:at] + text[at + draw(st.integers(1, 8)) :]
        elif change == "lines":
            lines = text.splitlines(keepends=True) or [""]
            text += draw(st.sampled_from(lines))
        elif change == "append":
            text += word
        else:
            text = text.replace("\n", "\r\n")
    content = text.encode("utf-8", "surrogatepass")
    coding = draw(st.sampled_from([""] * 25 + ["bom", "utf-16", "latin"]))
    if coding == "bom":
        return b"\xef\xbb\xbf" + content
    return text.encode("utf-16") if coding == "utf-16" else content + b"# \xe9\n" if coding == "latin" else content


CELLS = ["", " ", "nan", "NaN", "inf", "-inf", "1e400", "1e-400", "null", "?", "x", '"', '""', "a,b", "'", "1,5", "０"]
CELLS += ["é", "\u2603", "low", "high", "3", "3.0", "-0", "0x10", "True", "2020-01-01", "a" * 2000, "#", "=1+1", "\x00"]


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """A table of people in which cells, lines, columns or bytes were changed."""
    table = [line.split(",") for line in PEOPLE]
    for _ in range(draw(st.integers(0, 4))):
        kinds = ["cell"] * 6 + ["column"] * 3 + ["distinct", "line", "ragged", "header", "few", "swap"]
        change = draw(st.sampled_from(kinds))
        row, column = draw(st.integers(0, len(table) - 1)), draw(st.integers(0, 3))
        cell = draw(st.sampled_from(CELLS))
        if change == "cell" and column < len(table[row]):
            table[row][column] = cell
        elif change == "column":
            table = [line if k == 0 else [*line[:column], cell, *line[column + 1 :]] for k, line in enumerate(table)]
        elif change == "line":
            table.insert(row, draw(st.sampled_from([[], [cell], table[row], ["x"] * 9])))
        elif change == "ragged":
            table[row] = table[row][:column] if draw(st.booleans()) else [*table[row], cell]
        elif change == "header" and table:
            names = ["", "age", "income", "color", "a b", "é", '"', cell]
            table[0] = [*table[0][:column], draw(st.sampled_from(names)), *table[0][column + 1 :]]
        elif change == "distinct":
            table = [line if k == 0 else [*line[:column], f"v{k}", *line[column + 1 :]] for k, line in enumerate(table)]
        elif change == "few":
            table = table[: draw(st.integers(1, 12))]
        elif change == "swap":
            table = [[*line[:column], *line[column + 1 :]] for line in table]
    comma, end = draw(st.sampled_from([","] * 15 + [";", "\t"])), draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    content = end.join(comma.join(line) for line in table).encode("utf-8", "surrogatepass")
    change = draw(st.sampled_from([""] * 30 + ["bom", "utf-16", "latin", "cut", "empty", "bytes", "zeros"]))
    if change == "bom":
        return b"\xef\xbb\xbf" + content
    if change == "utf-16":
        return content.decode(errors="replace").encode("utf-16")
    if change == "latin":
        return content + b"\n33,\xe9\xff,2,low"
    if change == "cut":
        return content[: draw(st.integers(0, len(content)))]
    return {"empty": b"", "bytes": bytes(range(256)) * 3, "zeros": b"\0" * 100}.get(change, content)


class Home:
    """A folder with all that the valid specs name, brought back to what it was after every trial."""

    def __init__(self, folder: Path) -> None:
        import torch

        self.folder = folder
        (folder / "ckpts").mkdir()
        scope: dict[str, Any] = {"__name__": "fuzz_model"}
        exec(MODEL, scope)
        for epoch in range(2):
            torch.save(scope["Any"]().state_dict(), folder / "ckpts" / f"{epoch}.pt")
        self.write("model.py", MODEL.encode())
        self.write("people.csv", "\n".join(PEOPLE).encode())
        self.write("spec.yaml", yaml.safe_dump(BASES[0]).encode())

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def files(self) -> set[str]:
        return {str(path) for path in self.folder.rglob("*") if "__pycache__" not in path.parts}

    def call(self, *words: object) -> int:
        """Call the command; find its exit code promised, its error one clear line, and nothing left behind."""
        before = self.files()
        result = CliRunner().invoke(app, [str(word) for word in words])
        said = f"exit code {result.exit_code}\n{result.stdout[-500:]}\n{result.stderr}"
        assert result.exit_code in (0, 1, 2, 3), said
        for text in (result.stdout, result.stderr):
            assert "Traceback" not in text, said
        assert "internal error" not in result.stderr, said
        left = self.files() - before
        if result.exit_code == 2 and "the epochs before it are in" not in result.stderr:
            lines = result.stderr.strip().splitlines()
            assert [line.startswith("error: ") for line in lines].count(True) == 1, said
            assert len(lines) <= 6, said  # up to five errors of a spec are a line each
            marks = {str(self.folder / "run" / ".resume" / name) for name in ("begun", "lock")}  # of an unfinished run
            assert not left - marks, f"{left}\n{said}"
        if words[0] == "check":
            assert not left, left
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        return result.exit_code
