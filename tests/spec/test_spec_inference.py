"""Views, games and defenses of inference audits in the spec: lists, defended specs, and what is refused."""

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

Write = Callable[..., Path]

HEAD = "version: 1\nname: small\nmodel: {entry: net.py:net}\ntrain: {epochs: 3}\n"


@pytest.fixture
def spec(write: Write, tmp_path: Path) -> Callable[..., Path]:
    """Writes a spec of a table with attributes a, b and user u."""
    (tmp_path / "t.csv").write_text("a,b,u,y\n1,2,0,0\n")

    def make(
        view: str = "{name: v, batch_size: 8}",
        game: str = "attribute",
        rest: str = "",
        data: str = "attributes: [a], user: u",
    ) -> Path:
        source = f"data: {{source: csv:t.csv, label: y, {data}}}\n"
        return write(f"{HEAD}{source}audit:\n  views:\n    - {view}\n  games:\n    - {game}\n{rest}")

    return make


def test_a_list_makes_a_view_for_each_combination(spec: Callable[..., Path]) -> None:
    path = spec("{name: v, batch_size: [1, 8], rounds: [1, 4]}")
    views = load(path).audit.views
    assert [(v.name, v.batch_size, v.rounds) for v in views] == [
        ("v-m1-r1", 1, 1), ("v-m1-r4", 1, 4), ("v-m8-r1", 8, 1), ("v-m8-r4", 8, 4),
    ]  # fmt: skip
    assert fits(yaml.safe_load(path.read_text()), json_schema(), json_schema())


def test_a_list_of_one_names_it_too_and_other_views_stay(spec: Callable[..., Path]) -> None:
    views = load(spec("{name: v, batch_size: [8]}\n    - {name: w, batch_size: 3, users: [2, 4]}")).audit.views
    assert [v.name for v in views] == ["v-m8", "w-u2", "w-u4"]
    assert [v.records for v in views] == [8, 6, 12]


def test_strengths_of_a_view_s_defense_can_be_swept(spec: Callable[..., Path]) -> None:
    views = load(spec("{name: v, batch_size: [2, 4], defense: {name: prune, ratio: [0.5, 0.9]}}")).audit.views
    assert [v.name for v in views] == ["v-m2-0.5", "v-m2-0.9", "v-m4-0.5", "v-m4-0.9"]
    assert [v.defense.strength for v in views if v.defense] == [0.5, 0.9, 0.5, 0.9]


def test_what_the_adversary_knows_can_be_swept(spec: Callable[..., Path]) -> None:
    games = load(spec(game="{name: attribute, own_records: [50, 200], weights: [exact, late]}")).audit.games
    assert [g.title for g in games] == [
        "attribute-own50-exact", "attribute-own50-late", "attribute-own200-exact", "attribute-own200-late",
    ]  # fmt: skip


def test_a_swept_spec_survives_dump(spec: Callable[..., Path]) -> None:
    rest = "defenses:\n  - {name: prune, ratio: [0.5, 0.9]}\n  - {name: dp, clip: 1, noise_multiplier: [1, 2]}\n"
    path = spec("{name: v, batch_size: [1, 8]}", "{name: attribute, weights: [exact, late]}", rest)
    loaded = load(path)
    assert fits(yaml.safe_load(path.read_text()), json_schema(), json_schema())
    path.write_text(dump(loaded))
    assert load(path) == loaded
    assert fits(yaml.safe_load(path.read_text()), json_schema(), json_schema())


def test_an_error_behind_a_list_names_its_own_line(spec: Callable[..., Path]) -> None:
    path = spec("{name: v, batch_size: [1, 8, 64]}\n    - {name: w,\n       batch_size: 0}")
    with pytest.raises(SpecError) as found:
        load(path)
    assert str(found.value).startswith(f"{path}:{path.read_text().splitlines().index('       batch_size: 0}') + 1}:")


def test_every_defense_trains_and_is_shown_on_the_views_without_one(spec: Callable[..., Path]) -> None:
    own = "{name: v, batch_size: 8}\n    - {name: own, batch_size: 8, defense: {name: sign}}"
    rest = "defenses:\n  - {name: prune, ratio: 0.9}\n  - {name: dp, clip: 1, noise_multiplier: 2}\n  - {name: vib, beta: 0.1}\n"
    defended = load(spec(own, rest=rest)).defended
    assert list(defended) == ["prune-0.9", "dp-2", "vib-0.1"]
    assert [[v.name for v in one.audit.views] for one in defended.values()] == [["v"], ["v"], ["v"]]
    assert defended["dp-2"].train.defense.name == "dp_sgd"
    shown = [one.audit.views[0].defense for one in defended.values()]
    assert [d.name if d else None for d in shown] == ["prune", "dp", "vib"]
    assert not any(one.defenses or one.gates for one in defended.values())


