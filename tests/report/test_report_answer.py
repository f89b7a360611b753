"""The answer is true of the row that each of its sentences stands on, and says what it does not know."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from example_run import example_run, leaking_run

from ptaudit.report.answer import answers, limit_text, limited, noise_sentence, rate
from ptaudit.report.html.advice import advice_parts
from ptaudit.report.words import is_null, share
from ptaudit.spec.catalog import JOINT
from ptaudit.tables.row import Row
from ptaudit.tables.table import Table, strongest


def row(metric: str, value: float, lo: float, hi: float, **changes: object) -> Row:
    base = Row(8, 9, JOINT, -1, "joint", 3, "batch-8", "identity", "combined", "adaptive", "none", "none", metric,
               value, lo, hi, 0.1, 1.0, 0.2, 80, "ok")  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def run_of(*rows: Row):
    return replace(example_run(verdicts=()), rows=Table.of(rows))


def test_a_share_of_what_could_be_found_is_that_of_bits():
    """An accuracy has no ceiling of its own: 14 % of tries may be half of what a sum tells."""
    bits = row("bits", 0.1, 0.08, 0.12, null=0.0, ceiling=0.2, detectable=0.01)
    (answer,) = answers(run_of(bits, row("accuracy", 0.14, 0.13, 0.16, null=0.11)))
    assert answer.findings[0].row.metric == "accuracy"
    assert share(answer.findings[0].scale) == pytest.approx(0.5)
    assert answer.worst == pytest.approx(0.5)


@pytest.mark.parametrize("run", [example_run(), leaking_run()], ids=["example", "leaking"])
def test_shares_are_those_of_heat_maps_and_of_the_terminal(run):
    here = run.rows.as_trained.where(layer=JOINT, epoch=8, metric="bits")
    best = {(row.game, row.view): row for row in strongest(here, "game", "view", "knows")}
    found = [one for answer in answers(run) for one in answer.findings]
    assert len(found) > 5
    for one in found:
        place = (one.row.game, one.row.view)
        if best[place].measured:
            assert share(one.scale) == share(best[place])


def test_a_number_of_another_kind_keeps_its_unit_and_has_its_own_guess():
    rows = row("accuracy", 1.0, 0.99, 1.0, null=0.82), row("auc", 0.59, 0.55, 0.63, null=0.5, view="dp")
    (answer,) = answers(run_of(*rows))
    assert "in 59 % (55 to 63 %) of pairs; a mere guess in 82 % of tries; a coin in 50 % of pairs." in answer.text


def test_what_everybody_knows_is_told_once():
    rows = [
        row("accuracy", 0.9 - 0.3 * k, 0.5, 1.0, knows="rest", view=view) for k, view in enumerate(("batch-8", "dp"))
    ]
    (answer,) = answers(run_of(*rows))
    assert answer.text.startswith("To one who knows the rest of the record, a batch of 8 ")
    assert answer.text.count("knows") == 1
    mixed = answers(run_of(rows[0], replace(rows[1], knows="none")))[0].text
    assert mixed.startswith("A batch of 8 (to one who knows the rest of the record) ")


def test_numbers_do_not_run_into_each_other():
    some = row("identified", 0.9, 0.5, 1.0, game="reconstruction", null=0.0)
    run = run_of(replace(some, view="record"), replace(some, value=0.8))
    spec = run.spec_text.replace("{name: identity}", "{name: reconstruction}")
    (answer,) = answers(replace(run, spec_text=spec))
    assert "; a batch of 8: 80 % (50 to 100 %) of the records" in answer.text


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (0.2, "no better than a guess (below 20 % could not be seen)"),
        (0.6, "no better than a guess as far as this run could see (below 60 % could not be seen)"),
        (1.2, "no better than a guess as far as this run could see (nothing could have been seen)"),
        (math.nan, "no better than a guess as far as this run could see (how little could be seen is not known)"),
    ],
)
def test_a_null_never_reads_as_safe_where_little_could_be_seen(limit, told):
    null = row("accuracy", 0.11, 0.05, 0.17, detectable=limit)
    assert is_null(null)
    assert rate(null) == told


def test_nothing_below_the_mean_record_could_have_been_seen():
    worse = row("explained_variance", 0.1, -0.4, 0.6, null=-0.7, detectable=-0.2)
    assert is_null(worse)
    assert limit_text(worse) == " (below 50 % could not be seen)"


def test_an_interval_that_is_wide_for_its_value_is_told():
    assert rate(row("accuracy", 0.018, 0.01, 0.026, null=0.004)) == "in 1.8 % (1.0 to 2.6 %) of tries"
    assert rate(row("accuracy", 0.988, 0.985, 0.991)) == "in 99 % of tries"


def test_what_only_this_adversary_limits_is_named():
    loud, quiet = (row("accuracy", 0.5, 0.4, 0.6, status=status) for status in ("attack-limited", "ok"))
    text = "No noise hides the rest in identity of batch-8: others may find more."
    assert limited(answers(run_of(loud))) == text
    assert limited(answers(run_of(quiet))) == ""


def test_noise_that_hides_half_is_told_in_words():
    text = noise_sentence(leaking_run())
    assert text.startswith(
        "Nothing hides these records; noise of 0.5 of a typical gradient would halve what is found in"
    )
    assert ", of 0.34 in a batch of 8, of 0.2 in a batch of 32." in text
    assert noise_sentence(example_run()) == ""


def test_knowing_less_is_no_advice():
    """An adversary that knows more finds more in the same view; nobody chooses what it knows."""
    more = row("bits", 6.0, 5.8, 6.2, null=0.0, ceiling=7.8, knows="others")
    less = row("bits", 1.0, 0.8, 1.2, null=0.0, ceiling=7.8, status="attack-limited")
    run = run_of(more, less)
    _, grid = advice_parts(run, answers(run))
    assert grid.rows == ()
    fewer = replace(more, view="dp", value=0.5, lo=0.4, hi=0.6)
    run = run_of(more, less, fewer)
    _, grid = advice_parts(run, answers(run))
    (line,) = grid.rows
    assert line[1].text == "a batch of 8 (to one who knows all its other records)"
    assert line[3].text.startswith("a batch of 32 with defense dp-1")


def test_nothing_rebuilt_is_told_of_records():
    none = row("identified", 0.0, 0.0, 0.46, null=0.03, detectable=0.6)
    assert (
        rate(none) == "no more of the records than a guess as far as this run could see (below 60 % could not be seen)"
    )


def test_of_many_defenses_those_are_advised_that_no_cheaper_one_matches():
    """Signs leave as much as no defense, and dp-1 as much as dp-0.5, which costs less."""
    trained = {
        "prune-0.9": (0.85, 0.5),
        "dp-0.5": (0.84, 0.1),
        "dp-1": (0.80, 0.11),
        "dp-4": (0.60, 0.01),
        "sign": (0.86, 0.95),
    }
    entries = [
        {"title": title, "name": "dp", "parameter": "", "strength": 1.0, "train_accuracy": 0.9,
         "held_out_accuracy": accuracy, "held_out_loss": 1.0, "epsilon": None, "status": "ok"}
        for title, (accuracy, _) in trained.items()
    ]  # fmt: skip
    rows = [row("bits", value, value - 0.02, value + 0.02, trained_with=title) for title, (_, value) in trained.items()]
    rows += [replace(one, metric="auc") for one in rows]
    bare = row("bits", 0.94, 0.92, 0.96)
    run = run_of(bare, replace(bare, metric="auc"), *rows)
    run = replace(run, manifest={**run.manifest, "defenses": entries})
    _, grid = advice_parts(run, answers(run))
    found = [[cell.text for cell in line] for line in grid.rows]
    assert [line[3] for line in found] == ["trained with prune-0.9", "trained with dp-0.5", "trained with dp-4"]
    assert all(line[4].startswith("bits ") for line in found)
    assert "under Defenses" in grid.notes[-1].text
