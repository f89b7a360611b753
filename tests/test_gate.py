import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables.table_builders import Gate, lost_row, make_row, make_run, noise, rows_of

from ptaudit.errors import PtauditError
from ptaudit.gate import decide, exit_code, reachable, select
from ptaudit.tables.seeds import pool
from ptaudit.tables.table import Table

NAN = math.nan
ONE_SEED = "one seed: retraining noise not included"


def verdict(gate, rows, **manifest):
    return decide([gate], make_run(rows, **manifest))[0]


def outcome(gate, rows, **manifest):
    return verdict(gate, rows, **manifest).outcome


def against(gate, rows, baseline, **manifest):
    return decide([gate], make_run(rows, "after", **manifest), make_run(baseline, "before", **manifest))[0]


# --- one gate, one table


def test_pass_fail_and_between():
    rows = [make_row("conv1", 0.5), make_row("fc", 1.0)]
    assert outcome(Gate(max=1.5), rows) == "pass"
    assert outcome(Gate(max=0.7), rows) == "fail"
    assert outcome(Gate(max=1.05), rows) == "inconclusive"


def test_verdict_names_the_worst_row_and_its_simultaneous_bounds():
    rows = [make_row("conv1", 2.0, half=1.5), make_row("fc", 1.8)]
    failed = verdict(Gate(max=1.5), rows)
    assert (failed.worst_layer, failed.value, failed.worst_epoch) == ("fc", 1.8, 4)  # conv1 may yet be below
    assert failed.hi - failed.value > 0.1  # wider than the pointwise interval
    assert (failed.threshold, failed.kind, failed.rows) == (1.5, "max", 2)
    assert failed.reason == "1 of 2 rows above 1.5"
    passed = verdict(Gate(max=5), rows)
    assert (passed.worst_layer, passed.reason) == ("conv1", "2 of 2 rows at most 5")


@pytest.mark.parametrize(
    "lost",
    [
        lost_row("conv1"),
        lost_row("conv1", status="not captured: records mixed"),
        make_row("conv1", NAN),
        replace(make_row("conv1", 0.1), lo=NAN),
        replace(make_row("conv1", 0.1), hi=NAN),
    ],
)
def test_what_was_not_measured_never_passes_but_may_not_hide_a_failure(lost):
    assert outcome(Gate(max=5), [lost]) == "inconclusive"
    assert outcome(Gate(max=5), [lost, make_row("fc", 1.0)]) == "inconclusive"
    assert outcome(Gate(max=5), [lost, make_row("fc", 6.0)]) == "fail"


def test_lost_rows_are_named_in_the_reason():
    found = verdict(Gate(max=5), [make_row("fc", 1.0), lost_row("conv1", status="not captured: records mixed")])
    assert found.reason == "1 of 2 rows not measured, first conv1: not captured: records mixed"
    assert (found.worst_layer, math.isnan(found.value), math.isnan(found.hi)) == ("conv1", True, True)


def test_every_game_won_leaves_the_rule_of_three():
    rows = rows_of(np.full((1, 60), 8.0))
    assert outcome(Gate(max=8.0), rows) == "pass"
    assert outcome(Gate(max=7.9), rows) == "inconclusive"  # lo is 8 · (1 − 3/60) = 7.6
    assert outcome(Gate(max=7.5), rows) == "fail"
    assert outcome(Gate(max=7.5), [replace(row, draws=None) for row in rows]) == "fail"


def test_bounds_stay_inside_the_game():
    rows = rows_of(np.random.default_rng(0).normal(7.9, 1.0, (4, 60)))
    found = verdict(Gate(max=8.0), rows)
    assert (found.outcome, found.hi) == ("pass", 8.0)
    quiet = verdict(Gate(max=8.0), rows_of(np.random.default_rng(0).normal(0.0, 1.0, (4, 60))))
    assert quiet.lo == 0.0


def test_a_row_clipped_at_zero_is_bounded_from_its_unclipped_value():
    values = np.random.default_rng(0).normal(0, 1, (1, 400))
    rows = rows_of(values - values.mean() - 1.0)
    assert rows[0].value == 0.0
    assert verdict(Gate(max=0.05), rows).outcome == "pass"


