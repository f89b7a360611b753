"""Audits with games about secrets of a batch, defended and not: from a spec to the tables."""

# ruff: noqa: E501 - a table is easier to read with one row in a line

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from inference_case import DEFENSES, FEW, GAMES, spec

import ptaudit
from ptaudit.auditing.opening import open_session
from ptaudit.errors import PtauditError
from ptaudit.games.common import batch_secret as inference
from ptaudit.games.user import matrices as user_matrices
from ptaudit.games.user import measure as user
from ptaudit.report import Page, open_format
from ptaudit.spec.load import load
from ptaudit.tables.row import KEY_COLUMNS

NAMES = [str(game.get("id", game["name"])) for game in GAMES]
OLDER = [
    "identity",
    {"name": "label", **FEW},
    {"name": "usable-information"},
    {"name": "mutual-information", "estimator": "gaussian"},
]


VIEWS = [
    {"name": "bare", "batch_size": 2},
    *({"name": name, "batch_size": 2, "defense": defense} for name, defense in DEFENSES.items()),
    {"name": "update", "batch_size": 2, "update": {"local_steps": 3, "lr": 0.1}},
    {"name": "users", "batch_size": 1, "users": 2, "defense": DEFENSES["sign"]},
]


QUICK = ("dp", "sign", "users")
"""Views of noise, of something computed from gradients, and of users; the others take as long, and tell less."""


def marked(view: dict[str, Any]) -> Any:
    marks = () if view["name"] in QUICK else pytest.mark.slow
    return pytest.param(view, id=view["name"], marks=marks)


@pytest.mark.parametrize("view", [marked(view) for view in VIEWS])
def test_every_game_is_played_on_every_defense(
    view: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user, "PLAY_GAMES", 256)
    monkeypatch.setattr(user_matrices, "GAMES", 256)
    path = spec(tmp_path, audit={"views": [view], "games": [*GAMES, *OLDER]})
    found = ptaudit.audit(path, out=tmp_path / "run").leakage
    joint = found[(found.layer == "*") & (found.metric == "bits")]
    for game in [*NAMES, "identity", "label", "usable-information", "mutual-information"]:
        rows = joint[joint.game == game]
        adaptive = rows[rows.knowledge == "adaptive"]
        assert len(adaptive), game
        assert not adaptive.status.str.startswith("inconclusive").any(), (game, list(adaptive.status))
        assert (adaptive.value <= adaptive.ceiling.fillna(float("inf")) + 1e-9).all()
        assert (adaptive.lo >= 0).all()
        if "defense" in view and game in NAMES:
            assert (rows.knowledge == "static").any(), game


def test_planted_secrets_are_found_and_the_baseline_is_not_counted(tmp_path: Path) -> None:
    views = [{"name": "one", "batch_size": 1}, {"name": "pair", "batch_size": 2}]
    found = ptaudit.audit(spec(tmp_path, audit={"views": views}), out=tmp_path / "run").leakage
    joint = found[(found.layer == "*") & (found.metric == "bits")].groupby(["view", "game"]).lo.max()
    for game, least in (("attribute", 0.5), ("latent", 0.1), ("property", 0.1), ("user", 0.02)):
        assert joint["one", game] > least, (game, joint)
    assert joint["one", "attribute"] > joint["pair", "attribute"]
    exact = found[(found.view == "one") & (found.game == "attribute") & (found.layer == "*") & (found.metric == "bits")]
    # The label and `a` tell of the colour beforehand: what is left to find is less than its entropy.
    assert exact.ceiling.iloc[0] < 0.95


