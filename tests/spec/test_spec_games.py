"""Games in the spec: names, settings, ids, and what gates make of them."""

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

DATA = "version: 1\nname: small\nmodel: {entry: net.py:net}\ntrain: {epochs: 3}\n"
NOISY = "{name: noisy, batch_size: 8, defense: {name: dp, clip: 1, noise_multiplier: 1}}"


@pytest.fixture
def spec(write: Write, tmp_path: Path) -> Callable[..., Path]:
    """Writes a spec with these games (and gates), on data with attributes."""
    (tmp_path / "t.csv").write_text("a,b,y\n1,2,0\n")

    def make(games: str, gates: str = "", attributes: str = "[a, b]", tokens: str = "{}") -> Path:
        data = f"data: {{source: csv:t.csv, label: y, attributes: {attributes}}}\n"
        views = f"  views: [{{name: one, batch_size: 1}}, {NOISY}]\n"
        audit = f"audit:\n  games: [{games}]\n  tokens: {tokens}\n{views}"
        return write(DATA + data + audit + (f"gates:\n  - {{id: g, {gates}}}\n" if gates else ""))

    return make


RIGHT = [
    ("mutual-information", "one", "infonce"),
    ("{name: mutual-information, features: input, estimator: ksg, neighbours: 5}", "one", "ksg"),
    ("{name: mutual-information, features: label, estimator: [ksg, infonce, smile], critic: joint, neighbours: 1}", "one", "smile"),
    ("usable-information", "noisy", "linear"),
    ("{name: usable-information, secret: attribute, attribute: b, family: [mlp, knn]}", "one", "knn"),
    ("content", "noisy", "linear"),
    ("{name: content, id: pictures, family: [conv, mlp]}", "one", "mlp"),
    ("uniqueness", "model", "leave-one-out"),
]  # fmt: skip


@pytest.mark.parametrize(("game", "view", "adversary"), RIGHT)
def test_a_game_survives_dump_fits_the_schema_and_can_be_gated(
    spec: Callable[..., Path], game: str, view: str, adversary: str
) -> None:
    name = yaml.safe_load(f"[{game}]")[0]
    name = name if isinstance(name, str) else name.get("id", name["name"])
    metric = "top_share" if name == "uniqueness" else "bits"
    path = spec(game, f"metric: {name}.{metric}, view: {view}, adversary: {adversary}, max: 1")
    loaded, schema = load(path), json_schema()
    assert fits(yaml.safe_load(path.read_text()), schema, schema)
    text = dump(loaded)
    assert fits(yaml.safe_load(text), schema, schema)
    path.write_text(text)
    assert load(path) == loaded
    assert loaded.gates[0].over == "layers"


WRONG = [
    ("mutual_information", "", "unknown game `mutual_information` (did you mean `mutual-information`?)"),
    ("{name: mutual-information, estimator: infonec}", "", "expected 'ksg', 'gaussian'"),
    ("{name: mutual-information, estimator: []}", "", "a list of at least 1"),
    ("{name: mutual-information, estimator: [ksg, ksg]}", "", "estimator `ksg` is used twice"),
    ("{name: mutual-information, estimator: ksg, critic: joint}", "", "`critic` is not used by `ksg`"),
    ("{name: mutual-information, neighbours: 4}", "", "`neighbours` is not used by `infonce`"),
    ("{name: mutual-information, secret: label}", "", "`secret` is not used by game `mutual-information`"),
    ("{name: mutual-information, featurs: input}", "", "unknown key `featurs` in `audit.games.0` (did you mean `features`?)"),
    ("{name: mutual-information, features: pixels}", "", "expected 'activations', 'input' or 'label'"),
    ("{name: usable-information, attribute: a}", "", "`attribute` is not used by `secret: label`"),
    ("{name: usable-information, secret: attribute}", "", "does not say which attribute is secret (add attribute: one of a, b)"),
    ("{name: usable-information, secret: attribute, attribute: c}", "", "`c` is not among data.attributes"),
    ("{name: content, family: tree}", "", "expected 'linear', 'mlp' or 'conv'"),
    ("{name: content, family: [mlp, mlp]}", "", "family `mlp` is used twice"),
    ("{name: usable-information, family: tree}", "", "expected 'linear', 'mlp' or 'knn'"),
    ("usable-information, usable-information", "", "game `usable-information` is used twice"),
    ("{name: label, id: x}", "", "`id` is not used by game `label`"),
    ("3", "", "expected the name of a game, or {name: ...}"),
    ("{candidates: 4}", "", "expected the name of a game, or {name: ...}"),
    ("mutual-information", "metric: mutual-information.bits, view: one, adversary: ksg, max: 1", "adversary `ksg` is not asked in its game (there are: infonce, gaussian-channel)"),
    ("mutual-information", "metric: mutual-information.upper_bits, view: one, max: 1", "gate `g`: metric `mutual-information.upper_bits` needs noise, which view `one` has none of"),
    ("mutual-information", "metric: mutual-information.upper_bits, view: noisy, adversary: infonce, max: 1", "adversary `infonce` reports no `upper_bits` (only `gaussian-channel` does)"),
    ("mutual-information", "metric: mutual-information.bits, view: noisy, adversary: gaussian-channel, max: 1", "adversary `gaussian-channel` does not report `bits`"),
    ("{name: identity, id: id.8}", "", "the id `id.8` of a game has a dot in it"),
    ("{name: usable-information, id: identity}", "", "the id `identity` is the name of another game (choose another)"),
    ("{name: identity, knows: pool, fit_batches: 2048}", "", "`fit_batches` is not used by `knows: pool`"),
    ("{name: identity, knows: pool, noise_half: true}", "", "`noise_half` is not used by `knows: pool`"),
    ("{name: identity, fit_batches: 100}", "", "expected at least 512"),
    ("{name: identity, id: membership}", "", "the id `membership` is the name of another game"),
    ("mutual-information", "metric: mutual-information.auc, view: one, max: 1", "unknown metric `mutual-information.auc`"),
    ("{name: identity, id: id-8, candidates: 8}", "metric: identity.bits, view: one, max: 1", "gate `g` is on game `identity`, which is not played (add it to audit.games; played: id-8)"),
]  # fmt: skip