def test_a_diverged_run_cannot_pass_but_can_fail():
    status = "diverged: loss is nan at epoch 3"
    found = verdict(Gate(max=5), [make_row()], status=status)
    assert (found.outcome, found.reason) == ("inconclusive", f"run run {status}")
    assert outcome(Gate(max=0.5), [make_row()], status=status) == "fail"


# --- what a pass does not say

SPEC = """\
audit:
  views:
    - {name: batch-8, batch_size: 8}
    - {name: dp, batch_size: 8, defense: {name: dp, clip: 1, noise_multiplier: 1}}
  games: [identity]
"""


def test_a_pass_on_rows_that_nothing_but_the_adversary_limits_says_so():
    bare = [make_row("conv1", 0.5, status="attack-limited"), make_row("fc", 1.0, status="dim-limited")]
    found = verdict(Gate(max=5), [*bare, make_row("conv2", 4.0)], spec_text=SPEC)
    assert (found.outcome, found.limited) == ("pass", 2)
    assert found.warning == "nothing but this adversary limits 2 of 3 rows"
    assert verdict(Gate(max=5), bare, spec_text=SPEC).warning == "nothing but this adversary limits these rows"
    assert verdict(Gate(max=0.2), bare, spec_text=SPEC).warning == ""
    noisy = [replace(row, view="dp", status="dim-limited") for row in bare]
    assert verdict(Gate(max=5, view="dp"), noisy, spec_text=SPEC).warning == ""


def test_a_gate_that_needs_a_mechanism_does_not_pass_without_one():
    rows = [make_row("fc", 1.0), make_row("fc", 1.0, view="dp")]
    needs = {"max": 5, "needs": "mechanism"}
    bare = verdict(Gate(**needs), rows, spec_text=SPEC)
    assert (bare.outcome, exit_code([bare])) == ("inconclusive", 3)
    assert bare.reason.startswith("no noise mechanism stands behind 1 of 1 row: nothing but the adversary limits")
    assert outcome(Gate(view="dp", **needs), rows, spec_text=SPEC) == "pass"
    assert outcome(Gate(**{**needs, "max": 0.5}), rows, spec_text=SPEC) == "fail"
    unknown = verdict(Gate(view="dp", **needs), rows)
    assert (unknown.outcome, "the folder has no spec" in unknown.reason) == ("inconclusive", True)


def test_a_gate_on_an_increase_that_needs_a_mechanism_does_not_pass_without_one():
    rows = [make_row("fc", 1.0), make_row("fc", 1.0, view="dp")]
    needs = {"max_increase": 5, "same_weights": True, "needs": "mechanism"}
    assert against(Gate(**needs), rows, rows, spec_text=SPEC).outcome == "inconclusive"
    assert against(Gate(view="dp", **needs), rows, rows, spec_text=SPEC).outcome == "pass"


# --- which rows


