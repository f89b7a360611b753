"""Canaries in the training: who is a member, who is audited, and what one run shows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from canary_cases import table
from scipy import stats

from ptaudit.auditing.check import check
from ptaudit.auditing.opening import open_session
from ptaudit.auditing.rows import rows_of
from ptaudit.auditing.run import audit
from ptaudit.canaries import GradientSensitivity
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.session import Session
from ptaudit.context.training_canaries import notes, scores, spent
from ptaudit.defenses.dp.accounting import epsilon
from ptaudit.errors import DataError, SpecError
from ptaudit.games.canary.info import CanaryGame
from ptaudit.games.game_play import run_game
from ptaudit.spec.load import load
from ptaudit.tables.row import Row
from ptaudit.views import View

NET = """\
from torch import nn

def net(hidden=16):
    return nn.Sequential(nn.Linear(11, hidden), nn.ReLU(), nn.Linear(hidden, 2))
"""
DP = {"name": "dp_sgd", "clip": 1.0, "noise_multiplier": 1.0}


def write(folder: Path, n: int = 400, **changes: object) -> Path:
    table(n).to_csv(folder / "table.csv", index=False)
    (folder / "net.py").write_text(NET)
    spec = {
        "version": 1,
        "name": "planted",
        "model": {"entry": "net.py:net"},
        "data": {"source": "csv:table.csv", "label": "rich"},
        "train": {"epochs": 1, "batch_size": 32, "optimizer": {"name": "adam", "lr": 0.01}},
        "audit": {
            "records": 120,
            "epochs": [1],
            "tokens": {"dim": 16},
            "views": [
                {"name": "plain", "batch_size": 2},
                {"name": "dp", "batch_size": 8, "defense": {"name": "dp", "clip": 0.5, "noise_multiplier": 1.0}},
            ],
            "games": ["label"],
        },
        "canaries": {
            "kinds": ["natural", "mislabelled"],
            "about": ["attribute", "membership"],
            "attribute": "sex",
            "count": 12,
            "games": 64,
            "train": True,
        },
    }
    for path, value in changes.items():
        part = spec
        *parents, name = path.split("__")
        for parent in parents:
            part = part[parent]
        part[name] = value
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def _rows(context: EpochContext, view: View | None = None) -> list[Row]:
    game = context.session.spec.games[-1]
    assert isinstance(game, CanaryGame)
    return rows_of(context, game, run_game(context, game, view))


def opened(path: Path) -> Session:
    return open_session(load(path), torch.device("cpu"))


def test_who_is_a_member_and_who_is_audited(tmp_path: Path) -> None:
    session = opened(write(tmp_path))
    plain = opened(write(tmp_path, canaries={"count": 12}))
    assert np.array_equal(session.members, plain.members)
    assert len(session.records) == len(plain.records) + 4 * 12
    gone = np.setdiff1d(plain.split.held_out, session.split.held_out)
    assert len(gone) == 4 * 12
    assert not np.isin(session.others, gone).any()
    assert not np.isin(session.split.members, session.split.held_out).any()
    assert len(np.unique(session.split.members)) == len(session.split.members)
    start = len(plain.records)
    for planted in session.training_canaries:
        places = np.arange(start, start + 12)
        start += 12
        assert not np.isin(places, session.members).any()
        assert set(planted.secret) == {0, 1}
        inside = np.isin(places, session.split.members)
        if planted.question.about == "membership":
            assert np.array_equal(inside, planted.secret == 1)
            assert torch.equal(session.records.inputs[places], planted.inputs)
        else:
            assert inside.all()
            field = session.records.fields["sex"]
            assert np.array_equal(field.codes[places], planted.secret)
            block = session.records.inputs[places][:, field.start : field.start + field.levels.shape[1]]
            assert torch.equal(block, field.levels[planted.secret])
        assert torch.equal(session.records.targets[places], planted.targets)
    assert {len(column) for column in session.records.columns.values()} <= {len(session.records)}
    assert "48" not in notes(session)[0].split()[0]
    assert session.split.digest() != plain.split.digest()
    again = opened(write(tmp_path))
    assert again.records.digest() == session.records.digest()
    assert again.split.digest() == session.split.digest()
    assert notes(plain) == ()


def test_mislabelled_ones_have_another_label_than_their_record(tmp_path: Path) -> None:
    session = opened(write(tmp_path))
    for planted in session.training_canaries:
        same = [(session.records.inputs[:400] == x)[:, 5:].all(1).nonzero().flatten() for x in planted.inputs]
        source = torch.tensor([int(found[0]) for found in same])
        flipped = session.records.targets[source] != planted.targets
        assert flipped.all() if planted.kind == "mislabelled" else not flipped.any()


def test_too_few_held_out_records(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"canaries\.count: 400 canaries are made of as many held-out records"):
        opened(write(tmp_path, canaries__count=100))


def test_an_attribute_that_is_not_there_is_told_before_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"canaries\.attribute: no input column 'sx' with few values"):
        opened(write(tmp_path, canaries__attribute="sx", canaries__train=False))


def test_coins_are_fair_and_their_own(tmp_path: Path) -> None:
    one = opened(write(tmp_path, n=1200, canaries__count=100))
    two = opened(write(tmp_path, n=1200, canaries__count=100, audit__seed=1))
    secrets = [np.concatenate([p.secret for p in session.training_canaries]) for session in (one, two)]
    for secret in secrets:
        assert 0.4 < secret.mean() < 0.6
    assert (secrets[0] != secrets[1]).any()


def rows_after(session: Session, steps: int, tamper: bool = True) -> dict[tuple[str, str], object]:
    """Rows of a model that learns its members by heart: of one hot place for each canary that is there."""

    class Oracle(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inside = session.split.members
            self.inputs, self.targets = session.records.inputs[inside], session.records.targets[inside]
            self.scale = torch.nn.Parameter(torch.tensor(5.0 if tamper else 0.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            apart = (x[:, None] - self.inputs[None]).square().sum(-1)
            known = apart.amin(1) < 1e-6
            right = torch.nn.functional.one_hot(self.targets[apart.argmin(1)], 2).float()
            return self.scale * right * known[:, None]

    context = EpochContext(session, 1, steps, Oracle(), (), None, None, None)
    return {(row.adversary, row.metric): row for row in _rows(context)}


def test_a_model_that_knows_its_members_is_found_out(tmp_path: Path) -> None:
    session = opened(write(tmp_path, n=1200, canaries__count=100))
    rows = rows_after(session, 10)
    expected = {f"{kind}/one-run/{adjacency}" for kind in ("natural", "mislabelled")
                for adjacency in ("replace-one", "add-remove")}  # fmt: skip
    assert (
        {adversary for adversary, _ in rows} == expected == set(load(tmp_path / "spec.yaml").canaries.run_adversaries)
    )
    for adversary in expected:
        bound, area = rows[adversary, "epsilon_lo"], rows[adversary, "auc"]
        assert bound.view == "model"
        assert bound.value == pytest.approx(math.log(0.05 ** (1 / 50) / (1 - 0.05 ** (1 / 50))), abs=0.2)
        assert bound.n == 100
        assert area.value > 0.95
        assert math.isnan(bound.ceiling)  # nothing private was promised


def test_a_model_that_knows_nothing_is_not(tmp_path: Path) -> None:
    """Four bounds of each of 30 seeds: at most 5 % of them are above 0."""
    above = []
    for seed in range(30):
        session = opened(write(tmp_path, n=500, canaries__count=32, audit__seed=seed))
        rows = rows_after(session, 10, tamper=False)
        above += [row.value > 0.0 for (_, metric), row in rows.items() if metric == "epsilon_lo"]
    assert len(above) == 120
    assert sum(above) <= stats.binom.ppf(0.999, 120, 0.05)


def test_bounds_are_held_against_what_was_spent(tmp_path: Path) -> None:
    session = opened(write(tmp_path, train__defense=DP))
    train, members = session.spec.train, len(session.split.members)
    limits = spent(train, members, 13, 1e-5)

    assert limits["membership"] == pytest.approx(epsilon(train, members, 1.0, 13))  # at the delta of both

    def at(delta: float) -> float:
        told = train.model_copy(update={"defense": train.defense.model_copy(update={"delta": delta})})
        return epsilon(told, members, 1.0, 13)

    assert spent(train, members, 13, 1e-3)["membership"] == pytest.approx(at(1e-3))
    assert at(1e-3) < limits["membership"]
    assert 2 * limits["membership"] < limits["attribute"] < 4 * limits["membership"]
    assert spent(train, members, 0, 1e-5) == {"membership": 0.0, "attribute": 0.0}
    rows = rows_after(session, 13)
    assert rows["natural/one-run/replace-one", "epsilon_lo"].ceiling == limits["attribute"]
    assert rows["natural/one-run/add-remove", "epsilon_lo"].ceiling == limits["membership"]


def test_the_bound_for_gaussian_mechanisms_is_for_steps_of_all_members_with_noise(tmp_path: Path) -> None:
    asked = {"canaries__run_test": "one-run-gaussian", "train__defense": DP}
    with pytest.raises(DataError, match="every step takes all members"):
        opened(write(tmp_path, **asked))
    session = opened(write(tmp_path, **asked, train__batch_size=1000))
    rows = rows_after(session, 10)
    bounds = {name: row for (name, metric), row in rows.items() if metric == "epsilon_lo"}
    assert set(bounds) == set(session.spec.canaries.run_adversaries)
    assert all("/one-run-gaussian/" in name for name in bounds)
    assert max(row.value for row in bounds.values()) > 0.0
    for wrong, said in (
        ({"train__defense": None}, "Gaussian noise on clipped sums alone"),
        ({"train__defense": {**DP, "noise_multiplier": 0}}, "Gaussian noise on clipped sums alone"),
        ({"canaries__train": False}, "is of a training"),
    ):
        with pytest.raises(SpecError, match=said):
            load(write(tmp_path, **{**asked, **wrong}))


def test_scores_point_at_the_secret(tmp_path: Path) -> None:
    """Higher for what makes the loss of the member, or of the second value, smaller."""
    session = opened(write(tmp_path))
    model = session.model(0)
    attribute, *_, membership = session.training_canaries
    for planted in (attribute, membership):
        pull = GradientSensitivity(model, session.loss, planted.question)
        found = scores(planted, pull)
        low, *high = planted.question.variants(planted.inputs)
        before = session.loss(model(low), planted.targets).detach()
        after = session.loss(model(high[0]), planted.targets).detach() if high else 2 * before
        np.testing.assert_allclose(found, (before - after).numpy(), atol=1e-6)


def test_a_run_ends_with_rows_on_views_and_on_the_model(tmp_path: Path) -> None:
    path = write(tmp_path, canaries__kinds=["natural", "crafted"], train__epochs=1)
    result = audit(path, out=tmp_path / "run", device="cpu")
    assert any("members are canaries" in warning for warning in result.run.manifest["warnings"])
    found = result.leakage
    rows = found[found.game == "canary"]
    spec = load(path)
    for view, expected in (
        ("plain", spec.canaries.step_adversaries),
        ("dp", spec.canaries.step_adversaries),
        ("model", spec.canaries.run_adversaries),
    ):
        assert list(dict.fromkeys(rows[rows["view"] == view].adversary)) == list(expected)
    assert (rows.layer == "*").all()
    silent = rows[(rows["view"] == "plain") & (rows.metric == "epsilon_lo")]
    assert silent.status.str.contains("no finite epsilon").all()
    assert len(silent) == 8
    noisy = rows[(rows["view"] == "dp")]
    assert (noisy.status == "ok").all()
    assert (noisy.value <= noisy.ceiling + 1e-9).all()
    means = noisy[noisy.metric == "auc"].set_index("adversary").value
    for adjacency in ("replace-one", "add-remove"):
        low, high = (means[f"{kind}/likelihood-ratio/{adjacency}"] for kind in ("natural", "crafted"))
        assert low < high or (adjacency == "add-remove" and low == high)  # all as long as the clip allows
    again = audit(path, out=tmp_path / "again", device="cpu").leakage
    pd.testing.assert_frame_equal(found, again)


def test_too_few_held_out_records_for_a_view_are_said_with_the_number(tmp_path: Path) -> None:
    session = opened(write(tmp_path, canaries__train=False, canaries__count=300))
    model = session.model(0)
    reader = session.reader(model)
    context = EpochContext(session, 1, 1, model, (), reader.read(*session.batch(session.members)), None, reader)
    rows = _rows(context, session.views[1])
    assert {row.status for row in rows} == {
        "inconclusive: needs 300 held-out records with one of both values, has 200",
        "inconclusive: needs 300 held-out records, has 200",
    }


def test_gates_on_epsilon_are_checked_and_decided(tmp_path: Path) -> None:
    path = write(tmp_path, canaries__kinds=["mislabelled"], canaries__games=1000)
    name = "mislabelled/gaussian-dp/add-remove"
    gates = [{"id": f"at-{top}", "metric": "canary.epsilon_lo", "view": "dp", "adversary": name, "max": top}
             for top in (0.5, 100)]  # fmt: skip
    run = "mislabelled/one-run/add-remove"
    gates.append({"id": "on-model", "metric": "canary.epsilon_lo", "view": "model", "adversary": run, "max": 2})
    path.write_text(path.read_text() + yaml.safe_dump({"gates": gates}))
    assert not any("at-" in warning or "on-model" in warning for warning in check(path).warnings)
    result = audit(path, out=tmp_path / "run", device="cpu")
    outcomes = {verdict.id: verdict.outcome for verdict in result.run.verdicts}
    assert (outcomes["at-0.5"], outcomes["at-100"]) == ("fail", "pass")
    assert outcomes["on-model"] in ("pass", "inconclusive")