def test_defenses_are_trained_with_and_their_table_has_both_adversaries(tmp_path: Path) -> None:
    defenses = [DEFENSES["prune"], DEFENSES["dp"], {"name": "vib", "beta": 0.1}]
    games = [GAMES[2], "membership"]
    path = spec(tmp_path, audit={"games": games}, defenses=defenses, train={"epochs": 2})
    result = ptaudit.audit(path, out=tmp_path / "run")
    table = pd.read_csv(tmp_path / "run" / "defenses.csv")
    assert list(dict.fromkeys(table.trained_with)) == ["none", "prune-0.8", "dp-0.5", "vib-0.1"]
    bits = table[(table.game == "property") & (table.metric == "bits")].set_index("trained_with")
    assert bits.adaptive_value.notna().all()
    assert bits.static_value.drop("none").notna().all()
    assert bits.held_out_accuracy.nunique() > 1
    assert bits.epsilon.notna().to_dict() == {"none": False, "prune-0.8": False, "dp-0.5": True, "vib-0.1": False}
    model = result.leakage[result.leakage.view == "model"]
    assert set(model.trained_with) == set(table.trained_with)
    text = open_format("md").render(result.run, Page(folder="x"))
    assert "## Defenses" in text
    assert "prune-0.8" in text


def test_sweeps_are_one_table(tmp_path: Path) -> None:
    views = [{"name": "v", "batch_size": [1, 2], "rounds": [1, 2]}]
    games = [
        {
            "name": "attribute",
            "attribute": "kind",
            "own_records": [60, 200],
            "weights": ["exact", "late"],
            "adversary": "linear",
            **FEW,
        }
    ]
    result = ptaudit.audit(spec(tmp_path, audit={"views": views, "games": games}), out=tmp_path / "run")
    table = pd.read_csv(tmp_path / "run" / "threats.csv")
    joint = table[(table.layer == "*") & (table.metric == "bits")]
    assert len(joint) == 16
    assert set(joint.batch_size) == {1, 2}
    assert set(joint.rounds) == {1, 2}
    assert set(joint.weights) == {"exact", "late"}
    assert set(joint.own_records.astype(str)) == {"60", "200"}
    assert "What the adversary knows" in open_format("md").render(result.run, Page(folder="x"))


def test_late_weights_at_the_first_epoch_are_inconclusive(tmp_path: Path) -> None:
    games = [{**GAMES[1], "weights": "late"}]
    found = ptaudit.audit(spec(tmp_path, audit={"games": games, "epochs": [0]}), out=tmp_path / "run").leakage
    assert (
        found.status == "inconclusive: there is no epoch before this one, whose weights the adversary would know"
    ).all()


def test_updates_that_diverge_are_inconclusive(tmp_path: Path) -> None:
    views = [{"name": "v", "batch_size": 2, "update": {"local_steps": 40, "lr": 1e6}}]
    games = [GAMES[1], "identity"]
    found = ptaudit.audit(spec(tmp_path, audit={"views": views, "games": games}), out=tmp_path / "run").leakage
    assert set(found.game) == {"latent", "identity"}
    assert found.status.str.contains(r"of its updates are not finite after 40 local steps at lr 1e\+06: take").all()


GATE = {"id": "g", "view": "pair", "adversary": "mlp", "max": 1}
REGRESSION: dict[str, dict[str, object]] = {"data": {"label": "a", "attributes": ["colour"]}, "train": {"loss": "mse"}}


def shown(defense: dict[str, object]) -> dict[str, object]:
    return {"name": "v", "batch_size": 2, "defense": defense}


