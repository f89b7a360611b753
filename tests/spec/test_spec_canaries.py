"""Canaries in the spec: what they may be about, and keys that nothing would use."""

# ruff: noqa: E501 - a table is easier to read with one row in a line

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from test_spec_schema import fits

from ptaudit.errors import SpecError
from ptaudit.spec.load import dump, load
from ptaudit.spec.model import json_schema
from ptaudit.spec.registry import GAMES

Write = Callable[..., Path]

HEAD = "version: 1\nname: small\nmodel: {entry: net.py:net}\n"
TABLE = "data: {source: csv:t.csv, label: y, attributes: [a], user: u, split_by: s, drop: [d]}\n"
NOISY = "  - {name: dp, batch_size: 8, defense: {name: dp, clip: 1.0, noise_multiplier: 1.0}}\n"
PLAIN = "  - {name: one, batch_size: 1}\n"


@pytest.fixture
def spec(write: Write, tmp_path: Path) -> Callable[..., Path]:
    """Writes a spec with these canaries."""
    (tmp_path / "t.csv").write_text("a,b,d,s,u,y\n1,2,3,4,5,0\n")
    (tmp_path / "one.pt").write_text("")

    def make(canaries: str, data: str = TABLE, views: str = NOISY, train: str = "train: {epochs: 3}\n") -> Path:
        audit = (
            f"audit:\n  games: [membership]\n  views:\n{views}"
            if views
            else "audit: {games: [membership], views: []}\n"
        )
        return write(HEAD + data + train + audit + f"canaries: {canaries}\n")

    return make


RIGHT = [
    "{}",
    "{kinds: crafted, about: membership}",
    "{kinds: [natural, crafted], about: [membership, attribute], attribute: a, count: 8, games: 32, delta: 0.001, train: true}",
    "{about: attribute, attribute: b, values: [x, y]}",
    "{about: attribute, attribute: b, values: [1, 2.5]}",
]


@pytest.mark.parametrize("canaries", RIGHT)
def test_canaries_survive_dump_and_fit_the_schema(spec: Callable[..., Path], canaries: str) -> None:
    path = spec(canaries)
    loaded, schema = load(path), json_schema()
    assert fits(yaml.safe_load(path.read_text()), schema, schema)
    text = dump(loaded)
    assert fits(yaml.safe_load(text), schema, schema)
    path.write_text(text)
    assert load(path) == loaded


def test_defaults(spec: Callable[..., Path]) -> None:
    canaries = load(spec("{}")).canaries
    assert canaries.kinds == ["natural", "mislabelled", "crafted"]
    assert (canaries.about, canaries.count, canaries.games, canaries.delta) == (["membership"], 64, 1000, 1e-5)
    assert not canaries.train
    assert tuple(canaries.step_adversaries)[:3] == (
        "natural/gaussian-dp/add-remove",
        "natural/clopper-pearson/add-remove",
        "natural/likelihood-ratio/add-remove",
    )
    assert canaries.run_adversaries == {}


def test_adversaries_name_kind_test_and_adjacency(spec: Callable[..., Path]) -> None:
    canaries = load(spec("{kinds: crafted, about: [attribute, membership], attribute: a, train: true}")).canaries
    assert list(canaries.run_adversaries) == ["crafted/one-run/replace-one", "crafted/one-run/add-remove"]


WRONG = [
    ("{kinds: []}", "a list of at least 1"),
    ("{kinds: planted}", "expected 'natural', 'mislabelled' or 'crafted'"),
    ("{kinds: [crafted, crafted]}", "kind `crafted` is used twice"),
    ("{about: [membership, membership]}", "secret `membership` is used twice"),
    (
        "{about: attribute}",
        "`about: attribute` does not say which attribute is secret (add attribute: an input column)",
    ),
    ("{attribute: a}", "`attribute` is not used by `about: membership`"),
    ("{values: [x, y]}", "`values` is not used by `about: membership`"),
    ("{about: attribute, attribute: a, values: [x]}", "a list of at least 2"),
    ("{about: attribute, attribute: a, values: [x, x]}", "value `x` is used twice"),
    ("{about: attribute, attribute: a, values: [1, 1.0]}", "value `1` is used twice"),
    ("{about: attribute, attribute: a, values: [yes, no]}", "True is no value of a column"),
    ("{about: attribute, attribute: y}", "`y` is the label, not an input (name an input column)"),
    ("{about: attribute, attribute: d}", "`d` is no input: data.drop names it"),
    ("{about: attribute, attribute: u}", "`u` is no input: data.user names it"),
    ("{about: attribute, attribute: s}", "`s` is no input: data.split_by names it"),
    ("{count: 4}", "at least 8"),
    ("{games: 10}", "at least 32"),
    ("{delta: 0}", "`canaries.delta`: expected a number above 0.0"),
    ("{delta: 1}", "`canaries.delta`: expected a number below 1.0"),
    ("{train: 1}", "`canaries.train`: expected true or false"),
    ("{kind: crafted}", "unknown key `kind` in `canaries` (did you mean `kinds`?)"),
]