@pytest.mark.parametrize(("games", "gate", "expected"), WRONG)
def test_a_mistake_is_named(spec: Callable[..., Path], games: str, gate: str, expected: str) -> None:
    path = spec(games, gate)
    with pytest.raises(SpecError) as caught:
        load(path)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(f"{path}:")


def test_no_attribute_at_all(spec: Callable[..., Path]) -> None:
    with pytest.raises(SpecError, match="the data have none"):
        load(spec("{name: usable-information, secret: attribute}", attributes="[]"))


def test_a_single_attribute_needs_no_name(spec: Callable[..., Path]) -> None:
    load(spec("{name: usable-information, secret: attribute}", attributes="[a]"))


def test_a_game_played_twice_goes_by_its_id(spec: Callable[..., Path]) -> None:
    games = "usable-information, {name: usable-information, id: about-a, secret: attribute, attribute: a}"
    loaded = load(spec(games, "metric: about-a.accuracy, view: one, over: joint, max: 0.7"))
    assert [game.title for game in loaded.audit.games] == ["usable-information", "about-a"]
    assert (loaded.gates[0].game, loaded.gates[0].measure) == ("about-a", "accuracy")


def test_a_game_may_go_by_its_own_name_and_metrics_may_have_dots(spec: Callable[..., Path]) -> None:
    gate = "metric: membership.tpr_at_fpr_0.01, view: model, max: 1"
    loaded = load(spec("membership, {name: identity, id: identity}", gate))
    assert [game.title for game in loaded.audit.games] == ["membership", "identity"]
    assert (loaded.gates[0].game, loaded.gates[0].measure) == ("membership", "tpr_at_fpr_0.01")


def test_the_bound_of_known_noise_can_be_gated(spec: Callable[..., Path]) -> None:
    gate = "metric: mutual-information.upper_bits, view: noisy, adversary: gaussian-channel, over: joint, max: 1"
    assert load(spec("mutual-information", gate)).gates[0].measure == "upper_bits"


def test_an_encoder_without_a_game_that_uses_it(spec: Callable[..., Path]) -> None:
    with pytest.raises(SpecError, match="only mutual-information and usable-information play on learned tokens"):
        load(spec("identity, label", tokens="{encoder: autoencoder}"))
    assert load(spec("mutual-information", tokens="{encoder: transformer}")).audit.tokens.encoder == "transformer"


@pytest.mark.parametrize(
    ("game", "gate", "told"),
    [
        ("{name: membership, attacks: [loss, updat-product]}", "", "unknown attack `updat-product` (did you mean `update-product`?)"),
        ("{name: membership, attacks: [loss, loss]}", "", "attack `loss` is used twice"),
        ("{name: membership, attacks: []}", "", "`audit.games.0.attacks`: expected a list of at least 1"),
        ("{name: membership, attacks: [loss, rmia-offline]}", "", "attack `rmia-offline` needs reference models (add `fleet: {models: 16}`)"),
        ("membership", "metric: membership.auc, view: model, adversary: update-product, max: 1", "adversary `update-product` is not asked in its game (name it in the `attacks` of the game)"),
        ("{name: membership, attacks: loss}", "metric: membership.auc, view: model, over: layers, max: 1", "gate `g`: the attacks of its game play on the whole model, not on layers (set over: joint)"),
    ],
)  # fmt: skip
def test_attacks_that_cannot_be_played_are_refused(spec: Callable[..., Path], game: str, gate: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(spec(game, gate))
    assert told in str(caught.value)


def test_attacks_that_are_asked_are_played_and_gated(spec: Callable[..., Path]) -> None:
    gate = "metric: membership.auc, view: model, over: layers, adversary: update-product, max: 1"
    path = spec("{name: membership, attacks: [update-product, loss]}", gate)
    loaded = load(path)
    (game,) = loaded.audit.games
    assert game.plain() == {"name": "membership", "attacks": ["update-product", "loss"]}
    assert game.needs_earlier_weights
    path.write_text(dump(loaded))
    assert load(path) == loaded


def test_without_asking_nobody_has_the_weights_of_the_epoch_before(spec: Callable[..., Path]) -> None:
    (game,) = load(spec("membership")).audit.games
    assert not game.needs_earlier_weights
    assert game.plain() == {"name": "membership"}
