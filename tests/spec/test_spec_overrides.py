from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptaudit.errors import SpecError
from ptaudit.spec.load import load

Write = Callable[..., Path]

VIEWS = "audit:\n  views:\n    - {name: a, batch_size: 2}\n    - {name: b, batch_size: 3}\n  games: [identity]\n"


def test_values_are_yaml_and_the_last_wins(write: Write) -> None:
    spec = load(
        write(extra=VIEWS),
        [
            "train.epochs=7",
            "train.optimizer.lr=1e-3",  # makes the mapping that is not there
            "audit.views.1.batch_size=9",
            "audit.epochs=[0, 7]",
            "model.args={text: a=b}",
            "train.epochs=8",
        ],
    )
    assert spec.train.epochs == 8
    assert spec.train.optimizer.lr == 0.001
    assert [view.batch_size for view in spec.audit.views] == [2, 9]
    assert spec.audit.audited_epochs(8) == (0, 7)
    assert spec.model.args == {"text": "a=b"}


def test_an_override_can_mend_a_spec(write: Write) -> None:
    path = write("version: 1\nname: x\nmodel: {entry: 3}\ndata: {source: sklearn:iris}\ntrain: 5\n")
    spec = load(path, ["model.entry=net.py:net", "train={epochs: 2}"])
    assert spec.train.epochs == 2


def test_an_empty_section_can_be_filled(write: Write) -> None:
    assert load(write(extra="audit:\n"), ["audit.seed=5"]).audit.seed == 5


def test_paths_are_relative_to_the_spec(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.txt").write_text("0\n")
    path = write()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(path, ["data.members=index.txt"]).data.members == tmp_path / "index.txt"


WRONG = [
    ("train.epochs", "expected KEY.KEY=VALUE (for example train.epochs=3)"),
    ("=3", "expected KEY.KEY=VALUE"),
    ("train..epochs=3", "expected KEY.KEY=VALUE"),
    ("train.epochs=[3", "invalid YAML: expected ',' or ']'"),
    ("train.epochs=!!python/name:os.system", "the tag `!!python/name:os.system` is not allowed"),
    ("train.epochs={a: 1, a: 2}", "the key `a` occurs twice"),
    ("train.epoch=3", "unknown key `epoch` in `train` (did you mean `epochs`?)"),
    ("trian.epochs=3", "unknown key `trian` (did you mean `train`?)"),
    ("train.epochs=0", "`train.epochs`: expected at least 1, given 0"),
    ("train.epochs=", "`train.epochs`: expected a whole number, given nothing"),
    ("train.epochs.x=1", "`train.epochs` is `3`, which has no keys (set it as a whole: train.epochs={x: ...})"),
    ("audit.games.0.candidates=8", "`audit.games.0` is `identity`, which has no keys"),
    ("audit.views.2.batch_size=8", "`audit.views` has 2 entries, none is number `2`"),
    ("audit.views.b.batch_size=8", "`audit.views` has 2 entries, none is number `b`"),
    ("audit.views.-1={name: c, batch_size: 8}", "`audit.views` has 2 entries, none is number `-1`"),
    ("audit.views.1={name: a, batch_size: 8}", "view name `a` is used twice"),
    ("audit.views.1={name: c, batchsize: 8}", "unknown key `batchsize` in `audit.views.1`"),
    ("model.entry=gone.py:net", "model file not found"),
    ("data.source=csv:${NO_SUCH_VARIABLE}/a.csv", "the environment variable NO_SUCH_VARIABLE is not set"),
]


@pytest.mark.parametrize(("override", "expected"), WRONG)
def test_error_names_the_option(write: Write, override: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(write(extra=VIEWS), [override])
    assert f"--set {override}: {expected}" in str(caught.value)


def test_errors_elsewhere_keep_their_lines(write: Write) -> None:
    path = write(extra="audit: {seed: x}\n")
    with pytest.raises(SpecError) as caught:
        load(path, ["audit.tokens.dim=64"])
    assert str(caught.value).startswith(f"{path}:6: `audit.seed`")
