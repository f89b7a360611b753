import math
from dataclasses import replace

import numpy as np
import pytest
from tables.table_builders import Gate, lost_row, make_row, make_run, noise, rows_of

from ptaudit.compare import ONE_SEED, compare
from ptaudit.gate import decide
from ptaudit.tables.row import KEY_COLUMNS
from ptaudit.tables.seeds import pool


def spec_of_runs(generator, rows=60, n=80, kind="gaussian"):
    """One spec audited on fixed records: a function that trains it again with so many seeds."""
    records = 3.0 + noise((rows, n), kind, generator)

    def train(seeds, shift=0.0, name="run", other_records=False, **manifest):
        base = 3.0 + noise((rows, n), kind, generator) if other_records else records
        tables = []
        for _ in range(seeds):
            moved = 0.3 * noise((rows, 1), kind, generator) + shift
            tables.append(rows_of(base + moved + 0.2 * generator.standard_normal((rows, n)), draws=300))
        return make_run(pool(tables), name, seeds=tables if seeds > 1 else (), **manifest)

    return train


def changed(comparison):
    return [change for change in comparison.changes if change.changed]


@pytest.mark.parametrize("kind", ["gaussian", "student-t3"])
def test_ten_pairs_of_runs_of_one_spec_at_five_seeds_hardly_differ(kind):
    train = spec_of_runs(np.random.default_rng(0), kind=kind)
    shares = [np.mean([c.changed for c in compare(train(5), train(5)).changes]) for _ in range(10)]
    assert np.mean(shares) <= 0.05


def test_ten_pairs_on_different_records_hardly_differ():
    train = spec_of_runs(np.random.default_rng(1))
    shares = []
    for k in range(10):
        comparison = compare(train(5), train(5, other_records=True, split_sha256=f"other {k}"))
        assert "the runs split the data in different ways" in comparison.notes[0]
        shares.append(np.mean([c.changed for c in comparison.changes]))
    assert np.mean(shares) <= 0.05


def test_a_real_change_is_found_in_the_rows_that_changed():
    train = spec_of_runs(np.random.default_rng(2))
    shift = np.zeros((60, 1))
    shift[:10], shift[10:20] = 1.5, -1.5
    found = compare(train(5, name="a"), train(5, shift, name="b"))
    verdicts = [change.verdict for change in found.changes]
    assert verdicts[:10].count("worse") >= 9
    assert verdicts[10:20].count("better") >= 9
    assert verdicts[20:].count("within noise") >= 38
    assert all(change.lo <= change.difference <= change.hi for change in found.changes)
    assert found.changes[0].difference == pytest.approx(1.5, abs=0.7)
    assert (found.before, found.after, found.notes) == ("a", "b", ())


def test_one_seed_marks_with_a_question_and_says_so():
    train = spec_of_runs(np.random.default_rng(3))
    comparison = compare(train(1), train(1))
    assert comparison.notes[0] == ONE_SEED
    assert {change.verdict for change in changed(comparison)} == {"worse?", "better?"}
    assert len(changed(comparison)) > 15  # retraining alone: why one seed is not enough
    mixed = compare(train(1), train(5))
    assert mixed.notes[0] == ONE_SEED
    assert not {change.verdict for change in mixed.changes} & {"worse", "better"}


def test_a_run_does_not_differ_from_itself():
    for seeds in (1, 3):
        run = spec_of_runs(np.random.default_rng(4))(seeds)
        for comparison in (compare(run, run), compare(run, replace(run, name="again"))):
            assert {change.verdict for change in comparison.changes} == {"within noise"}
            assert all(change.difference == 0 for change in comparison.changes)


def test_without_draws_the_intervals_decide():
    before = make_run([make_row("conv1", 1.0), make_row("fc", 1.0)])
    after = make_run([make_row("conv1", 1.05), make_row("fc", 2.0)])
    small, large = compare(before, after).changes
    assert (small.verdict, large.verdict) == ("within noise", "worse?")
    assert (small.lo, small.hi) == pytest.approx((0.05 - math.hypot(0.1, 0.1), 0.05 + math.hypot(0.1, 0.1)))
    assert compare(after, before).changes[1].verdict == "better?"


def test_rows_on_the_same_records_are_compared_record_by_record():
    values = 3 + np.random.default_rng(0).standard_normal((1, 80))
    before, after = make_run(rows_of(values)), make_run(rows_of(values + 0.1))
    paired = compare(before, after).changes[0]
    other = compare(before, replace(after, manifest={**after.manifest, "split_sha256": "other"})).changes[0]
    assert paired.verdict == "worse?"
    assert other.verdict == "within noise"
    assert other.hi - other.lo > 0.5
    unknown = compare(before, replace(after, manifest={}))
    assert unknown.changes[0].verdict == "within noise"
    assert any("they are taken to differ" in note for note in unknown.notes)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ([make_row("fc")], [], "not in b"),
        ([], [make_row("fc")], "not in a"),
        ([lost_row("fc")], [make_row("fc")], "a: inconclusive: too few records"),
        ([make_row("fc")], [make_row("fc", math.nan)], "b: not a number"),
        ([make_row("fc")], [make_row("fc", ceiling=5.0)], "ceilings 8 and 5: not the same candidates or defense"),
        ([make_row("fc")], [make_row("fc", adversary="exact")], "another adversary in b: exact"),
        ([make_row("fc")], [make_row("fc", status="dim-limited")], "one is dim-limited"),
    ],
)
def test_not_comparable_says_why(first, second, reason):
    always = make_row("conv1")
    comparison = compare(make_run([*first, always], "a"), make_run([*second, always], "b"))
    change = next(change for change in comparison.changes if change.layer == "fc")
    assert change.verdict == "not comparable"
    assert change.reason.startswith(reason)
    assert math.isnan(change.difference)
    assert not change.changed
    lost = sum(change.verdict == "not comparable" for change in comparison.changes)
    assert comparison.notes[-1] == f"{lost} of {len(comparison.changes)} rows are not comparable"


