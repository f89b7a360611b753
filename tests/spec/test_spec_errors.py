"""Every mistake in a spec ends in one line that names file, line, mistake and remedy."""

# ruff: noqa: E501 - a table is easier to read with one row in a line

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptaudit.errors import SpecError
from ptaudit.spec.load import load

Write = Callable[..., Path]

BASE = """\
version: 1
name: small
model:
  entry: net.py:net
data:
  source: sklearn:digits
train:
  epochs: 3
audit:
  views:
    - name: one
      batch_size: 1
"""


def failure(path: Path | str, *overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        load(path, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


# What line of BASE is replaced by what, and the error: "LINE: text".
MISTAKES = [
    ("  epochs: 3", "  epoch: 3", "8: unknown key `epoch` in `train` (did you mean `epochs`?)"),
    ("      batch_size: 1", "      batchsize: 1", "12: unknown key `batchsize` in `audit.views.0` (did you mean `batch_size`?)"),
    ("name: small", "title: small", "2: unknown key `title` (known: version, name, model, data, train, replay, audit, defenses, canaries, fleet, gates)"),
    ("name: small", "nmae: small", "2: unknown key `nmae` (did you mean `name`?)"),
    ("  epochs: 3", "  epochs: 3\n  optimizer: {name: sgd, learning_rate: 1}", "9: unknown key `learning_rate` in `train.optimizer`"),
    ("audit:", "audit:\n  epochs: {evry: 2}", "10: unknown key `evry` in `audit.epochs` (did you mean `every`?)"),
    ("  epochs: 3", "  epochs: three", "8: `train.epochs`: expected a whole number, given the text 'three'"),
    ("  epochs: 3", "  epochs: '3'", "8: `train.epochs`: expected a whole number, given the text '3' (write it without quotes)"),
    ("  epochs: 3", "  epochs: true", "8: `train.epochs`: expected a whole number, given true"),
    ("  epochs: 3", "  epochs: 3.0", "8: `train.epochs`: expected a whole number, given 3.0"),
    ("  epochs: 3", "  epochs: 0", "8: `train.epochs`: expected at least 1, given 0"),
    ("  epochs: 3", "  epochs:", "8: `train.epochs`: expected a whole number, given nothing"),
    ("  epochs: 3", "  epochs: [3]", "8: `train.epochs`: expected a whole number, given a list"),
    ("  epochs: 3", "  batch_size: 3", "7: `train.epochs` is missing"),
    ("  epochs: 3", "  epochs: 3\n  optimizer: adam", "9: `train.optimizer`: expected a mapping, given the text 'adam'"),
    ("  epochs: 3", "  epochs: 3\n  optimizer: {name: sdg}", "9: `train.optimizer.name`: expected 'sgd', 'adam' or 'adamw', given"),
    ("  epochs: 3", "  epochs: 3\n  optimizer: {lr: '1e-3'}", "9: `train.optimizer.lr`: expected a number, given the text '1e-3' (write it"),
    ("  epochs: 3", "  epochs: 3\n  optimizer: {lr: .inf}", "9: `train.optimizer.lr`: expected a finite number, given inf"),
    ("  epochs: 3", "  epochs: 3\n  optimizer: {lr: 0}", "9: `train.optimizer.lr`: expected a number above 0.0, given 0"),
    ("  epochs: 3", "  epochs: 3\n  optimizer: {lr: true}", "9: `train.optimizer.lr`: expected a number, given true"),
    ("  epochs: 3", "  epochs: 3\n  optimizer: {name: adam, momentum: 0.0}", "9: `momentum` is not used by optimizer `adam` (remove"),
    ("  epochs: 3", "  epochs: 3\n  optimizer: {betas: [0.9, 0.9]}", "9: `betas` is not used by optimizer `sgd`"),
    ("  epochs: 3", "  epochs: 3\n  optimizer: {nesterov: true}", "9: `nesterov` needs `momentum` above 0"),
    ("  epochs: 3", "  epochs: 3\n  schedule: {name: step, gamma: 0.5}", "9: schedule `step` needs `step_size`"),
    ("  epochs: 3", "  epochs: 3\n  schedule: {name: exponential}", "9: schedule `exponential` needs `gamma`"),
    ("  epochs: 3", "  epochs: 3\n  schedule: {name: cosine, gamma: 1}", "9: `gamma` is not used by schedule `cosine`"),
    ("  epochs: 3", "  epochs: 3\n  schedule: {warmup_epochs: 3}", "9: 3 epochs of warm-up in a run of 3"),
    ("  epochs: 3", "  epochs: 3\n  loss: crossentropy", "9: unknown loss `crossentropy` (did you mean `cross_entropy`?)"),
    ("  epochs: 3", "  epochs: 3\n  seed: -1", "9: `train.seed`: expected at least 0, given -1"),
    ("  epochs: 3", "  epochs: 3\n  seeds: []", "9: `train.seeds`: expected a list of at least 1, given an empty list"),
    ("  epochs: 3", "  epochs: 3\n  seeds:\n    - 1\n    - 1", "11: seed `1` is used twice"),
    ("  epochs: 3", "  epochs: 3\n  seeds: [1]\n  seed: 0", "10: `seed` is not used by a spec with `seeds`"),
    ("version: 1", "version: 2", "1: `version`: expected 1, given 2"),
    ("version: 1", "version: true", "1: `version`: expected 1, given True"),
    ("name: small", "name: 3", "2: `name`: expected text, given 3 (put it in quotes)"),
    ("name: small", "name: ../up", "2: `name`: expected letters, digits"),
    ("model:\n  entry: net.py:net", "model: net.py:net", "3: `model`: expected a mapping, given the text 'net.py:net'"),
    ("  entry: net.py:net", "  entry: net.py", "4: `net.py` names no model (known: file.py:function"),
    ("  source: sklearn:digits", "  source: sklearn:digit", "6: unknown scikit-learn set `digit` (did you mean `digits`?)"),
    ("  source: sklearn:digits", "  source: images/", "6: unknown data source `images/` (known: sklearn:digits"),
    ("  source: sklearn:digits", "  source: avro:x/a.avro", "6: unknown data source `avro:x/a.avro`"),
    ("  source: sklearn:digits", "  source: sklearn:digits\n  label: y", "7: `label` is not used by source `sklearn:digits`"),
    ("  source: sklearn:digits", "  source: sklearn:digits\n  download: false", "7: `download` is not used by source"),
    ("  source: sklearn:digits", "  source: csv:net.py", "5: a csv source needs `label` (name the column"),
    ("  source: sklearn:digits", "  source: npz:net.py\n  args: {input: x}", "7: `input: x` names no array"),
    ("  source: sklearn:digits", "  source: sklearn:digits\n  held_out: 1", "7: `data.held_out`: expected a number below 1"),
    ("  source: sklearn:digits", "  source: sklearn:digits\n  members: net.py\n  held_out: .5", "8: `held_out` is not used by a split that `members`"),
    ("audit:", "audit:\n  tokens: {dim: 200}", "10: expected a perfect square, given 200 (the nearest one is 196)"),
    ("audit:", "audit:\n  tokens: {dim: 2048}", "10: `audit.tokens.dim`: expected at most 1024, given 2048"),
    ("audit:", "audit:\n  records: many", "10: `audit.records`: expected `all` or a whole number, given the text 'many'"),
    ("audit:", "audit:\n  records: true", "10: `audit.records`: expected `all` or a whole number, given true"),
    ("audit:", "audit:\n  epochs: 5", "10: `audit.epochs`: expected `all`, {every: n} or a list of epochs, given 5"),
    ("audit:", "audit:\n  epochs: []", "10: `audit.epochs`: expected a list of at least 1, given an empty list"),
    ("audit:", "audit:\n  epochs:\n    - 0\n    - 4", "12: epoch 4 is audited, but training ends with epoch 3"),
    ("audit:", "audit:\n  epochs: [0, '1']", "10: `audit.epochs.1`: expected a whole number, given the text '1'"),
    ("audit:", "audit:\n  layers: head.*", "10: `audit.layers`: expected `all` or a list of patterns, given the text 'head.*'"),
    ("audit:", "audit:\n  games: []", "10: `audit.games`: expected a list of at least 1, given an empty list"),
    ("audit:", "audit:\n  games: [{name: membership, foo: 1}]", "10: unknown key `foo` in `audit.games.0` (known: name, attacks, queries)"),
    ("audit:", "audit:\n  games:\n    - label\n    - identiy", "12: unknown game `identiy` (did you mean `identity`?)"),
    ("audit:", "audit:\n  games:\n    - label\n    - label", "12: game `label` is used twice (remove one)"),
    ("audit:", "audit:\n  games:\n    - identity\n    - identity", "12: game `identity` is used twice (give each an id of its own)"),
    ("audit:", "audit:\n  games: [{name: identity, candidates: 1}]", "10: `audit.games.0.candidates`: expected at least 2, given 1"),
    ("audit:", "audit:\n  games: [{name: label, candidates: 9}]", "10: `candidates` is not used by game `label`"),
    ("    - name: one", "    - name: model", "11: the view name `model` is taken"),
    ("      batch_size: 1", "      batch_size: 1\n    - {name: one, batch_size: 2}", "13: view name `one` is used twice"),
    ("      batch_size: 1", "      batch_size: 1\n      defense: {name: dp, clip: 0, noise_multiplier: 1}", "13: `audit.views.0.defense.clip`: expected a number above 0"),
    ("      batch_size: 1", "      batch_size: 1\n      defense: {name: dp, clip: 1}", "13: `audit.views.0.defense.noise_multiplier` is missing"),
    ("      batch_size: 1", "      batch_size: 1\n      defense: {name: prune}", "13: `audit.views.0.defense.ratio` is missing"),
    ("audit:\n  views:\n    - name: one\n      batch_size: 1", "audit: {views: []}", "9: game `identity` needs a view"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), MISTAKES, ids=[new for _, new, _ in MISTAKES])
def test_mistake_is_named_with_its_line(write: Write, old: str, new: str, expected: str) -> None:
    assert BASE.count(old) == 1
    path = write(BASE.replace(old, new))
    message = failure(path)
    assert message.splitlines()[0].startswith(f"{path}:{expected}")


def test_base_of_the_mistakes_is_right(write: Write) -> None:
    assert load(write(BASE)).audit.views[0].name == "one"


BROKEN = [
    ("", ": the spec is empty"),
    ("# nothing\n", ": the spec is empty"),
    ("- a\n- b\n", ":1: the spec is not a mapping"),
    ("just text\n", ":1: the spec is not a mapping"),
    ("version: 1\nname: [a\n", ":3: invalid YAML: expected ',' or ']'"),
    ("version: 1\n\tname: a\n", ":2: invalid YAML: found character '\\t' that cannot start any token"),
    ("version: 1\nname: a: b\n", ":2: invalid YAML: mapping values are not allowed here"),
    ("a: 1\n---\nb: 2\n", ":2: invalid YAML: but found another document"),
    ("version: 1\nname: a\nversion: 1\n", ":3: the key `version` occurs twice (first in line 1)"),
    ("version: 1\nmodel: {args: {x: 1, y: 2,\n  x: 3}}\n", ":3: the key `x` occurs twice (first in line 2)"),
    ("version: 1\ntrue: 1\n", ":2: the key `true` is not text (put it in quotes)"),
    ("version: 1\n? [a, b]\n: 1\n", ":2: the key that is a mapping or a list is not text"),
    ("version: 1\nname: !!python/object/apply:os.system ['true']\n", ":2: the tag `!!python/object/apply:os.system` is not allowed"),
    ("version: 1\nname: !!python/name:os.system\n", ":2: the tag `!!python/name:os.system` is not allowed"),
    ("version: 1\nname: !custom x\n", ":2: the tag `!custom` is not allowed"),
    ("version: 1\nname: !!set {a}\n", ":2: the tag `!!set` is not allowed"),
    ("version: !!int x\n", ":1: `x` is no int"),
    ("a: &a [*a]\n", ":1: an alias refers to itself"),
    ("a: &a {b: {<<: *a}}\n", ":1: an alias refers to itself"),
    ("a: *b\n", ":1: invalid YAML: found undefined alias 'b'"),
    ("a: \x00\n", ": invalid YAML: unacceptable character #x0000"),
    ("a: " + "[" * 3000, ": invalid YAML: nested too deeply"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BROKEN, ids=[repr(text[:30]) for text, _ in BROKEN])
def test_broken_yaml(write: Write, text: str, expected: str) -> None:
    path = write(text)
    message = failure(path)
    assert message.startswith(f"{path}{expected}")
    assert "\n" not in message


def test_aliases_that_multiply_are_stopped(write: Write) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    assert "more than 20,000 values, each alias counted" in failure(write("\n".join(lines)))


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert failure(tmp_path / "none.yaml") == f"{tmp_path}/none.yaml: no such file (`ptaudit init` writes a first spec)"
    assert failure(tmp_path).startswith(f"{tmp_path}: this is a folder")
    (tmp_path / "latin.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    assert failure(tmp_path / "latin.yaml").startswith(f"{tmp_path}/latin.yaml: not UTF-8 text")


def test_several_errors_are_a_line_each(write: Write) -> None:
    path = write("version: 1\ntitle: x\nmodel: {}\ndata: {source: 3}\ntrain: {epochs: x}\n")
    assert failure(path).splitlines() == [
        f"{path}:2: unknown key `title` (known: version, name, model, data, train, replay, audit, defenses, canaries, fleet, gates)",
        f"{path}:1: `name` is missing",
        f"{path}:3: `model.entry` is missing",
        f"{path}:4: `data.source`: expected text, given 3 (put it in quotes)",
        f"{path}:5: `train.epochs`: expected a whole number, given the text 'x'",
    ]


def test_more_errors_than_fit_are_counted(write: Write) -> None:
    lines = failure(write(BASE + "".join(f"wrong{i}: 1\n" for i in range(9)))).splitlines()
    assert len(lines) == 6
    assert lines[-1] == "... and 4 more"


def test_a_long_value_is_cut(write: Write) -> None:
    message = failure(write(BASE.replace("epochs: 3", "epochs: " + "x" * 5000)))
    assert len(message) < 300


def test_a_key_named_like_a_shape_is_only_an_unknown_key(write: Write) -> None:
    assert "unknown key `<text>`" in failure(write(BASE + "'<text>': 1\n"))