@pytest.fixture
def table():
    rows = []
    for epoch in (0, 2, 4):
        rows += [make_row(layer, epoch + k, epoch=epoch) for k, layer in enumerate(("*", "conv1", "conv2", "fc"))]
        rows.append(make_row("fc", 9.0, epoch=epoch, knowledge="static"))
        rows.append(make_row("fc", 7.0, epoch=epoch, trained_with="sign"))
        rows.append(make_row("conv1", 5.0, epoch=epoch, knows="others"))
        rows.append(make_row("*", 0.6, epoch=epoch, view="model", game="membership", metric="tpr_at_fpr_0.01"))
    return Table.of([*rows, make_row("fc", 8.0, adversary="exact")])


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, {("conv1", 4), ("conv2", 4), ("fc", 4)}),
        ({"over": "joint"}, {("*", 4)}),
        ({"over": "all", "epoch": "first"}, {("*", 0), ("conv1", 0), ("conv2", 0), ("fc", 0)}),
        ({"over": "conv*", "epoch": 2}, {("conv1", 2), ("conv2", 2)}),
        ({"over": "*", "epoch": 2}, {("conv1", 2), ("conv2", 2), ("fc", 2)}),
        ({"trained_with": "sign"}, {("fc", 4)}),
        ({"knows": "others"}, {("conv1", 4)}),
        ({"over": "conv1", "epoch": "all"}, {("conv1", 0), ("conv1", 2), ("conv1", 4)}),
        ({"over": "conv1", "epoch": "max"}, {("conv1", 0), ("conv1", 2), ("conv1", 4)}),
        ({"metric": "membership.tpr_at_fpr_0.01", "view": "model", "over": "joint"}, {("*", 4)}),
    ],
)
def test_selection(table, changes, wanted):
    chosen = select(Gate(**changes), table)
    assert {(row.layer, row.epoch) for row in chosen} == wanted
    assert {row.knowledge for row in chosen} == {"adaptive"}
    assert {row.trained_with for row in chosen} == {changes.get("trained_with", "none")}
    assert {row.knows for row in chosen} <= {changes["knows"]} if "knows" in changes else {"none", "others"}


def test_selection_by_adversary(table):
    assert {row.adversary for row in select(Gate(), table)} == {"likelihood-ratio", "exact"}
    assert [row.layer for row in select(Gate(adversary="exact"), table)] == ["fc"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "identity.bit"}, "no metric matches `identity.bit` (there are: identity.bits, membership.tpr_at"),
        ({"view": "dp"}, "no view matches `dp` (there are: batch-8)"),
        ({"epoch": 3}, "no epoch matches `3` (there are: 0, 2, 4)"),
        ({"over": "head.*"}, "no layer matches `head.*` (there are: *, conv1, conv2, fc)"),
        ({"adversary": "mlp"}, "no adversary matches `mlp`"),
        ({"trained_with": "dp-1"}, "no training matches `dp-1` (there are: none, sign)"),
        ({"knows": "pool"}, "no knowledge matches `pool` (there are: none, others)"),
    ],
)
def test_a_gate_that_matches_nothing_names_what_there_is(table, changes, message):
    with pytest.raises(PtauditError) as caught:
        decide([Gate(max=1.0, **changes)], make_run(table))
    assert str(caught.value).startswith(f"gate leak: {message}")
    assert caught.value.exit_code == 2


# --- exit code


def test_exit_codes():
    passed, failed, open_ = (verdict(Gate(max=limit), [make_row()]) for limit in (2.0, 0.5, 1.0))
    assert exit_code([]) == 0
    assert exit_code([passed]) == 0
    assert exit_code([passed, failed, open_]) == 1
    assert exit_code([passed, open_]) == 3
    assert exit_code([passed, open_], "pass") == 0
    assert exit_code([passed, open_], "fail") == 1
    assert exit_code([failed, open_], "pass") == 1


# --- error rates, by simulation


def outcomes(tables, limit):
    return [outcome(Gate(max=limit), rows) for rows in tables]


@pytest.mark.parametrize(("kind", "n"), [("gaussian", 60), ("student-t3", 60), ("skewed", 60), ("skewed", 250)])
def test_false_alarms_at_the_true_value(kind, n):
    generator = np.random.default_rng(0)
    found = outcomes((rows_of(2.0 + noise((12, n), kind, generator)) for _ in range(200)), 2.0)
    assert found.count("fail") <= 18
    assert found.count("pass") <= 18  # every upper bound below the truth: as wrong


@pytest.mark.parametrize("kind", ["gaussian", "student-t3"])
def test_false_alarms_without_draws(kind):
    generator = np.random.default_rng(1)
    tables = ([replace(row, draws=None) for row in rows_of(2.0 + noise((12, 60), kind, generator))] for _ in range(200))
    assert outcomes(tables, 2.0).count("fail") <= 18


