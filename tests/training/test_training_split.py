from __future__ import annotations

import numpy as np
import pytest

from ptaudit.data.split import make_split
from ptaudit.errors import DataError
from ptaudit.spec.model import DataSpec


def spec(**keys) -> DataSpec:
    return DataSpec(source="sklearn:iris", **keys)


def write(path, text):
    path.write_text(text)
    return path


def test_seeded_split_is_a_partition_and_reproducible():
    split = make_split(150, spec(held_out=0.2, seed=3))
    assert (len(split.members), len(split.held_out)) == (120, 30)
    assert sorted([*split.members, *split.held_out]) == list(range(150))
    assert make_split(150, spec(held_out=0.2, seed=3)).digest() == split.digest()
    assert make_split(150, spec(held_out=0.2, seed=4)).digest() != split.digest()


def test_first_members_are_a_sample_of_all_records():
    first = make_split(10_000, spec()).members[:500]
    assert 4_000 < first.mean() < 6_000


def test_index_files_as_text_and_npy(tmp_path):
    members = write(tmp_path / "members.txt", "4\n2\n\n9\n")
    others = tmp_path / "others.npy"
    np.save(others, np.array([0, 1], dtype=np.int32))
    split = make_split(10, spec(members=members, non_members=others))
    assert split.members.tolist() == [4, 2, 9]
    assert split.held_out.tolist() == [0, 1]
    assert split.members.dtype == split.held_out.dtype == np.int64


def test_members_alone_leave_the_rest_held_out(tmp_path):
    split = make_split(6, spec(members=write(tmp_path / "m", "5\n1\n")))
    assert sorted(split.held_out) == [0, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n2\n10\n", "index 10 is out of range: the data have 10 records"),
        ("-1\n", "index -1 is out of range"),
        ("1\n3\n1\n", "index 1 is listed more than once"),
        ("", "empty"),
        ("1\ntwo\n", "m:2: 'two' is not a record index"),
        (f"1\n{10**30}\n", "m:2: '10{30}' is not a record index"),
        ("9" * 5000, "m:1: '9{5000}' is not a record index"),
        ("\n".join(map(str, range(10))), "leaves no held-out record"),
    ],
)
def test_wrong_index_file(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        make_split(10, spec(members=write(tmp_path / "m", text)))


def test_overlap_names_the_record(tmp_path):
    members, others = write(tmp_path / "m", "1\n2\n"), write(tmp_path / "o", "2\n3\n")
    with pytest.raises(DataError, match=r"1 records are also in .*the first is 2"):
        make_split(10, spec(members=members, non_members=others))


def test_missing_and_malformed_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.npy: no such index file"):
        make_split(10, spec(members=tmp_path / "gone.npy"))
    with pytest.raises(DataError, match=r"bad\.npy: not a readable"):
        make_split(10, spec(members=write(tmp_path / "bad.npy", "1\n2\n")))
    np.save(tmp_path / "float.npy", np.array([0.5]))
    with pytest.raises(DataError, match="integers"):
        make_split(10, spec(members=tmp_path / "float.npy"))


def test_non_members_alone_leave_the_rest_to_train_on(tmp_path):
    split = make_split(6, spec(non_members=write(tmp_path / "o", "5\n1\n")))
    assert split.held_out.tolist() == [5, 1]
    assert sorted(split.members) == [0, 2, 3, 4]


def by_user(who, **keys):
    split = make_split(len(who), DataSpec(source="csv:x", label="y", split_by="who", **keys), {"who": np.array(who)})
    assert sorted([*split.members, *split.held_out]) == list(range(len(who)))
    return split


def test_users_are_members_or_held_out_as_a_whole():
    who = np.random.default_rng(0).integers(0, 300, 3000)
    split = by_user(who, held_out=0.3)
    assert not set(who[split.members]) & set(who[split.held_out])
    assert len(split.held_out) == pytest.approx(900, abs=20)
    assert by_user(who, held_out=0.3).digest() == split.digest()
    assert by_user(who, held_out=0.3, seed=1).digest() != split.digest()
    first = split.members[:300]  # still a random sample of the members
    assert 1200 < first.mean() < 1800


def test_groups_come_as_near_to_the_share_as_they_can():
    for seed in range(20):
        assert len(by_user(["a"] * 90 + ["b"] * 10, held_out=0.5, seed=seed).held_out) in (10, 90)
        assert len(by_user(list("abcdefghij"), held_out=0.01, seed=seed).held_out) == 1
        assert len(by_user(list("abcdefghij"), held_out=0.99, seed=seed).members) == 1


def test_one_group_cannot_be_split():
    with pytest.raises(DataError, match=r"data\.split_by: all records have the same value in column 'who'"):
        by_user(["a"] * 9)


def test_split_that_leaves_a_side_empty():
    with pytest.raises(DataError, match="no held-out record"):
        make_split(3, spec(held_out=0.01))
