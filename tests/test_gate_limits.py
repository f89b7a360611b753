"""Gates on shares of the ceiling, on estimators that have nothing to say, and what decides one that is between."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tables.table_builders import Gate, lost_row, make_row, make_run, noise, rows_of

from ptaudit.errors import PtauditError
from ptaudit.gate import decide, reachable, select
from ptaudit.gate.undecided import models_to_decide
from ptaudit.stats import two_way
from ptaudit.tables.run import EpochEntry
from ptaudit.tables.table import Table

SPEC = """\
audit:
  views:
    - {name: batch-8, batch_size: 8}
    - {name: batch-16, batch_size: 16}
    - {name: batch-32, batch_size: 32}
    - {name: dp, batch_size: 8, defense: {name: dp, clip: 1, noise_multiplier: 1}}
  games: [identity]
"""


def verdict(gate, rows, **run):
    return decide([gate], make_run(rows, **run))[0]


# --- shares of the ceiling


@pytest.mark.parametrize("records", [60, 240, 1000])
def test_a_gate_on_a_share_does_not_change_its_verdict_with_the_number_of_records(records):
    """A quarter of what the candidates allow leaks: 1.5 bits of 6, 2 of 8, 2.5 of 10."""
    ceiling = math.log2(records)
    values = 0.25 * ceiling + 0.1 * ceiling * noise((3, records), "gaussian", np.random.default_rng(0))
    rows = [replace(row, ceiling=ceiling) for row in rows_of(values)]
    assert verdict(Gate(max_share=0.35), rows).outcome == "pass"
    assert verdict(Gate(max_share=0.18), rows).outcome == "fail"
    by_bits = {n: 0.25 * math.log2(n) for n in (60, 1000)}
    assert by_bits[60] < 2.0 < by_bits[1000]  # what max: 2.0 would have said of one and of the other


def test_bounds_of_a_share_are_those_of_the_number_over_the_ceiling_of_its_row():
    rows = [make_row("conv1", 1.0, ceiling=2.0), make_row("fc", 2.0, ceiling=8.0)]
    shared, plain = verdict(Gate(max_share=0.3), rows), verdict(Gate(max=0.6), rows)
    assert (shared.kind, shared.outcome, shared.worst_layer) == ("max_share", "fail", "conv1")
    assert shared.value == pytest.approx(0.5)
    only = verdict(Gate(max=0.6, over="conv1"), rows)
    assert (only.worst_layer, plain.worst_layer) == ("conv1", "fc")
    both = verdict(Gate(max=0.2), rows[:1] * 1 + rows[1:])
    assert shared.lo > only.lo / 2 - 0.02  # one row fewer narrows it a little
    assert both.lo > shared.lo


def test_a_share_of_nothing_is_an_error_that_says_what_to_use():
    for ceiling in (math.nan, 0.0, math.inf):
        with pytest.raises(PtauditError, match=r"has no ceiling to have a share of.*use max in the place of max_share"):
            verdict(Gate(max_share=0.5), [make_row("fc", 0.0, ceiling=ceiling)])


def test_shares_that_decide_nothing_are_warned_of():
    assert "can never fail: max_share 1 is all of the ceiling" in reachable(Gate(max_share=1.0), ceiling=8.0)
    assert "mere guessing scores 0.5, max_share is 0.4" in reachable(Gate(max_share=0.4), ceiling=1.0, null=0.5)
    assert reachable(Gate(max_share=0.5), ceiling=8.0) is None


# --- estimators with nothing to say


def test_a_saturated_row_does_not_pass_but_may_fail():
    rows = [make_row("conv1", 1.0), make_row("fc", 7.2, status="saturated")]
    found = verdict(Gate(max=7.5), rows)
    assert (found.outcome, found.worst_layer) == ("inconclusive", "fc")
    assert found.reason == "1 of 2 rows saturated, first fc: it could hardly have shown more"
    assert verdict(Gate(max=7.0), rows).outcome == "fail"
    same = decide([Gate(max_increase=0.5, same_weights=True)], make_run(rows, "after"), make_run(rows, "before"))
    assert same[0].outcome == "inconclusive"


def test_an_estimator_without_a_row_where_another_has_one_is_silent():
    about = {"game": "mutual-information", "metric": "bits"}
    first = [make_row("conv1", 0.2, adversary="infonce", **about)]
    second = [make_row(layer, 0.1, adversary="ksg", **about) for layer in ("conv1", "fc")]
    gate = Gate(metric="mutual-information.bits", max=1.0)
    found = verdict(gate, [*first, *second])
    assert (found.outcome, found.rows) == ("inconclusive", 2)
    assert found.reason == "1 of 2 rows not measured, first fc: inconclusive: no row of infonce"
    assert verdict(gate, [*first, second[0]]).outcome == "pass"
    lost = lost_row("fc", adversary="infonce", **about)
    assert verdict(gate, [*first, lost, *second]).outcome == "inconclusive"
    assert {row.adversary for row in select(gate, Table.of([*first, *second]))} == {"infonce"}


# --- the ends of two runs


def test_last_is_compared_with_last_whatever_epochs_these_are():
    before = [make_row("fc", value, epoch=epoch) for epoch, value in ((0, 0.0), (2, 0.5), (4, 1.0))]
    after = [make_row("fc", value, epoch=epoch) for epoch, value in ((0, 0.0), (4, 1.1), (8, 3.0))]
    gate = Gate(max_increase=0.5, same_weights=True)
    found = decide([gate], make_run(after, "after"), make_run(before, "before"))[0]
    assert (found.outcome, found.value, found.worst_epoch) == ("fail", 2.0, 8)
    first = replace(gate, epoch="first")
    assert decide([first], make_run(after[1:], "after"), make_run(before, "before"))[0].value == pytest.approx(1.1)
    assert decide([replace(gate, epoch=4)], make_run(after), make_run(before))[0].value == pytest.approx(0.1)
    with pytest.raises(PtauditError, match="no baseline row for layer fc, view batch-8, epoch 8"):
        decide([replace(gate, epoch=8)], make_run(after), make_run(before))


# --- what would decide


@pytest.mark.parametrize(("mean", "decided"), [(2.2, "fail"), (1.8, "pass")])
def test_so_many_records_as_were_foretold_decide_a_gate(mean, decided):
    generator = np.random.default_rng(1)

    def asked(records):
        values = noise((1, records), "gaussian", generator)
        return verdict(Gate(max=2.0), rows_of(mean + values - values.mean()))

    few = asked(40)
    assert (few.outcome, few.n) == ("inconclusive", 40)
    assert few.advice == f"about {few.needed} records would decide it (40 now), if the number stays as it is"
    assert asked(int(1.3 * few.needed)).outcome == decided
    assert asked(int(0.7 * few.needed)).outcome == "inconclusive"


def test_the_row_that_fails_first_or_passes_last_says_how_many():
    """Two rows of n = 100 and half-width 0.1, widened to hold together to about 0.114."""
    passing = verdict(Gate(max=1.0), [make_row("conv1", 0.90), make_row("fc", 0.98)])
    assert (passing.outcome, passing.needed) == ("inconclusive", 3300)  # (0.114 / 0.02)² · 100, rounded up
    failing = verdict(Gate(max=1.0), [make_row("conv1", 1.05), make_row("fc", 0.98)])
    assert (failing.outcome, failing.needed) == ("inconclusive", 530)


@pytest.mark.parametrize("value", [1.0, 1.005, 0.995])
def test_no_number_of_records_decides_a_value_at_the_limit(value):
    found = verdict(Gate(max=1.0), [make_row("fc", value)])
    assert (found.outcome, found.needed, found.advice) == ("inconclusive", None, None)


def test_other_units_are_named():
    of_users = [make_row("fc", 0.95, game="user")]
    assert "users would decide it (100 now)" in verdict(Gate(metric="user.bits", max=1.0), of_users).advice
    fleet = [make_row("*", 0.65, game="membership", metric="fleet_auc", view="model", ceiling=1.0)]
    gate = Gate(metric="membership.fleet_auc", view="model", over="joint", max=0.6)
    assert verdict(gate, fleet).advice.startswith("about 4 times as many records and reference models would decide it")
    told = verdict(gate, fleet, spec_text="fleet: {models: 16}").advice
    assert told.startswith("about 400 records and 56 reference models together would decide it (100 and 16 now)")
    bound = [make_row("*", 0.5, game="canary", metric="epsilon_lo", view="model", hi=3.0)]
    assert verdict(Gate(metric="canary.epsilon_lo", view="model", over="joint", max=1.0), bound).needed is None


@pytest.mark.parametrize(("models", "times"), [(6, 2.0), (16, 4.0)])
def test_so_many_records_and_models_narrow_an_interval_over_both(models, times):
    """Whichever of the two it comes from: here every record and every model moves its own scores."""
    generator = np.random.default_rng(0)

    def spread(count, records):
        included = np.tile(np.arange(count) % 2 == 0, (records, 1)).T ^ (generator.random(records) < 0.5)
        scores = generator.standard_normal((count, records)) + 0.5 * included
        scores += included * (generator.standard_normal(records) + generator.standard_normal((count, 1)))
        return float(np.std(two_way.auc_estimate(two_way.FleetScores(scores, included), seed=0).draws))

    enough = models_to_decide(times, models)
    assert enough <= times * models + 1
    before, after = (np.mean([spread(*size) for _ in range(20)]) for size in ((models, 60), (enough, int(60 * times))))
    assert after == pytest.approx(before / times**0.5, rel=0.2)
    fewer = enough - 2
    assert two_way.few_models(fewer) ** 2 / fewer > two_way.few_models(models) ** 2 / models / times


def test_more_records_do_not_decide_what_was_not_measured():
    assert verdict(Gate(max=1.0), [make_row("fc", 0.9), lost_row("conv1")]).needed is None


# --- advice


def of_views(**values):
    return [make_row(layer, value, view=view) for view, value in values.items() for layer in ("conv1", "fc")]


def test_a_larger_batch_is_cheaper_than_noise_and_the_smallest_that_does_is_named():
    rows = of_views(**{"batch-8": 3.0, "batch-16": 2.0, "batch-32": 1.0, "dp": 1.4})
    advice = verdict(Gate(max=1.5), rows, spec_text=SPEC).advice
    assert advice.startswith("view batch-32 stays at 1 <= 1.5 on the same layers; view batch-16, the next cheaper")
    assert advice.endswith("fails at 2")
    only = verdict(Gate(max=0.8), of_views(**{"batch-8": 3.0, "batch-32": 0.75, "dp": 0.1}), spec_text=SPEC)
    assert only.advice == (
        "view dp stays at 0.1 <= 0.8 on the same layers; view batch-32, the next cheaper step that was measured, "
        "is undecided at 0.75"
    )


def test_a_step_that_was_not_measured_whole_is_no_advice():
    rows = of_views(**{"batch-8": 3.0, "batch-16": 1.0, "batch-32": 0.5})
    rows[2] = lost_row("conv1", view="batch-16")
    assert "batch-32 stays" in verdict(Gate(max=1.5), rows, spec_text=SPEC).advice
    rows[2] = make_row("conv1", 1.0, view="batch-16", status="saturated")
    assert verdict(Gate(max=1.5), rows, spec_text=SPEC).advice == "view batch-32 stays at 0.5 <= 1.5 on the same layers"


def test_trainings_with_a_defense_are_ordered_by_the_accuracy_that_they_cost():
    rows = [make_row("fc", 3.0)] + [
        make_row("fc", value, trained_with=title) for title, value in (("sign", 2.0), ("dp-1", 0.5), ("dp-4", 1.0))
    ]
    accuracy = {"sign": 0.85, "dp-1": 0.6, "dp-4": 0.8, "failed": 0.99}
    entry = {"name": "dp", "parameter": "", "strength": None, "train_accuracy": 0.9, "held_out_loss": 1.0}
    entry |= {"epsilon": None, "status": "ok"}
    defenses = [{**entry, "title": title, "held_out_accuracy": value} for title, value in accuracy.items()]
    epochs = [EpochEntry(4, 40, 0.1, 0.99, 0.5, 0.9, math.nan)]
    advice = verdict(Gate(max=1.5), rows, epochs=epochs, defenses=defenses).advice
    assert advice == (
        "training with dp-4 stays at 1 <= 1.5 at an accuracy of 0.8, 0.9 without; "
        "training with sign, the next cheaper step that was measured, fails at 2"
    )
    assert verdict(Gate(max=1.5), rows, epochs=epochs).advice is None  # nobody knows what they cost


def test_advice_for_a_share_is_in_shares():
    rows = of_views(**{"batch-8": 4.0, "batch-16": 1.0})
    assert verdict(Gate(max_share=0.25), rows).advice == (
        "view batch-16 stays at 0.125 <= 0.25 of the ceiling on the same layers"
    )