@pytest.mark.parametrize("kind", ["gaussian", "student-t3", "skewed"])
def test_twice_the_minimum_detectable_size_is_caught(kind):
    """One leaky row among 12: detectable is what a level of 5 % over 12 rows and a power of one half ask for."""
    generator, n = np.random.default_rng(2), 100
    detectable = 2.87 / math.sqrt(n)  # normal quantile at 0.05 / 12, two-sided, times the standard error
    leak = np.zeros((12, 1))
    leak[5] = 2 * detectable
    found = outcomes((rows_of(2.0 + leak + noise((12, n), kind, generator)) for _ in range(100)), 2.0)
    assert found.count("fail") >= 80


@pytest.mark.parametrize("seeds", [2, pytest.param(3, marks=pytest.mark.slow), 5])
def test_false_alarms_with_the_noise_of_retraining(seeds):
    """Every table is pooled over seeds whose true mean scatters about 2.0."""
    generator, fails, narrow = np.random.default_rng(3), 0, 0
    for _ in range(200):
        shared = 2.0 + 0.5 * noise((12, 60), "gaussian", generator)
        shifts = 0.15 * noise((12, seeds), "gaussian", generator)
        tables = [rows_of(shared + shifts[:, [s]], draws=400) for s in range(seeds)]
        run = make_run(pool(tables), seeds=tables)
        fails += decide([Gate(max=2.0)], run)[0].outcome == "fail"
        narrow += outcome(Gate(max=2.0), tables[0]) == "fail"
    assert fails <= 18
    assert narrow > 60  # what one seed would have said


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), loud=st.integers(1, 5), quiet=st.integers(1, 20), limit=st.floats(1.0, 3.0))
def test_quiet_rows_never_make_a_gate_fail(seed, loud, quiet, limit):
    generator = np.random.default_rng(seed)
    values = np.vstack(
        [2.0 + noise((loud, 60), "gaussian", generator), 0.1 * noise((quiet, 60), "gaussian", generator)]
    )
    rows = rows_of(values)
    alone, among = verdict(Gate(max=limit), rows[:loud]), verdict(Gate(max=limit), rows)
    if alone.outcome != "fail":
        assert among.outcome != "fail"
    if among.outcome != "inconclusive":  # more rows only widen the bounds
        assert alone.outcome == among.outcome


def test_a_clear_leak_is_not_drowned_by_quiet_rows():
    generator = np.random.default_rng(0)
    rows = rows_of(
        np.vstack([3.0 + noise((1, 100), "gaussian", generator), 0.1 * noise((80, 100), "gaussian", generator)])
    )
    found = verdict(Gate(max=2.0), rows)
    assert (found.outcome, found.worst_layer) == ("fail", "l0")


# --- against a baseline


def tables_of(generator, seeds=1, shift=0.0, retraining=0.0, layers=4, shared=None):
    shared = noise((layers, 80), "gaussian", generator) if shared is None else shared
    made = []
    for _ in range(seeds):
        moved = shift + retraining * generator.standard_normal((layers, 1))
        made.append(rows_of(3.0 + shared + moved + 0.1 * generator.standard_normal((layers, 80)), draws=300))
    return made


def test_one_seed_decides_nothing_unless_the_weights_are_the_same():
    generator = np.random.default_rng(0)
    shared = noise((4, 80), "gaussian", generator)
    (before,), (after,) = tables_of(generator, shared=shared), tables_of(generator, shared=shared, shift=1.0)
    gate = Gate(max_increase=0.2)
    found = against(gate, after, before)
    assert found.outcome == "inconclusive"
    assert found.reason.startswith(ONE_SEED)
    assert found.value == pytest.approx(1.0, abs=0.2)
    same = replace(gate, same_weights=True)
    assert against(same, after, before).outcome == "fail"
    assert against(same, before, before).outcome == "pass"
    assert against(replace(same, max_increase=1.0), after, before).outcome == "inconclusive"
    assert against(same, before, after).outcome == "pass"  # a decrease


