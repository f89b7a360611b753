"""Dynamics of a real fleet in an audit: rows, tables, single records where they are kept, the same when resumed."""

from __future__ import annotations

import shutil
from xml.etree import ElementTree

import pandas as pd
import pytest
from audit_case import ONE_VIEW, call, interrupt_at, write_spec

import ptaudit
from ptaudit.games.dynamics.info import FORECAST, OF_FLEET, OF_RUN, who
from ptaudit.plots import write_plots
from ptaudit.plots.regions import regions
from ptaudit.spec.catalog import TRANSITIONS
from ptaudit.tables.folder import read_run
from ptaudit.tables.samples import read_samples

SPEC = {
    "audit__games": ["dynamics"],
    "audit__views": ONE_VIEW,
    "audit__epochs": [0, 3, 30],
    "train__epochs": 30,
    "train__optimizer__lr": 0.5,
    "fleet": {"models": 16, "folder": "kept"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dynamics")
    ptaudit.audit(write_spec(folder, **SPEC), out=folder / "run", keep_records=True)
    return folder


def test_rows_are_of_all_layers_and_every_forecaster(home):
    rows = pd.read_csv(home / "run" / "leakage.csv")
    assert set(rows.game) == {"dynamics"}
    assert set(rows.layer) == {"*"}
    last = rows[rows.epoch == 30]
    foretell = {who("fleet", name) for name in (FORECAST, *OF_FLEET)} | {
        who("run", name) for name in (FORECAST, *OF_RUN)
    }
    assert set(last[last.metric == "forecast_auc"].adversary) == foretell | {"agreement", "attainable"}
    moved = last[last.adversary == "bavaria-offline"].set_index("metric").value
    assert moved[list(TRANSITIONS)].sum() == pytest.approx(1.0, abs=1e-4)
    assert 0.0 < moved["displacement"] < 2**0.5
    assert moved["exposed"] > rows[(rows.metric == "exposed") & (rows.epoch == 0)].value.item() + 0.1


def test_dynamics_csv_has_every_number_and_names_regions(home):
    rows, sheet = (pd.read_csv(home / "run" / f"{name}.csv") for name in ("leakage", "dynamics"))
    assert len(sheet) == len(rows)
    steps = sheet[sheet.measure == "transition"]
    assert set(steps.region_from) == set(steps.region_to) == {"hidden", "exposed", "inverted", "conspicuous"}
    assert len(steps) == 2 * 16


def test_single_records_are_kept_where_that_is_asked(home):
    kept = pd.read_csv(home / "run" / "samples.csv")
    assert set(kept.metric) == {"fpr", "tpr", "exposed", "risk", "loss_without"}
    assert kept.groupby(["epoch", "metric"]).size().nunique() == 1
    assert kept[kept.metric.isin(["fpr", "tpr", "exposed"])].value.between(0.0, 1.0).all()
    ptaudit.audit(home / "spec.yaml", out=home / "again")
    assert not (home / "again" / "samples.csv").exists()


def test_a_resumed_run_is_as_one_that_nobody_disturbed(home, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 30)
        with pytest.raises(KeyboardInterrupt):
            ptaudit.audit(home / "spec.yaml", out=home / "resumed")
    again = ptaudit.audit(home / "spec.yaml", out=home / "resumed", resume=True)
    pd.testing.assert_frame_equal(again.leakage, pd.read_csv(home / "run" / "leakage.csv")[list(again.leakage.columns)])


def test_pictures_are_drawn_with_captions_of_what_there_is(home, tmp_path):
    result = call("show", home / "run", "--plots", tmp_path / "all")
    assert result.exit_code == 0
    assert "6 pictures" in result.output
    drawn = {path.stem: path.read_text() for path in (tmp_path / "all").iterdir()}
    assert set(drawn) == {"regions", "transitions", "movement", "forecast", "plane", "difficulty"}
    for text in drawn.values():
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg")
        assert not [node for node in root.iter() if node.tag.endswith("script")]
        assert len("".join(root.itertext())) > 200
    shutil.copytree(home / "run", tmp_path / "bare")
    (tmp_path / "bare" / "samples.csv").unlink()
    bare = write_plots(read_run(tmp_path / "bare"), read_samples(tmp_path / "bare"), tmp_path)
    assert {path.stem for path in bare} == {"regions", "transitions", "movement", "forecast"}


def test_shares_of_the_regions_are_those_that_the_game_reports(home):
    rows = pd.read_csv(home / "run" / "leakage.csv")
    data = regions(read_run(home / "run"))
    assert data.groupby("epoch").value.sum().to_numpy() == pytest.approx(1.0, abs=1e-4)
    reported = rows[rows.metric == "exposed"].set_index("epoch").value
    drawn = data[data.region == "exposed"].set_index("epoch").value
    pd.testing.assert_series_equal(drawn, reported, atol=1e-4, check_names=False)
