"""Groups of audited records: who is in which, who has a name, and the numbers of each by the strongest attack."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ptaudit.context.groups import _values, groupings, users
from ptaudit.games.membership.groups import group_scores, strongest
from ptaudit.games.membership.measure import Measured
from ptaudit.stats.estimate import inconclusive
from ptaudit.stats.roc import auc_estimate


def session(n, classes=2, class_names=(), user=None, **columns):
    """The first half of 2n records are audited members, the second held out; columns are (2n,)."""
    records = SimpleNamespace(
        classes=classes, class_names=class_names, targets=torch.arange(2 * n) % (classes or 1), columns=columns
    )
    attributes = [name for name in columns if name != user] or None
    data = SimpleNamespace(attributes=attributes, user=user)
    return SimpleNamespace(
        records=records, spec=SimpleNamespace(data=data), members=np.arange(n), others=np.arange(n, 2 * n), seed=0,
        name_of=lambda who, kind: f"{kind}-{hash(who) % 997}",
    )  # fmt: skip


def test_classes_and_attributes_in_the_order_of_the_data():
    town = np.array(["Ulm", "Bonn"] * 20)
    by_class, by_town = groupings(session(20, 11, town=town))
    assert by_class.title == "class"
    assert by_class.names == ("",)  # 20 records in 11 classes: nobody is named
    assert by_class.sizes == (11,)
    by_class, _ = groupings(session(60, 11, town=np.tile(town, 3)))
    assert by_class.names == tuple(map(str, range(11)))
    assert by_town.title == "attribute town"
    assert set(by_town.names) == {"Ulm", "Bonn"}
    assert (np.array(by_town.names)[by_town.inside] == town[:20]).all()


def test_a_group_of_fewer_than_five_members_is_never_called_by_its_name():
    job = np.array(["judge"] * 4 + ["cook"] * 5 + ["mayor"] * 2 + ["smith"] * 9 + ["judge"] * 10 + ["smith"] * 10)
    _, found = groupings(session(20, job=job))
    assert found.names == ("cook", "smith", "")
    assert found.sizes == (1, 1, 2)
    assert [int((found.inside == place).sum()) for place in range(3)] == [5, 9, 6]
    assert [int((found.outside == place).sum()) for place in range(3)] == [0, 10, 10]


def test_numbers_are_four_groups_and_what_is_missing_is_in_none():
    age = np.random.default_rng(0).permutation(np.r_[np.nan, np.arange(1.0, 76.0)])
    _, found = groupings(session(38, age=age))
    assert found.names == ("at most 19.5", "above 19.5, at most 38", "above 38, at most 56.5", "above 56.5")
    group = np.r_[found.inside, found.outside]
    assert np.bincount(group[group >= 0]).tolist() == [19, 19, 18, 19]
    assert (group == -1).tolist() == np.isnan(age).tolist()


def test_names_that_are_empty_or_alike_make_one_group_and_targets_without_class_none():
    level = np.array(["", "x"] * 20)
    _, found = groupings(session(20, level=level))
    assert set(found.names) == {"(empty)", "x"}
    (found,) = groupings(session(20, 2, class_names=("cat", "cat")))
    assert (found.names, set(found.inside.tolist())) == (("cat",), {0})
    assert list(groupings(session(20, None))) == []


def memorised(n, group, planted, seed=0):
    """Normal scores of two attacks; the stronger one knows the members of one group alone."""
    generator = np.random.default_rng(seed)
    strong = generator.standard_normal(n) + 2.0 * (group[:n] == planted), generator.standard_normal(n)
    weak = generator.standard_normal(n), generator.standard_normal(n)
    normal = {("weak", 3): weak, ("strong", 3): strong, ("strong", 0): weak}
    lines = {key: {"auc": auc_estimate(*sides, seed=0)} for key, sides in normal.items()}
    lines["lost", 3] = {"auc": inconclusive("no numbers")}
    return Measured(lines, normal)


def test_the_group_that_alone_is_memorised_is_the_worst_by_the_strongest_attack():
    n, town = 600, np.random.default_rng(1).integers(0, 6, 1200).astype(str)
    measured = memorised(n, town, "4")
    assert strongest(measured, 3) == "strong"
    found = [one for one in group_scores(session(n, town=town), measured, 3) if one.grouping == "attribute town"]
    average = measured.lines["strong", 3]["auc"].value
    for metric, chance in (("auc", average), ("tpr_at_fpr_0.01", 0.1)):
        lo = {one.group: one.estimate.lo for one in found if one.metric == metric}
        assert max(lo, key=lo.get) == "4"
        assert lo["4"] > chance
        assert all(low < chance for group, low in lo.items() if group != "4")
    assert {one.adversary for one in found} == {"strong"}
    assert sum(one.members for one in found if one.metric == "auc") == n


def test_of_users_the_worst_alone_is_told_under_a_name_that_only_the_data_undo():
    n, who = 600, np.random.default_rng(2).integers(0, 12, 1200).astype(str)
    case = session(n, user="who", who=who)
    auc, tpr = (one for one in group_scores(case, memorised(n, who, "7"), 3) if one.grouping == "user")
    assert (auc.metric, tpr.metric) == ("auc", "tpr_at_fpr_0.01")
    assert auc.group == case.name_of("7", "user") != "7"
    assert (auc.groups, auc.members) == (12, int((who[:n] == "7").sum()))
    assert auc.estimate.lo > 0.7


def test_users_on_one_side_alone_are_inconclusive_with_what_is_needed():
    n, who = 200, np.repeat(np.arange(8), 50)
    case = session(n, user="who", who=who)
    auc, tpr = (one for one in group_scores(case, memorised(n, who, 1), 3) if one.grouping == "user")
    assert auc.group == tpr.group == ""
    assert auc.estimate.status == (
        "inconclusive: needs a user with 20 members and as many held-out records, none of 8 has"
    )
    assert tpr.estimate.status == "inconclusive: FPR 0.01 needs 500 non-members, there are 200"
    assert users(session(10)) is None


def test_scores_that_a_record_does_not_have_are_left_out():
    n, town = 601, np.array(["a", "b"] * 601)
    measured = memorised(n, town, "a")
    measured.normal["strong", 3][0][0] = np.nan
    found = group_scores(session(n, town=town), measured, 3)
    assert all(np.isfinite(one.estimate.value) for one in found)


def test_without_a_measured_attack_there_are_no_groups():
    assert group_scores(session(50), Measured({("loss", 3): {"auc": inconclusive("too few")}}, {}), 3) == []


@pytest.mark.parametrize("adversary", ["loss", "gradient-likelihood"])
def test_who_learns_from_the_other_half_has_wider_intervals(adversary):
    n, town = 400, np.array(["a", "b"] * 400)
    measured = memorised(n, town, "a")
    named = Measured(*({(adversary, 3): one["strong", 3]} for one in (measured.lines, measured.normal)))
    plain, this = (
        [one.estimate for one in group_scores(session(n, town=town), some, 3) if one.metric == "auc"]
        for some in (Measured({("x", 3): measured.lines["strong", 3]}, {("x", 3): measured.normal["strong", 3]}), named)
    )
    ratio = [(two.value - two.lo) / (one.value - one.lo) for one, two in zip(plain, this, strict=True)]
    assert ratio == pytest.approx([1.0 if adversary == "loss" else 2.0**0.5] * len(ratio))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (np.arange(1, 101) / 4, "at most 6.4375"),
        (1_000_000 + np.arange(1, 101) / 4, "at most 1000006.4"),
        (1_000_000 * np.arange(1, 101), "at most 2.575e+07"),
        (1.0 + np.arange(1, 101) * 1e-14, None),
    ],
)
def test_quarters_are_called_so_that_every_value_is_where_its_name_says(values, named):
    """In six digits the quarters of a million and a bit are all called alike."""
    names, codes = _values(values)
    assert len(set(names)) == 4
    assert np.bincount(codes).tolist() == [25] * 4
    assert named is None or names[0] == named
    ends = [float(name.split()[-1]) for name in names[:-1]]
    np.testing.assert_array_equal(np.searchsorted(ends, values), codes)