def test_shared_records_cancel_and_others_add_up():
    generator = np.random.default_rng(0)
    shared = noise((4, 80), "gaussian", generator)
    (before,), (after,) = tables_of(generator, shared=shared), tables_of(generator, shared=shared)
    gate = Gate(max_increase=0.2, same_weights=True)
    paired = against(gate, after, before)
    unknown = against(gate, after, before, split_sha256="")
    alone = against(gate, *([replace(row, draws=None) for row in rows] for rows in (after, before)))
    assert paired.hi - paired.lo < 0.2
    assert unknown.hi - unknown.lo == pytest.approx(math.sqrt(2) * 2 * 2.4 / math.sqrt(80), rel=0.25)
    assert alone.hi - alone.lo == pytest.approx(unknown.hi - unknown.lo, rel=0.25)


def test_unchanged_rows_at_the_ceiling_pass():
    rows = rows_of(np.full((2, 100), 8.0))
    assert against(Gate(max_increase=0.5, same_weights=True), rows, rows).outcome == "pass"
    assert against(Gate(max_increase=0.1, same_weights=True), rows, rows).outcome == "inconclusive"  # 8 · 3/100


def seeded(tables, name="run", **manifest):
    return make_run(pool(tables), name, seeds=tables, **manifest)


@pytest.mark.parametrize("retraining", [0.0, 0.3])
def test_false_alarms_against_a_baseline_with_five_seeds(retraining):
    generator, fails = np.random.default_rng(5), 0
    for _ in range(200):
        shared = noise((8, 80), "gaussian", generator)
        before, after = (
            seeded(tables_of(generator, 5, retraining=retraining, layers=8, shared=shared)) for _ in range(2)
        )
        fails += decide([Gate(max_increase=0.0)], after, before)[0].outcome == "fail"
    assert fails <= 18


def test_a_real_increase_over_retraining_noise_is_caught():
    generator, found = np.random.default_rng(6), []
    for _ in range(20):
        shared = noise((4, 80), "gaussian", generator)
        before, after = (
            seeded(tables_of(generator, 5, shift=shift, retraining=0.2, shared=shared)) for shift in (0.0, 1.0)
        )
        found.append(decide([Gate(max_increase=0.1)], after, before)[0].outcome)
    assert found.count("fail") >= 16


def test_the_tables_of_the_seeds_are_needed():
    generator = np.random.default_rng(0)
    tables = tables_of(generator, 3)
    whole = seeded(tables)
    bare = replace(whole, seeds=(), manifest={**whole.manifest, "seeds": [0, 1, 2]})
    found = decide([Gate(max_increase=1.0)], whole, bare)[0]
    assert (found.outcome, "seeds/" in found.reason) == ("inconclusive", True)


def test_peaks_are_compared_wherever_they_are():
    before = [make_row("fc", value, epoch=epoch) for epoch, value in ((0, 3.0), (4, 1.0))]
    after = [make_row("fc", value, epoch=epoch) for epoch, value in ((0, 1.0), (4, 3.1))]
    gate = Gate(max_increase=0.5, same_weights=True)
    assert against(replace(gate, epoch="max"), after, before).outcome == "pass"
    found = against(replace(gate, epoch="all"), after, before)
    assert (found.outcome, found.worst_epoch) == ("fail", 4)


def error_of(gate, rows, baseline, after_text="", before_text="", **manifest):
    run = make_run(rows, "after", spec_text=after_text)
    other = make_run(baseline, "before", spec_text=before_text, **manifest)
    with pytest.raises(PtauditError) as caught:
        decide([gate], run, other)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_baseline_that_does_not_fit_is_an_error():
    gate, rows = Gate(max_increase=0.2, same_weights=True), [make_row("conv1"), make_row("fc")]
    with pytest.raises(PtauditError, match="no baseline to compare with \\(give --baseline RUN\\)"):
        decide([gate], make_run(rows))
    assert "no baseline row for layer fc, view batch-8, epoch 4" in error_of(gate, rows, rows[:1])
    assert "ceilings 5 and 8" in error_of(gate, rows, [make_row("conv1"), make_row("fc", ceiling=5.0)])
    assert "split_sha256 differs" in error_of(gate, rows, rows, split_sha256="other")
    specs = [f"audit: {{tokens: {{dim: {dim}}}}}" for dim in (64, 256)]
    assert "token dimensions 64 and 256" in error_of(gate, rows, rows, specs[1], specs[0])
    assert "dim-limited" in error_of(gate, rows, [rows[0], make_row("fc", status="dim-limited")])