def test_titles_tell_defenses_apart_that_differ_beside_their_strength(spec: Callable[..., Path]) -> None:
    rest = (
        "defenses:\n  - {name: dp, clip: 1, noise_multiplier: 1}\n  - {name: dp, clip: 2, noise_multiplier: 1}\n"
        "  - {name: perturb}\n  - {name: perturb, attribute: a}\n  - {name: perturb, attribute: marital/status}\n"
        "  - {name: vib, beta: 1, width: 4}\n  - {name: vib, beta: 1, width: 8}\n  - {name: vib, beta: 1}\n"
        "gates: [{id: g, metric: attribute.bits, view: v, trained_with: dp-1-c2, max: 1}]\n"
    )
    given = spec(game="{name: attribute, attribute: a}", rest=rest, data="attributes: [a, marital/status], user: u")
    titles = [
        "dp-1",
        "dp-1-c2",
        "perturb-0.1",
        "perturb-0.1-a",
        "perturb-0.1-marital_status",
        "vib-1-w4",
        "vib-1-w8",
        "vib-1",
    ]
    loaded = load(given)
    assert list(loaded.defended) == titles
    given.write_text(dump(loaded))
    assert load(given) == loaded
    assert fits(yaml.safe_load(given.read_text()), json_schema(), json_schema())


def test_a_view_may_show_the_bottleneck_that_training_has(spec: Callable[..., Path]) -> None:
    path = spec("{name: v, batch_size: 8, defense: {name: vib, beta: 0.1}}")
    text = path.read_text()
    path.write_text(text.replace("{epochs: 3}", "{epochs: 3, defense: {name: vib, beta: 0.1}}"))
    loaded = load(path)
    path.write_text(dump(loaded))
    assert load(path) == loaded
    path.write_text(text.replace("{epochs: 3}", "{epochs: 3, defense: {name: vib, beta: 0.2}}"))
    with pytest.raises(SpecError, match="`vib` is a layer of the model"):
        load(path)


@pytest.mark.parametrize(
    ("game", "written"),
    [("attribute", False), ("{name: attribute, adversary: mlp}", True), ("{name: attribute, form: latent}", True)],
)
def test_adversaries_that_nobody_asked_for_are_not_written(spec: Callable[..., Path], game: str, written: bool) -> None:
    """Whether they have a use is known with the records only, and an explicit one without use is refused."""
    path = spec(game=game)
    loaded = load(path)
    path.write_text(dump(loaded))
    assert ("adversary" in yaml.safe_load(path.read_text())["audit"]["games"][0]) == written
    assert load(path) == loaded
    assert dump(load(path)) == dump(loaded)


def test_a_gate_may_be_on_a_view_of_a_defense(spec: Callable[..., Path]) -> None:
    rest = "defenses: [{name: sign}]\ngates: [{id: g, metric: attribute.bits, view: v, trained_with: sign, max: 1}]\n"
    assert load(spec(rest=rest)).gates[0].trained_with == "sign"


