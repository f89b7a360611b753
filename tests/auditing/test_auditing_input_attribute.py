"""The attribute of a table as an input on views that do not add up: the adversary computes what each value shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from inference_case import DEFENSES, spec

import ptaudit
from ptaudit.context.counterfactual import counterfactual_alone
from ptaudit.context.observations import observation
from ptaudit.games.attribute import play as attribute

MODEL = {"entry": "models.py:net", "args": {"hidden": 24}}
PRUNE: dict[str, Any] = {"name": "prune", "ratio": 0.99}


def played(folder: Path, views: list[dict[str, Any]], **changes: Any) -> pd.DataFrame:
    game = {"name": "attribute", "attribute": "colour"}
    audit = {"views": views, "games": [game], "tokens": {"dim": 64}}
    found = ptaudit.audit(spec(folder, model=MODEL, audit=audit, **changes), out=folder / "run").leakage
    joint = found[(found.layer == "*") & (found.metric == "bits") & (found.knowledge == "adaptive")]
    return joint.set_index("view")


def test_signs_and_few_numbers_of_one_record_give_its_field_back(tmp_path: Path) -> None:
    views = [
        {"name": "bare", "batch_size": 1},
        {"name": "sign", "batch_size": 1, "defense": DEFENSES["sign"]},
        {"name": "prune", "batch_size": 1, "defense": PRUNE},
        {"name": "update", "batch_size": 1, "update": {"local_steps": 3, "lr": 0.1}},
    ]
    found = played(tmp_path, views)
    for view in found.index:
        assert found.ceiling[view] > 0.5
        assert found.value[view] >= 0.98 * found.ceiling[view], view


def test_what_shows_nothing_gives_nothing_and_what_is_random_is_played(tmp_path: Path) -> None:
    views = [{"name": "nothing", "batch_size": 1, "defense": {"name": "prune", "ratio": 0.9999}}]
    for name in ("perturb", "dropout", "label_dp"):
        views += [{"name": f"{name}-{m}", "batch_size": m, "defense": DEFENSES[name]} for m in (1, 4)]
    found = played(tmp_path, views)
    assert set(found.status) <= {"ok", "attack-limited"}
    assert found.value["nothing"] < 1e-9
    assert found.hi["nothing"] < 0.01
    assert found.value["perturb-1"] >= 0.98 * found.ceiling["perturb-1"]
    for name in ("dropout", "label_dp"):
        assert found.lo[f"{name}-1"] > 0.1, name


def test_what_is_computed_for_the_true_value_is_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is computed from the inputs with that value, and however the records are put into batches."""
    seen = []
    inner = attribute._input

    def looked(table: Any, game: Any, asked: Any) -> Any:
        context, view = table.context, asked.view
        alone = counterfactual_alone(context, view, table.places, "colour")
        order = torch.randperm(alone.shape[2], generator=torch.Generator().manual_seed(0))
        shown = observation(context, view, table.places).observe(order[:, None], torch.Generator().manual_seed(1))
        codes = torch.from_numpy(context.session.records.fields["colour"].codes[context.session.members])[order]
        mine = alone[:, :, order][codes, :, torch.arange(len(order))].transpose(0, 1)
        other = alone[:, :, order][1 - codes, :, torch.arange(len(order))].transpose(0, 1)
        seen.append(view.name)
        assert float((mine - shown).norm()) <= 1e-5 * float(shown.norm())
        assert float((other - shown).norm()) > 0.05 * float(shown.norm())
        again = counterfactual_alone(context, view, table.places, "colour")
        assert torch.equal(alone, again)
        return inner(table, game, asked)

    monkeypatch.setattr(attribute, "_input", looked)
    views = [
        {"name": "sign", "batch_size": 1, "defense": DEFENSES["sign"]},
        {"name": "sign-4", "batch_size": 4, "defense": DEFENSES["sign"]},
        {"name": "prune", "batch_size": 1, "defense": PRUNE},
        {"name": "update", "batch_size": 1, "update": {"local_steps": 3, "lr": 0.1}},
    ]
    played(tmp_path, views)
    assert seen == [view["name"] for view in views]