def test_an_unmeasured_baseline_row_is_inconclusive():
    gate, rows = Gate(max_increase=0.2, same_weights=True), [make_row("conv1"), make_row("fc")]
    found = against(gate, rows, [lost_row("conv1"), make_row("fc")])
    assert (found.outcome, found.worst_layer) == ("inconclusive", "conv1")
    assert against(gate, rows, [lost_row("conv1"), lost_row("fc")]).outcome == "inconclusive"


def test_gates_and_comparisons_need_no_torch():
    code = "import sys, ptaudit.gate, ptaudit.compare, ptaudit.tables.folder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- advice and warnings


def test_advice_names_the_least_restrictive_view_that_stays_below():
    rows = [make_row("conv1", 1.0), make_row("fc", 3.0)]
    for view, value in (("batch-32", 1.1), ("batch-128", 0.2), ("batch-16", 2.5)):
        rows += [make_row(layer, value, view=view) for layer in ("conv1", "fc")]
    advice = verdict(Gate(max=1.5), rows).advice
    stays = "view batch-32 stays at 1.1 <= 1.5 on the same layers"
    assert advice == f"{stays}; view batch-16, the next cheaper step that was measured, fails at 2.5"
    assert verdict(Gate(max=5), rows).advice is None


def test_advice_counts_only_views_that_saw_the_same_layers_and_rows_that_were_measured():
    rows = [make_row("conv1", 1.0), make_row("fc", 3.0)]
    head = make_row("conv1", 0.1, view="head")
    lost = [make_row("conv1", 0.1, view="dp"), lost_row("fc", view="dp")]
    advice = verdict(Gate(max=1.5), [*rows, head, *lost]).advice
    assert advice == "sharing all but layer fc stays at 1 <= 1.5 (worst: conv1)"
    elsewhere = [make_row(layer, 0.1, view="dp", epoch=0) for layer in ("conv1", "fc")]
    assert "sharing all but" in verdict(Gate(max=1.5), [*rows, *elsewhere]).advice


def test_no_advice_where_nothing_was_measured_to_be_lower():
    assert verdict(Gate(max=0.5), [make_row("conv1"), make_row("fc")]).advice is None
    assert verdict(Gate(max=0.5), [make_row("conv1", 0.45), make_row("fc", 2.0)]).advice is None
    assert verdict(Gate(max=0.5, over="all"), [make_row("*", 2.0), make_row("fc", 0.1)]).advice is None
    joint = [make_row("*", 2.0), make_row("*", 0.2, view="dp")]
    assert verdict(Gate(max=0.5, over="joint"), joint).advice == (
        "view dp stays at 0.2 <= 0.5 for all its layers jointly"
    )


def test_thresholds_that_decide_nothing_are_warned_of():
    assert "can never fail: max 8 is not below the ceiling 8" in reachable(Gate(max=8.0), ceiling=8.0)
    assert "can never fail: max_increase 9" in reachable(Gate(max_increase=9.0), ceiling=8.0)
    assert "can hardly pass: mere guessing scores 0.5" in reachable(Gate(max=0.5), ceiling=1.0, null=0.5)
    assert reachable(Gate(max=1.5), ceiling=8.0) is None
    assert reachable(Gate(max=100.0), ceiling=NAN) is None
    assert reachable(Gate(max_increase=0.0), ceiling=8.0) is None


def test_a_layer_without_a_gradient_does_not_hold_a_gate_up():
    rows = [
        make_row(layer="fc1", value=0.2),
        lost_row(layer="spare", status="not captured: unused: receives no gradient"),
    ]
    assert outcome(Gate(max=1.0), rows) == "pass"
    lost = [make_row(layer="fc1", value=0.2), lost_row(layer="fc2", status="not captured: records are mixed")]
    assert outcome(Gate(max=1.0), lost) == "inconclusive"
