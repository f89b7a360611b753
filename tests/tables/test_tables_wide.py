import json
import math

import numpy as np
import pytest
from table_builders import lost_row, make_row, make_run, rows_of

from ptaudit.tables.formats import json_text
from ptaudit.tables.run import EpochEntry, LayerEntry
from ptaudit.tables.summary import joint_rows, most_leaking, overall, status_counts, summary
from ptaudit.tables.wide import epochs_sheet, layer_epoch_sheet, layers_sheet, primary_metric

NAN = math.nan


def entry(epoch):
    return EpochEntry(epoch, 10 * epoch, 1.0, 0.5, 1.1, 0.4, NAN)


@pytest.fixture
def run():
    rows = []
    for epoch, joint, conv, fc in ((0, 1.0, 0.2, 0.4), (2, 3.0, 2.5, NAN), (4, 2.0, 0.8, 0.9)):
        rows.append(make_row("*", joint, epoch=epoch, status="dim-limited" if epoch == 2 else "ok"))
        rows.append(make_row("conv1", conv, epoch=epoch))
        rows.append(lost_row("fc", epoch=epoch) if math.isnan(fc) else make_row("fc", fc, epoch=epoch))
        rows.append(make_row("fc", 0.3, epoch=epoch, metric="accuracy", ceiling=1.0))
        rows.append(make_row("conv1", 7.0, epoch=epoch, knowledge="static"))
        rows.append(make_row("*", 0.6, epoch=epoch, view="model", game="membership", metric="auc", adversary="loss"))
    layers = [LayerEntry("bn", 3, "BatchNorm2d", 4, "none", "records mixed")]
    return make_run(rows, epochs=[entry(e) for e in (0, 1, 2, 4)], layers=layers, warnings=["w"])


def as_dicts(sheet):
    assert all(len(row) == len(sheet.columns) for row in sheet.rows)
    return [dict(zip(sheet.columns, row)) for row in sheet.rows]


def one(sheet, **wanted):
    found = [row for row in as_dicts(sheet) if all(row[k] == v for k, v in wanted.items())]
    assert len(found) == 1
    return found[0]


def test_layers_hold_first_last_and_largest(run):
    row = one(layers_sheet(run), layer="*", game="identity")
    assert (row["first"], row["last"], row["max"], row["max_epoch"]) == (1.0, 2.0, 3.0, 2)
    assert (row["first_lo"], row["last_hi"]) == pytest.approx((0.9, 2.1))
    assert row["status"] == "dim-limited"
    assert row["max_lo"] <= 2.9
    assert row["max_hi"] >= 3.1  # at least as wide as the chosen epoch's own interval
    assert row["ceiling"] == 8.0


def test_layers_skip_what_was_not_measured_but_say_so(run):
    row = one(layers_sheet(run), layer="fc", metric="bits")
    assert (row["first"], row["max"], row["max_epoch"]) == (0.4, 0.9, 4)
    assert row["status"] == "inconclusive: too few records"
    never = layers_sheet(make_run([lost_row("fc", epoch=e) for e in (0, 4)]))
    row = one(never, layer="fc")
    assert all(math.isnan(row[name]) for name in ("first", "last", "max", "max_lo"))
    assert row["max_epoch"] == ""


def test_interval_of_the_largest_epoch_covers_although_it_was_chosen():
    generator, covered = np.random.default_rng(0), 0
    for _ in range(100):
        rows = [row for epoch in range(8) for row in rows_of(2 + generator.standard_normal((1, 60)), epoch=epoch)]
        row = one(layers_sheet(make_run(rows)), layer="l0")
        covered += row["max_lo"] <= 2 <= row["max_hi"]
    assert covered >= 92


def test_heat_map_has_a_column_per_epoch(run):
    sheet = layer_epoch_sheet(run)
    assert sheet.columns[-3:] == ("epoch_0", "epoch_2", "epoch_4")
    row = one(sheet, layer="fc", metric="bits")
    assert (row["epoch_0"], row["epoch_4"]) == (0.4, 0.9)
    assert math.isnan(row["epoch_2"])


def test_epochs_hold_the_joint_row_and_the_worst_layer(run):
    sheet = epochs_sheet(run)
    assert [row["epoch"] for row in as_dicts(sheet)] == [0, 1, 2, 4]
    name = "identity.bits.batch-8"
    row = one(sheet, epoch=0)
    assert (row[name], row[f"{name}.worst_layer"], row[f"{name}.worst_value"]) == (1.0, "fc", 0.4)
    assert row["membership.auc.model"] == 0.6
    assert one(sheet, epoch=2)[f"{name}.worst_layer"] == "conv1"  # fc was not measured, the static row does not count
    not_audited = one(sheet, epoch=1)
    assert math.isnan(not_audited[name])
    assert not_audited[f"{name}.worst_layer"] == ""
    assert not any("accuracy." in column for column in sheet.columns)


def test_primary_metric():
    assert primary_metric("membership", ["accuracy", "bits", "auc"]) == "auc"
    assert primary_metric("unheard-of", ["score"]) == "score"


def test_summary_shows_the_last_epoch(run):
    content = json.loads(json_text(summary(run)))
    assert (content["epoch"], content["verdict"], content["warnings"]) == (4, "no gates", ["w"])
    assert [(row["game"], row["value"]) for row in content["joint"]] == [("identity", 2.0), ("membership", 0.6)]
    assert [row["layer"] for row in content["most_leaking"]] == ["fc", "conv1"]
    assert content["rows_by_status"] == {"dim-limited": 1, "inconclusive": 1, "ok": 16}
    assert content["not_captured"] == {"bn": "records mixed"}


def test_most_leaking_takes_the_strongest_adversary_and_the_top(run):
    rows = [*run.rows, make_row("conv1", 1.5, adversary="exact")]
    ranked = most_leaking(make_run(rows), top=1)
    assert [(row.layer, row.value) for row in ranked] == [("conv1", 1.5)]
    assert len(joint_rows(run)) == 2
    assert sum(status_counts(run).values()) == len(run.rows)


def test_without_gates_there_is_no_verdict():
    assert overall([]) == "no gates"