@pytest.mark.parametrize(("canaries", "expected"), WRONG)
def test_a_mistake_is_named(spec: Callable[..., Path], canaries: str, expected: str) -> None:
    path = spec(canaries)
    with pytest.raises(SpecError) as caught:
        load(path)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(f"{path}:")


def test_only_tables_have_input_columns(spec: Callable[..., Path]) -> None:
    with pytest.raises(SpecError, match="source `sklearn:digits` has no input columns with names"):
        load(spec("{about: attribute, attribute: a}", data="data: {source: sklearn:digits}\n"))
    load(spec("{about: membership}", data="data: {source: sklearn:digits}\n"))


def test_keys_that_no_view_uses(spec: Callable[..., Path]) -> None:
    with pytest.raises(SpecError, match="`delta` is not used by canaries without a view of defense `dp`"):
        load(spec("{delta: 0.01}", views=PLAIN))
    load(spec("{delta: 0.01, train: true}", views=PLAIN))
    load(spec("{delta: 0.01}", views=PLAIN + NOISY))
    with pytest.raises(SpecError, match="`games` is not used by a spec without views"):
        load(spec("{games: 100, train: true}", views=""))
    with pytest.raises(SpecError, match="canaries need a view, or `train: true`"):
        load(spec("{}", views=""))
    load(spec("{train: true}", views=""))


def test_nothing_is_planted_in_a_training_that_is_over(spec: Callable[..., Path]) -> None:
    over = "replay: {checkpoints: one.pt}\n"
    with pytest.raises(SpecError, match="canaries cannot be planted in a training that already happened"):
        load(spec("{train: true}", train=over))


GATES = [
    ("metric: canary.epsilon_lo, view: dp, adversary: crafted/gaussian-dp/add-remove", ""),
    ("metric: canary.auc, view: plain, adversary: crafted/likelihood-ratio/add-remove", ""),
    ("metric: canary.epsilon_lo, view: model, adversary: natural/one-run/add-remove", ""),
    ("metric: canary.bits, view: dp", ""),
    ("metric: canary.bits, view: dp, epoch: max", ""),
    ("metric: canary.epsilon_lo, view: dp", "gate `g` is on the bounds on epsilon of 6 adversaries: each holds at 95 % by itself, not the largest of them (name one adversary: natural/gaussian-dp/add-remove, "),
    ("metric: canary.epsilon_lo, view: model, epoch: first", "gate `g` is on the bounds on epsilon of 3 adversaries"),
    ("metric: canary.epsilon_lo, view: dp, epoch: max, adversary: crafted/gaussian-dp/add-remove", "on the bounds on epsilon of 4 epochs: each holds at 95 % by itself, not the largest of them (name one epoch: `last`, `first` or a number)"),
    ("metric: canary.epsilon_lo, view: dp, epoch: all, adversary: crafted/gaussian-dp/add-remove", "on the bounds on epsilon of 4 epochs"),
    ("metric: canary.epsilon_lo, view: dp, epoch: 2, adversary: crafted/gaussian-dp/add-remove", ""),
    ("metric: canary.epsilon_lo, view: dp, over: layers", "canaries are about all layers jointly, not about `layers` (set over: joint)"),
    ("metric: canary.epsilon_lo, view: plain", "metric `canary.epsilon_lo` needs noise, which view `plain` has none of"),
    ("metric: canary.bits, view: model", "the canaries of a training do not report `bits` (there are: epsilon_lo, auc)"),
    ("metric: canary.auc, view: dp, adversary: crafted/gaussian-dp/add-remove", "does not report `auc` (there are: epsilon_lo)"),
    ("metric: canary.epsilon_lo, view: dp, adversary: crafted/gaussian-dp/replace-one", "does not play on view `dp` (did you mean `crafted/gaussian-dp/add-remove`?)"),
    ("metric: canary.epsilon_lo, view: dp, adversary: natural/one-run/add-remove", "does not play on view `dp`"),
    ("metric: canary.epsilon_lo, view: dp, adversary: crafty", "game `canary` has no adversary `crafty`"),
]  # fmt: skip


@pytest.mark.parametrize(("gate", "expected"), GATES)
def test_gates_on_canaries(spec: Callable[..., Path], gate: str, expected: str) -> None:
    path = spec("{train: true}", views=PLAIN.replace("one", "plain") + NOISY)
    path.write_text(path.read_text() + f"gates:\n  - {{id: g, {gate}, max: 1}}\n")
    if not expected:
        assert load(path).gates[0].over == "joint"
        return
    with pytest.raises(SpecError) as caught:
        load(path)
    assert expected in str(caught.value)


def test_the_catalog_knows_all_adversaries(spec: Callable[..., Path]) -> None:
    canaries = load(spec("{about: [attribute, membership], attribute: a, train: true}")).canaries
    gaussian = canaries.model_copy(update={"run_test": "one-run-gaussian"})
    found = {*canaries.step_adversaries, *canaries.run_adversaries, *gaussian.run_adversaries}
    assert found == set(GAMES["canary"].players)