def test_token_dimensions_of_the_specs_decide_if_known():
    rows, limited = [make_row("fc")], [make_row("fc", status="dim-limited")]
    small, large = (f"audit: {{tokens: {{dim: {dim}}}}}" for dim in (64, 256))
    assert compare(make_run(rows, spec_text=large), make_run(limited, spec_text=large)).changes[0].reason == ""
    found = compare(make_run(rows, spec_text=small), make_run(rows, spec_text=large)).changes[0]
    assert found.reason == "token dimensions 64 and 256"


def test_tokens_of_another_encoder_are_other_numbers_of_the_games_that_use_them():
    rows = [make_row("fc", game="usable-information", adversary="knn"), make_row("fc")]
    plain, learned = (f"audit: {{tokens: {{dim: 64, encoder: {name}}}}}" for name in ("sketch", "transformer"))
    found = compare(make_run(rows, spec_text=plain), make_run(rows, spec_text=learned)).changes
    reasons = {change.game: change.reason for change in found}
    assert reasons == {"usable-information": "tokens by sketch and transformer", "identity": ""}


def test_every_row_of_either_run_is_listed_once_in_order():
    rows = [make_row(layer, epoch=epoch) for epoch in (0, 4) for layer in ("*", "fc")]
    comparison = compare(make_run(rows), make_run([*rows[2:], make_row("new")]))
    keys = [tuple(getattr(change, column) for column in KEY_COLUMNS) for change in comparison.changes]
    assert keys == [*(row.key for row in rows), make_row("new").key]


def test_nothing_in_common_and_nothing_at_all():
    assert len(compare(make_run([]), make_run([])).changes) == 0
    only = compare(make_run([make_row("fc")]), make_run([make_row("new")]))
    assert [change.verdict for change in only.changes] == ["not comparable"] * 2


def test_versions_that_differ_are_noted():
    rows = [make_row("fc")]
    notes = compare(make_run(rows, torch="2.4", device="cpu"), make_run(rows, torch="2.5", device="cpu")).notes
    assert "torch differs: 2.4 and 2.5" in notes
    assert not any("device" in note for note in notes)


def test_rows_are_joined_on_what_the_adversary_knows_and_on_the_training():
    who = [{}, {"knowledge": "static"}, {"knows": "others"}, {"trained_with": "sign"}]
    before = make_run([make_row(value=1.0 + k, **columns) for k, columns in enumerate(who)], "before")
    after = make_run([make_row(value=2.0 + k, **columns) for k, columns in enumerate(who)], "after")
    assert [change.difference for change in compare(before, after).changes] == [1.0] * 4
    lone = compare(before, make_run([make_row(value=1.0, knows="pool")], "after"))
    assert {change.verdict for change in lone.changes} == {"not comparable"}
    assert len(lone.changes) == 5


def test_runs_that_end_at_different_epochs_are_compared_at_their_ends():
    before = make_run([make_row("fc", value, epoch=e) for e, value in ((0, 0.0), (2, 0.5), (4, 1.0))], "before")
    after = make_run([make_row("fc", value, epoch=e) for e, value in ((0, 0.0), (4, 1.5), (8, 3.0))], "after")
    found = compare(before, after)
    assert [(c.epoch, c.before, c.after, c.verdict) for c in found.changes if c.reason == ""] == [
        (0, 0.0, 0.0, "within noise"),
        (4, 1.0, 3.0, "worse?"),
    ]
    assert [(c.epoch, c.reason) for c in found.changes if c.reason] == [
        (2, "epoch 2 is not audited in after"),
        (4, "not in before, whose epoch 4 is compared with epoch 8 of after"),
    ]
    assert "the last epoch of before, 4, is compared with that of after, 8" in found.notes


def test_every_gate_on_an_increase_agrees_with_the_comparison_on_the_direction():
    generator = np.random.default_rng(7)
    moves = np.repeat([-1.0, 0.0, 1.0], 4)[:, None]
    values = 3.0 + noise((12, 80), "gaussian", generator)
    before = make_run(rows_of(values, epoch=4), "before")
    after = make_run(rows_of(values + moves + 0.2 * generator.standard_normal((12, 80)), epoch=8), "after")
    verdicts = {change.layer: change.verdict for change in compare(before, after).changes}
    for layer, move in zip(verdicts, moves[:, 0]):
        gate = Gate(over=layer, max_increase=0.0, same_weights=True)
        outcome = decide([gate], after, before)[0].outcome
        expected = {-1.0: ("better?", "pass"), 1.0: ("worse?", "fail")}.get(move)
        if expected:
            assert (verdicts[layer], outcome) == expected
        else:
            assert not (outcome == "fail" and verdicts[layer] == "better?")