REFUSED = [
    ({"data": {"attributes": ["shape"]}, "audit": {"games": ["attribute"]}}, "no column 'shape'"),
    ({"audit": {"games": [{"name": "attribute", "attribute": "kind", "form": "input"}]}}, "`kind` is no input column of a table, so no value of it can be tried out (use form: latent)"),
    ({"audit": {"games": [{"name": "property", "attribute": "colour", "values": ["green"]}]}}, "no record has the value `green`; there are: blue, red"),
    ({"audit": {"games": [{"name": "property", "attribute": "colour", "values": ["blue", "red"]}]}}, "every audited member has the property"),
    ({"audit": {"games": ["user"], "views": [{"name": "v", "batch_size": 64}]}}, "view `v` shows 64 records of one user"),
    ({"data": {"attributes": ["a"]}, "audit": {"games": ["attribute"]}}, "`a` is a number with many values"),
    ({"audit": {"games": [{**GAMES[1], "own_records": 301}]}}, "own_records 301 is more than half of the 600 audited records (at most 300, or audit more records)"),
    ({"audit": {"games": [{**GAMES[0], "adversary": "mlp"}]}}, "`colour` is an input column, of which the likelihood ratio alone plays: `adversary` is not used (use form: latent, or remove it)"),
    ({"audit": {"games": [{**GAMES[0], "fit_batches": 1024}]}}, "`colour` is an input column, of which the likelihood ratio alone plays: `fit_batches` is not used (use form: latent, or remove it)"),
    ({"audit": {"games": [{**GAMES[0], "adversary": "mlp", "fit_batches": 1024}]}}, "`adversary` and `fit_batches` are not used (use form: latent, or remove them)"),
    ({"audit": {"games": [GAMES[0]]}, "gates": [{**GATE, "metric": "attribute.bits"}]}, "gate g: adversary `mlp` does not play game `attribute` (there are: likelihood-ratio)"),
    ({"audit": {"games": [GAMES[1]]}, "gates": [{**GATE, "metric": "latent.bits"}]}, "adversary `mlp` does not play game `latent` (there are: likelihood-ratio, linear)"),
    ({"data": {"label": "a", "attributes": ["colour"]}, "train": {"loss": "mse"}, "audit": {"games": [{"name": "property", "secret": "label", "values": [1]}]}}, "game property: the label is a number with many values, and the game is about classes"),
    ({"data": {"attributes": ["a", "colour"]}, "audit": {"games": ["label"], "views": [shown({"name": "perturb", "attribute": "a"})]}}, "view v: attribute `a` is a number, and defense `perturb` hides classes"),
    ({"data": {"attributes": ["a", "colour"]}, "audit": {"games": ["label"]}, "defenses": [{"name": "perturb", "attribute": "a"}]}, "defense perturb-0.1-a: attribute `a` is a number"),
    ({**REGRESSION, "audit": {"games": ["identity"], "views": [shown({"name": "perturb"})]}}, "view v: defense `perturb` hides classes, and the targets are none"),
    ({**REGRESSION, "audit": {"games": ["identity"], "views": [shown({"name": "label_dp", "epsilon": 1.0})]}}, "view v: defense `label_dp` randomises classes, and the targets are none"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "what"), REFUSED, ids=[what for _, what in REFUSED])
