"""The localisation table: what stands beside what, of which game, view and training."""

from __future__ import annotations

import math

from table_builders import lost_row, make_row, make_run

from ptaudit.tables.localisation import COLUMNS, METRICS, localisation_sheet

SPEC = """\
data: {label: income, attributes: [sex, race]}
audit:
  views:
    - {name: batch-8, batch_size: 8}
    - {name: record, batch_size: 1}
    - {name: hidden, batch_size: 1, defense: {name: dp, clip: 1.0, noise_multiplier: 1.0}}
  games:
    - {name: usable-information, id: of-race, secret: attribute, attribute: race, family: [linear, mlp]}
    - {name: usable-information, id: of-sex, secret: attribute, family: [linear]}
    - usable-information
    - {name: localisation, id: sex, attribute: sex}
    - {name: localisation, id: race, secret: attribute, attribute: race}
    - {name: localisation, id: income, secret: label}
"""


def localised(game, layer="fc", value=0.5, view="model", **columns):
    return [
        make_row(layer, value + i, game=game, metric=metric, view=view, **columns) for i, metric in enumerate(METRICS)
    ]


def usable(game, value, view="record", family="linear", **columns):
    return make_row(value=value, game=game, adversary=family, view=view, **columns)


def table(*rows, spec=SPEC):
    sheet = localisation_sheet(make_run([row for some in rows for row in (some if isinstance(some, list) else [some])],
                                        spec_text=spec))  # fmt: skip
    assert sheet.columns == COLUMNS
    return [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows]


def test_the_same_secret_on_the_smallest_undefended_view_stands_beside():
    rows = [
        *localised("sex"), *localised("race", value=0.6), *localised("income", value=0.7),
        usable("of-race", 0.1, "batch-8"), usable("of-race", 0.2), usable("of-race", 0.3, family="mlp"),
        usable("of-race", 0.9, "hidden"), usable("of-sex", 0.4), usable("usable-information", 0.8),
        usable("of-sex", 0.6, metric="accuracy"),
    ]  # fmt: skip
    by_game = {line["game"]: line for line in table(rows)}
    assert list(by_game) == ["sex", "race", "income"]
    linear = {game: line["usable_linear_bits"] for game, line in by_game.items()}
    assert linear == {"sex": 0.4, "race": 0.2, "income": 0.8}
    assert by_game["race"]["usable_mlp_bits"] == 0.3
    assert math.isnan(by_game["sex"]["usable_mlp_bits"])
    assert {line["view"] for line in by_game.values()} == {"record"}


def test_a_line_holds_every_metric_with_its_interval_and_null():
    (line,) = table(localised("sex"), usable("of-sex", 0.4))
    for i, metric in enumerate(METRICS):
        found = [line[f"{metric}{part}"] for part in ("", "_lo", "_hi", "_null")]
        assert found == [0.5 + i, 0.4 + i, 0.6 + i, 0.0]
    assert (line["epoch"], line["layer"], line["layer_index"], line["layer_type"]) == (4, "fc", 2, "Linear")
    assert line["status"] == "ok"
    assert line["usable_linear_bits_lo"] == 0.4 - 0.1


def test_a_line_for_each_epoch_layer_and_training():
    rows = [row for epoch in (0, 4) for layer in ("*", "fc") for row in localised("sex", layer, epoch=epoch)]
    rows += localised("sex", trained_with="dp")
    rows += [usable("of-sex", 0.4), usable("of-sex", 0.1, trained_with="dp"), usable("of-sex", 0.3, epoch=0)]
    found = [(x["epoch"], x["layer"], x["trained_with"], x["usable_linear_bits"]) for x in table(rows)]
    bare = [(epoch, layer, "none") for epoch in (0, 4) for layer in ("*", "fc")]
    assert [line[:3] for line in found] == [*bare, (4, "fc", "dp")]
    assert [line[3] for line in found if line[1] == "fc"] == [0.3, 0.4, 0.1]


def test_what_was_not_measured_is_no_number_and_says_why():
    rows = localised("sex")
    rows[0] = lost_row(game="sex", metric=METRICS[0], view="model", status="inconclusive: token ids")
    (line,) = table(rows)
    assert math.isnan(line["sensitivity"])
    assert line["js_distance"] == 3.5
    assert line["status"] == "inconclusive: token ids"


def test_without_a_spec_the_metrics_stand_alone_and_without_the_game_there_is_no_table():
    (line,) = table(localised("sex"), usable("of-sex", 0.4), spec="")
    assert math.isnan(line["usable_linear_bits"])
    assert line["view"] == ""
    assert line["sensitivity"] == 0.5
    assert table(usable("of-sex", 0.4), make_row()) == []