REFUSED = [
    ({"view": "{name: v, batch_size: 8, defense: {name: vib, beta: 1}}"}, "`vib` is a layer of the model, which no view can put there"),
    ({"view": "{name: v, batch_size: 8, defense: {name: prune, ratio: 1}}"}, "`audit.views.0.defense.ratio`: expected a number below 1.0, given 1"),
    ({"view": "{name: v, batch_size: 8, defense: {name: prune, ratio: 0}}"}, "expected a number above 0.0, given 0"),
    ({"view": "{name: v, batch_size: 8, defense: {name: sign, ratio: 0.5}}"}, "`ratio` is not used by defense `sign`"),
    ({"view": "{name: v, batch_size: 8, defense: {name: pruning}}"}, "unknown defense `pruning` (did you mean `prune`?)"),
    ({"view": "{name: v, batch_size: 8, defense: {name: dropout, rate: 1.5}}"}, "expected a number below 1.0, given 1.5"),
    ({"view": "{name: v, batch_size: 8, defense: {name: label_dp, epsilon: -1}}"}, "expected a number above 0.0, given -1"),
    ({"view": "{name: v, batch_size: 8, defense: {name: perturb, attribute: b}}"}, "`b` is not among data.attributes"),
    ({"view": "{name: v, batch_size: 8, fixed_batch: true}"}, "`fixed_batch` is about several rounds"),
    ({"view": "{name: v, batch_size: 8, rounds: 3, fixed_batch: true}"}, "3 rounds of the same batch show the same thing 3 times"),
    ({"view": "{name: v, batch_size: 8, update: {local_steps: 2, lr: 0.1}, defense: {name: dp, clip: 1, noise_multiplier: 1}}"}, "which a federated update does not show"),
    ({"view": "{name: v, batch_size: 8, update: {local_steps: 0, lr: 0.1}}"}, "at least 1, given 0"),
    ({"view": "{name: v, batch_size: []}"}, "expected a whole number, given an empty list"),
    ({"view": "{name: v, batch_size: [8, 0]}"}, "`audit.views.1.batch_size`: expected at least 1, given 0"),
    ({"game": "{name: attribute, attribute: c}"}, "`c` is not among data.attributes"),
    ({"game": "attribute", "data": "attributes: [a, b]"}, "does not say which attribute is secret"),
    ({"game": "attribute", "data": "user: u"}, "the data have none (name the column in data.attributes)"),
    ({"game": "attribute", "data": "attributes: [y]"}, "is about `y`, which is the label"),
    ({"game": "{name: attribute, form: input, adversary: mlp}"}, "`adversary` is not used by `form: input`"),
    ({"game": "{name: attribute, form: input, fit_batches: 1024}"}, "`fit_batches` is not used by `form: input`"),
    ({"game": "{name: attribute, own_records: 0}"}, "at least 1, given 0"),
    ({"game": "{name: attribute, adversary: [mlp, mlp]}"}, "adversary `mlp` is used twice"),
    ({"game": "user", "data": "attributes: [a]"}, "is about users, and the data have none"),
    ({"game": "property"}, "`audit.games.0.values` is missing"),
    ({"game": "{name: property, values: []}"}, "a list of at least 1"),
    ({"game": "{name: property, secret: label, attribute: a, values: [1]}"}, "`attribute` is not used by `secret: label`"),
    ({"game": "{name: distribution, values: [1], ratios: [0.5]}"}, "expected a list of at least 2, given a list of 1"),
    ({"game": "{name: user, own_records: 50}"}, "`own_records` is not used by game `user` (remove it)"),
    ({"game": "{name: user, own_records: [50, 60]}"}, "`own_records` is not used by game `user` (remove it)"),
    ({"rest": "defenses: [{name: dp, clip: 2, noise_multiplier: 1}, {name: dp, clip: 2.0, noise_multiplier: 1}]\n"}, "defense `dp-1-c2` is used twice"),
    ({"game": "{name: distribution, values: [1], ratios: [0.5, 0.5]}"}, "ratio `0.5` is used twice"),
    ({"game": "{name: distribution, values: [1], ratios: [0.5, 2]}"}, "at most 1.0, given 2"),
    ({"game": "canary"}, "`canary` is played where the spec has `canaries`"),
    ({"rest": "defenses: [{name: sign}, {name: sign}]\n"}, "defense `sign` is used twice"),
    ({"rest": "defenses: [{name: perturb, attribute: z}]\n"}, "`z` is not among data.attributes"),
    ({"view": "{name: v, batch_size: 8, defense: {name: sign}}", "rest": "defenses: [{name: sign}]\n"}, "there is none (add a view without a defense)"),
    ({"rest": "gates: [{id: g, metric: attribute.bits, view: v@sign, max: 1}]\n"}, "is on view `v@sign`, on which game `attribute` is not played"),
    ({"rest": "gates: [{id: g, metric: attribute.bits, view: v, trained_with: sign, max: 1}]\n"}, "is on a training with `sign`, which is not in `defenses`"),
    ({"rest": "defenses: [{name: sign}]\ngates: [{id: g, metric: attribute.bits, view: v, trained_with: sing, max: 1}]\n"}, "did you mean `sign`?"),
    ({"rest": "gates: [{id: g, metric: attribute.bits, view: v, knows: all, max: 1}]\n"}, "knows"),
    ({"rest": "gates: [{id: g, metric: attribute.bits, view: v, adversary: static-linear, max: 1}]\n"}, "has no adversary `static-linear`"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "what"), REFUSED, ids=[what for _, what in REFUSED])
def test_what_makes_no_sense_is_refused(spec: Callable[..., Path], given: dict[str, str], what: str) -> None:
    path = spec(**given)
    with pytest.raises(SpecError) as found:
        load(path)
    assert what in str(found.value)
    assert str(found.value).startswith(f"{path}:")