def test_secrets_that_the_records_do_not_have_are_refused(
    tmp_path: Path, changes: dict[str, dict[str, object]], what: str
) -> None:
    with pytest.raises(PtauditError, match=re.escape(what)):
        ptaudit.audit(spec(tmp_path, **changes), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_attribute_with_one_value_is_refused(tmp_path: Path) -> None:
    path = spec(tmp_path, audit={"games": [GAMES[0]]}, data={"attributes": ["colour"], "drop": []})
    content = pd.read_csv(tmp_path / "table.csv")
    content["colour"] = "red"
    content.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(PtauditError, match="`colour` has one value among the audited members: red"):
        ptaudit.audit(path, out=tmp_path / "run")


@pytest.mark.parametrize("where", ["view v", "defense perturb-0.1-kind"])
def test_a_secret_with_one_value_is_not_guarded(tmp_path: Path, where: str) -> None:
    defense = {"name": "perturb", "attribute": "kind"}
    if where == "view v":
        path = spec(tmp_path, audit={"games": ["label"], "views": [shown(defense)]})
    else:
        path = spec(tmp_path, audit={"games": ["label"]}, defenses=[defense])
    content = pd.read_csv(tmp_path / "table.csv")
    content["kind"] = "odd"
    content.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(PtauditError, match=f"{where}: the secret that gradients are perturbed for has one value"):
        ptaudit.audit(path, out=tmp_path / "run")


def test_users_of_a_secure_aggregation_need_a_batch_each(tmp_path: Path) -> None:
    """A user has at most 8 records here: more than one batch of 2, fewer than the 8 of four clients."""
    views = [{"name": "v", "batch_size": 2, "users": 4}]
    session = open_session(load(spec(tmp_path, audit={"views": views, "games": ["user"]})), torch.device("cpu"))
    assert session.views[0].records == 8


def test_few_records_are_inconclusive_and_say_how_many_are_needed(tmp_path: Path) -> None:
    path = spec(tmp_path, audit={"views": [{"name": "v", "batch_size": 64}], "games": GAMES[:4]})
    found = ptaudit.audit(path, out=tmp_path / "run").leakage
    assert found.status.str.match(r"inconclusive: needs \d+ records.* has \d+").all()


def test_a_run_killed_in_the_middle_of_a_defense_ends_with_the_same_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    games = [{"name": "property", "attribute": "colour", "values": ["red"], "adversary": "linear", **FEW}]
    path = spec(
        tmp_path,
        audit={"games": games, "epochs": [1, 2]},
        defenses=[DEFENSES["sign"], DEFENSES["dropout"]],
        train={"epochs": 2},
    )
    whole = ptaudit.audit(path, out=tmp_path / "whole")
    played, play = [], inference.measure

    def interrupted(*args: object, **options: object) -> object:
        played.append(args)
        if len(played) == 6:  # the second epoch of the second defense
            raise KeyboardInterrupt
        return play(*args, **options)

    monkeypatch.setattr(inference, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ptaudit.audit(path, out=tmp_path / "run")
    ptaudit.audit(path, out=tmp_path / "run", resume=True)
    assert len(played) == 7
    for name in ("leakage.csv", "defenses.csv", "threats.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (whole.path / name).read_bytes()


def test_seeds_are_pooled_for_each_defense(tmp_path: Path) -> None:
    games = [{"name": "property", "attribute": "colour", "values": ["red"], "adversary": "linear", **FEW}]
    path = spec(tmp_path, audit={"games": games}, defenses=[DEFENSES["sign"]], train={"seeds": [0, 1]})
    result = ptaudit.audit(path, out=tmp_path / "run")
    singles = [pd.read_csv(tmp_path / "run" / "seeds" / seed / "leakage.csv") for seed in ("0", "1")]
    key = list(KEY_COLUMNS)
    both = singles[0].merge(singles[1], on=key).merge(result.leakage, on=key)
    both = both[
        both.metric.eq("bits")
        & both.view.eq("pair")
        & both.trained_with.eq("sign")
        & ~both.status.str.startswith("inconclusive")
    ]
    assert len(both)
    mean = (both.value_x + both.value_y) / 2
    assert ((both.value - mean).abs() < 0.02).all()


def test_localisation_looks_at_as_many_records_and_probes_as_asked(tmp_path: Path) -> None:
    asked = [(40, 2), (80, 2), (80, 8), (80, 16)]
    games = [
        {
            "name": "localisation",
            "attribute": "colour",
            "id": f"r{records}-p{probes}",
            "records": records,
            "probes": probes,
        }
        for records, probes in asked
    ]
    found = ptaudit.audit(spec(tmp_path, audit={"games": games, "views": []}), out=tmp_path / "run").leakage
    joint = found[(found.layer == "*") & (found.metric == "input_sensitivity")].set_index("game")
    assert joint.n.to_dict() == {"r40-p2": 40, "r80-p2": 80, "r80-p8": 80, "r80-p16": 80}
    # With eight probes the few inputs are tried one by one: more change nothing.
    assert joint.value["r80-p8"] == joint.value["r80-p16"] != joint.value["r80-p2"]
    assert (tmp_path / "run" / "localisation.csv").is_file()
