from __future__ import annotations

import math
from dataclasses import replace

import pytest
from example_run import EPOCHS, example_run, verdict

from ptaudit.report.caveats import LOWER_BOUND, ONE_SEED, caveats
from ptaudit.report.summary import conclude, summarise
from ptaudit.report.words import interval_text, share
from ptaudit.spec.catalog import JOINT
from ptaudit.spec.metrics import METRICS, Metric
from ptaudit.tables.row import find
from ptaudit.tables.table import Table, strongest


@pytest.mark.parametrize(
    ("outcomes", "status", "outcome"),
    [
        ("", "complete", "none"),
        ("p", "complete", "pass"),
        ("pi", "complete", "inconclusive"),
        ("pif", "complete", "fail"),
        ("p", "diverged: epoch 3", "unfinished"),
        ("f", "diverged: epoch 3", "fail"),
    ],
)
def test_the_verdict_is_that_of_the_worst_gate(outcomes, status, outcome):
    words = {"p": "pass", "i": "inconclusive", "f": "fail"}
    verdicts = [verdict(f"gate-{k}", words[letter]) for k, letter in enumerate(outcomes)]
    run = example_run(verdicts=tuple(verdicts))
    conclusion = conclude(replace(run, manifest={**run.manifest, "status": status}))
    assert conclusion.outcome == outcome
    assert all(v.id in conclusion.text for v in verdicts if v.outcome == outcome != "pass")


def test_a_joint_line_shows_the_strongest_adversary_and_its_course():
    run = example_run()
    line = next(line for line in summarise(run).joint if (line.row.view, line.row.metric) == ("model", "auc"))
    assert line.row.adversary == "loss"
    rows = [find(run.rows, epoch=epoch, layer=JOINT, metric="auc", adversary="loss")[0] for epoch in EPOCHS]
    assert line.series == tuple(pytest.approx((row.value - 0.5) / 0.5) for row in rows)


def test_an_adversary_that_does_not_know_the_defense_is_left_out():
    row = find(example_run().rows, epoch=8, layer=JOINT, view="record", metric="bits")[0]
    static = replace(row, knowledge="static", lo=row.lo + 1)
    assert not static.adaptive
    assert list(strongest(Table.of([row, static]), "epoch")) == [row]


def test_layers_are_ranked_by_the_game_in_focus():
    summary = summarise(example_run())
    assert summary.focus.view == "batch-32"
    assert [line.layer for line in summary.layers] == [
        "head.fc2",
        "head.fc1",
        "features.conv2",
        "features.conv1",
        "norm",
    ]
    found = [line.scores[0].value for line in summary.layers]
    assert found == sorted(found, reverse=True)


def test_without_a_gate_the_focus_is_where_layers_differ_most():
    run = example_run(verdicts=())
    spread = {}
    for row in find(run.rows, epoch=8, metric="bits"):
        if row.layer != JOINT and share(row) is not None:
            spread.setdefault((row.view, row.game), []).append(share(row))
    best = max(spread, key=lambda key: max(spread[key]) - min(spread[key]))
    focus = summarise(run).focus
    assert (focus.view, focus.games[0]) == best


def test_an_inconclusive_epoch_is_missing_in_the_series_not_zero():
    line = next(line for line in summarise(example_run()).joint if (line.row.view, line.row.game) == ("dp", "label"))
    assert line.series == (None,) * len(EPOCHS)


def test_bits_start_at_zero_and_scores_at_their_null():
    row = find(example_run().rows, epoch=8, layer=JOINT, metric="auc", adversary="loss")[0]
    assert share(replace(row, value=0.5)) == 0
    assert share(replace(row, value=0.75)) == 0.5
    assert share(replace(row, metric="bits", value=0.5)) == 0.5
    assert share(replace(row, value=math.nan)) is None
    assert share(replace(row, status="inconclusive: too few")) is None
    assert share(replace(row, ceiling=math.nan)) is None


def test_caveats_name_what_is_missing_and_why():
    sentences = caveats(example_run())
    assert sentences[0] == LOWER_BOUND
    assert ONE_SEED in sentences
    assert "Not captured: mixer (records are mixed in the forward pass)." in sentences
    assert (
        "Inconclusive rows, never to be read as 0: too few records: 449 of the 640 needed (30); "
        "5 false positives expected at least (10)." in sentences
    )
    assert "dropout frozen: the gradients are read with dropout off" in sentences


def test_several_seeds_are_not_called_one():
    run = example_run()
    assert ONE_SEED not in caveats(replace(run, manifest={**run.manifest, "seeds": [0, 1, 2]}))


def test_facts_show_no_absolute_path_and_the_overhead():
    facts = dict(summarise(example_run()).facts)
    assert facts["model"] == "lenet.py:lenet, 19,574 parameters in 6 layers, 5 captured"
    assert "+39 % of training" in facts["time"]
    assert "898 of 898 members" in facts["records"]


def test_a_new_metric_is_a_line_in_their_table(monkeypatch):
    """Registered from outside: the summary shows it, from its own prior and in its own digits."""
    run = example_run()
    row = run.rows.where(epoch=8, layer=JOINT, view="record", metric="bits")[0]
    new = replace(row, metric="overlap", value=3.0, lo=2.9, hi=3.1, null=0.5, ceiling=5.0)
    shown = replace(run, rows=Table.of([*run.rows, new]))
    assert all(line.row.metric != "overlap" for line in summarise(shown).joint)
    monkeypatch.setitem(METRICS, "overlap", Metric("pixels", prior=1.0, digits=1, headline=True))
    (line,) = (line for line in summarise(shown).joint if line.row.metric == "overlap")
    assert share(line.row) == 0.5
    assert interval_text(line.row) == "3.0 [2.9, 3.1]"
