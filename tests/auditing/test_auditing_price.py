"""What `check` foretells of games is near to what they take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from audit_case import ONE_VIEW, call, write_spec
from inference_case import spec

import ptaudit
from ptaudit.auditing import check
from ptaudit.auditing import cost_estimate as price
from ptaudit.auditing.cost_probe import ENOUGH, CostProbe
from ptaudit.auditing.opening import open_session
from ptaudit.games.fisher_information import play as fisher
from ptaudit.gradients import input_jacobian
from ptaudit.spec.load import load
from ptaudit.spec.registry import GAMES
from ptaudit.views import View

CONFIGS = Path(__file__).parents[2] / "configs"

DEEP = """\
from torch import nn

def deep(layers=3):
    hidden = [m for _ in range(layers) for m in (nn.Linear(32, 32), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), *hidden, nn.Linear(32, 10))
"""


def probe_of(path: Path) -> CostProbe:
    session = open_session(load(path), torch.device("cpu"))
    model = session.model(0)
    return CostProbe.of(session, model, session.reader(model))


def deep(folder: Path, **changes: object) -> Path:
    path = write_spec(folder, model__entry="deep.py:deep", **changes)
    (folder / "deep.py").write_text(DEEP, encoding="utf-8")
    return path


def test_every_phase_is_foretold_within_a_factor_of_three(tmp_path):
    """Of a network with more layers than are played on, games of all kinds, and single records beside batches."""
    views = [{"name": "record", "batch_size": 1}, *ONE_VIEW]
    games = ["identity", "label", "membership", "uniqueness"]
    changes = {"audit__views": views, "audit__games": games, "audit__epochs": [1], "train__epochs": 1}
    path = deep(tmp_path, data__limit=320, **changes)
    report = check(path)
    assert call("run", path, "--out", tmp_path / "run", "-q").exit_code == 0
    took = json.loads((tmp_path / "run" / "timings.json").read_text(encoding="utf-8"))
    assert {f"game {game}" for game in games} < set(took)
    assert took["games"] / 3 < report.estimate_seconds["games"] < 3 * took["games"]
    whole = sum(took[phase] for phase in report.estimate_seconds)
    assert whole / 3 < sum(report.estimate_seconds.values()) < 3 * whole


def test_a_sample_has_layers_of_all_sizes_and_not_all_records(tmp_path):
    views = [{"name": "pair", "batch_size": 2}, {"name": "large", "batch_size": 20}]
    probe = probe_of(deep(tmp_path, data__limit=None, audit__views=views))
    context = probe.context(probe.session, View("pair", 2), 2)
    assert [layer.parameters for layer in context.inside.layers] == [32 * 33, 32 * 33]
    assert context.inside.values.shape[:2] == (2, ENOUGH)
    assert [len(layer[0].norms()) for layer in context.gradients] == [ENOUGH, ENOUGH]
    all_layers = probe.context(probe.session, View("pair", 2), 5)
    assert [layer.name for layer in all_layers.inside.layers] == [layer.name for layer in probe.inside.layers]
    assert context.cells < all_layers.cells / 2
    # A view that needs more records has them.
    assert probe.context(probe.session, View("large", 20), 2).inside.values.shape[1] == 400


def test_every_game_is_priced_and_kinds_that_differ_by_strength_alone_once(tmp_path, monkeypatch):
    noisy = [{"name": f"dp-{s}", "batch_size": 2, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": s}}
             for s in (0.5, 1.0, 2.0)]  # fmt: skip
    path = write_spec(tmp_path, audit__views=[*ONE_VIEW, *noisy], defenses=[{"name": "prune", "ratio": [0.5, 0.9]}])
    played = []
    monkeypatch.setattr(price, "_kind_seconds", lambda probe, kind: played.append(kind) or 1.0)
    monkeypatch.setattr(price, "_model_seconds", lambda probe, game: float(game.name == "membership"))
    probe = probe_of(path)
    seconds = price.games_seconds(probe)
    assert sorted((kind.game.title, kind.view.name) for kind in played) == [
        ("identity", "batch-2"), ("identity", "batch-2"), ("identity", "dp-0.5"),
        ("label", "batch-2"), ("label", "batch-2"), ("label", "dp-0.5"),
    ]  # fmt: skip
    # Two games on four views, on the one without a defense of its own under both of `defenses` too; and membership in
    # each of three trainings.
    assert seconds == pytest.approx(2 * (4 + 2) + 3, abs=0.5)


def test_what_is_not_played_costs_what_the_most_similar_kind_did(tmp_path, monkeypatch):
    views = [{"name": f"batch-{m}", "batch_size": m} for m in (2, 3, 4)]
    path = write_spec(tmp_path, audit__views=views, audit__games=["identity"])
    monkeypatch.setattr(price, "SECONDS", 0.0)
    monkeypatch.setattr(price, "_kind_seconds", lambda probe, kind: float(kind.view.records))
    assert price.games_seconds(probe_of(path)) == pytest.approx(3 * 4.0, abs=0.5)


NOISY = [{"name": "dp", "batch_size": 2, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": 1.0}}]
NEEDS = {
    "attribute": {"attribute": "kind"},
    "property": {"attribute": "colour", "values": ["red"]},
    "distribution": {"attribute": "colour", "values": ["red"]},
    "localisation": {"attribute": "colour"},
}
"""What a game cannot do without on the table of `inference_case`."""


@pytest.mark.parametrize("name", list(GAMES))
def test_no_game_is_without_a_price(name, tmp_path, monkeypatch):
    """Of a second each time that it is played."""
    asked = {"name": name, **NEEDS.get(name, {})}
    canaries = {"canaries": {"kinds": ["natural"], "count": 8}} if GAMES[name].of_part == "canaries" else {}
    fleet = {"fleet": {"models": 8}} if GAMES[name].uses_fleet is True else {}
    views = {"views": NOISY} if GAMES[name].is_of_noise else {}
    audit = {"games": ["membership" if canaries else asked], "epochs": [0, 1], **views}
    path = spec(tmp_path, audit=audit, **canaries, **fleet)
    probe, played = probe_of(path), []
    monkeypatch.setattr(price, "run_game", lambda context, game, *view: played.append(game.name))
    monkeypatch.setattr(price, "once", lambda work: (work(), 1.0))
    seconds = price.games_seconds(probe)
    assert name in played
    assert seconds >= len(set(played))


@pytest.mark.parametrize("limit", [64, 16])
def test_views_that_clip_alike_pay_for_fisher_information_once(limit, tmp_path, monkeypatch):
    """With inputs of which Jacobians are built, and by products alone."""
    monkeypatch.setattr(input_jacobian, "EXACT", limit)
    monkeypatch.setattr(fisher, "EXACT", limit)
    noisy = [
        {"name": f"dp-{m}-{s:g}", "batch_size": m, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": s}}
        for m, s in ((2, 0.5), (2, 2.0), (4, 1.0))
    ]
    changes = {"audit__views": [*ONE_VIEW, *noisy], "audit__games": ["fisher-information"], "audit__epochs": [1]}
    path = deep(tmp_path, train__epochs=1, **changes)
    foretold = check(path).estimate_seconds["games"]
    assert call("run", path, "--out", tmp_path / "run", "-q").exit_code == 0
    took = json.loads((tmp_path / "run" / "timings.json").read_text(encoding="utf-8"))["games"]
    assert took / 2 < foretold < 2 * took


def test_reference_models_are_foretold_as_they_are_trained(tmp_path):
    """Sixteen at once, which takes several times less than one after the other."""
    fleet = {"fleet": {"models": 16}, "train__epochs": 100, "audit__epochs": [100]}
    path = write_spec(tmp_path, audit__views=ONE_VIEW, audit__games=["membership"], **fleet)
    foretold = check(path).estimate_seconds["reference models"]
    assert call("run", path, "--out", tmp_path / "run", "-q").exit_code == 0
    took = json.loads((tmp_path / "run" / "timings.json").read_text(encoding="utf-8"))["reference models"]
    assert took / 3 < foretold < 3 * took
    alone = check(path, overrides=["fleet.at_once=1"]).estimate_seconds["reference models"]
    assert alone > 1.5 * foretold


SMALL = ["train.epochs=1", "audit.epochs=[1]"]
READY = {
    "quickstart": ["audit.records=640"],
    "location30": ["audit.records=640"],
    "membership-location30": ["audit.records=640", "fleet.models=8"],
    "canaries-adult": ["audit.records=640", "canaries.games=200"],
    "defenses-adult": ["audit.records=400", "defenses=[{name: prune, ratio: 0.9}, {name: vib, beta: 0.01}]"],
    "fashion-information": ["audit.records=640", "data.limit=2000"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(READY))
def test_ready_specs_take_about_as_long_as_foretold(name, tmp_path, real_data, monkeypatch):
    """Within a factor of three in all and in their games, few records in one epoch."""
    monkeypatch.setenv("PTAUDIT_DATA", str(real_data))
    path, overrides = CONFIGS / f"{name}.yaml", [*SMALL, *READY[name]]
    foretold = check(path, overrides=overrides).estimate_seconds
    ptaudit.audit(path, out=tmp_path / "run", overrides=overrides, gate=False)
    took = json.loads((tmp_path / "run" / "timings.json").read_text(encoding="utf-8"))
    print(f"{name}: foretold {foretold}, took {took}")
    games = {game.title for game in load(path, overrides).games}
    assert {f"game {title}" for title in games} == {phase for phase in took if phase.startswith("game ")}
    for phases in (["games"], list(foretold)):
        ratio = sum(foretold[phase] for phase in phases) / sum(took[phase] for phase in phases)
        assert 1 / 3 < ratio < 3, phases
