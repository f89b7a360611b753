from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch

from ptaudit.errors import DataError
from ptaudit.replay import Records, open_source
from ptaudit.spec.model import DataSpec

TABLE = """age,job,who,town,bought
20,cook,u1,Rome,yes
30,nurse,u1,Oslo,no
?,cook,u2,Rome,yes
40,,u3,Rome,no
50,pilot,u3,Bonn,maybe
"""
MEMBERS = np.array([0, 1, 2, 3])


@pytest.fixture
def table(tmp_path):
    def read(text: str = TABLE, members=MEMBERS, **keys) -> Records:
        path = tmp_path / "table.csv"
        path.write_text(text)
        return open_source(DataSpec(**{"source": f"csv:{path}", "label": "bought"} | keys)).records(members)

    return read


def test_every_column_is_encoded_by_what_the_members_have(table):
    found = table(user="who", attributes=["town"])
    # age: median 30 of the members 20, 30, 40 in the gap; job: (missing), cook, nurse, other; town: Oslo, Rome, other
    age = (np.array([20, 30, 30, 40, 50]) - 30) / np.std([20, 30, 30, 40])
    expected = [
        [age[0], 0, 1, 0, 0, 0, 1, 0],
        [age[1], 0, 0, 1, 0, 1, 0, 0],
        [age[2], 0, 1, 0, 0, 0, 1, 0],
        [age[3], 1, 0, 0, 0, 0, 1, 0],
        [age[4], 0, 0, 0, 1, 0, 0, 1],
    ]
    np.testing.assert_allclose(found.inputs.numpy(), expected, rtol=1e-6)
    assert found.inputs.dtype == torch.float32
    assert found.targets.tolist() == [2, 1, 2, 1, 0]  # maybe, no, yes
    assert found.classes == 3


def test_attributes_and_user_are_kept_as_they_stand(table):
    found = table(user="who", attributes=["job", "age"])
    assert found.columns["who"].tolist() == ["u1", "u1", "u2", "u3", "u3"]
    assert found.columns["job"].tolist() == ["cook", "nurse", "cook", "(missing)", "pilot"]
    np.testing.assert_array_equal(found.columns["age"], [20, 30, np.nan, 40, 50])


def test_what_is_not_a_member_changes_nothing(table):
    changed = TABLE.replace("50,pilot,u3,Bonn", "5000,diver,u3,Lima")
    assert torch.equal(table().inputs[:4], table(changed).inputs[:4])


def test_drop_removes_inputs_but_keeps_the_attribute(table):
    found = table(drop=["town", "job"], attributes=["town"], user="who")
    assert found.inputs.shape == (5, 1)
    assert found.columns["town"].tolist() == ["Rome", "Oslo", "Rome", "Rome", "Bonn"]


def test_limit_and_compression(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(TABLE.encode()))
    source = open_source(DataSpec(source=f"csv:{path}", label="bought", limit=3))
    assert len(source) == 3


def test_labels_are_coded_in_sorted_order_and_fractions_stay_numbers(table):
    numbers = "a,bought\n1,10\n2,9\n3,10\n4,-1\n"
    found = table(numbers)
    assert (found.targets.tolist(), found.classes) == ([2, 1, 2, 0], 3)
    found = table("a,bought\n1,10.5\n2,9\n3,10\n4,-1\n")
    assert (found.targets.tolist(), found.classes) == ([10.5, 9, 10, -1], None)


def test_constant_number_among_the_members_is_only_centred(table):
    found = table("a,b,bought\n7,1,0\n7,2,1\n7,3,0\n7,4,1\n9,5,0\n")
    assert found.inputs[:, 0].tolist() == [0, 0, 0, 0, 2]


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        (TABLE, {"label": "bougth"}, r"table\.csv: no column 'bougth' \(data\.label\) \(did you mean 'bought'\?\)"),
        (TABLE, {"attributes": ["sex"]}, r"no column 'sex' \(data\.attributes\) \(columns: age, job"),
        (TABLE, {"user": "whom"}, r"no column 'whom' \(data\.user\)"),
        (TABLE, {"drop": ["tonw"]}, r"no column 'tonw' \(data\.drop\)"),
        (
            TABLE.replace("30,nurse,u1,Oslo,no", "30,nurse,u1,Oslo,"),
            {},
            "'bought' .* empty in 1 records, first in record 1",
        ),
        (TABLE.replace("30,nurse", "inf,nurse"), {}, "column 'age' is infinite in record 1"),
        ("a,b,bought\n1,,x\n2,,y\n3,,x\n4,,y\n5,1,x\n", {}, "column 'b' has no value in any member.*data.drop"),
        (TABLE + "1,2,3,4,5,6,7\n", {}, "not a readable table: .*line 7"),
        (
            "a,bought\n1,x,3\n2,y,4\n",
            {},
            "not a readable table: Length of header or names does not match length of data",
        ),
        ("a,bought\n1,1\n1e300,2\n-1e300,1\n3,2\n", {}, "column 'a' has numbers too large to be standardised"),
        ("a,bought\n1,1\n2,inf\n3,1\n3,2\n", {}, "column 'bought' is infinite in record 1"),
        (TABLE, {"categorical": ["jobs"]}, r"no column 'jobs' \(data\.categorical\) \(did you mean 'job'\?\)"),
        (TABLE, {"split_by": "whose"}, r"no column 'whose' \(data\.split_by\)"),
        ("bought\nx\ny\n", {"members": None}, "no column is left"),
        ("a,bought\n", {}, "0 records are too few"),
        ("", {}, "not a readable table"),
    ],
)
def test_errors_name_file_and_column(table, text, keys, message):
    with pytest.raises(DataError, match=message) as error:
        table(text, **{name: value for name, value in keys.items() if name != "members"})
    assert "table.csv" in str(error.value)


def test_identifier_column_is_not_spread_out(table):
    rows = "\n".join(f"name{index},{index % 2}" for index in range(2001))
    with pytest.raises(DataError, match=r"column 'id' has 2001 categories.*data\.drop"):
        table(f"id,bought\n{rows}\n", members=np.arange(2001))


def test_codes_and_rare_categories(table):
    text = "a,code,bought\n1,3,0\n2,3,1\n3,1,0\n4,1,1\n5,2,0\n6,9,1\n"
    members = np.arange(5)
    found = table(text, members, categorical=["code"]).inputs[:, 1:].numpy()
    assert found.argmax(1).tolist() == [2, 2, 0, 0, 1, 3]  # 1, 2, 3, other: no member has 9
    found = table(text, members, categorical=["code"], rare=2).inputs[:, 1:].numpy()
    assert found.argmax(1).tolist() == [1, 1, 0, 0, 2, 2]  # 1, 3, other: one member has 2
    assert table(text, members).inputs.shape == (6, 2)


def test_the_column_to_split_by_is_no_input(table):
    found = table(split_by="who")
    assert torch.equal(found.inputs, table(user="who").inputs)
    assert found.columns["who"].tolist() == ["u1", "u1", "u2", "u3", "u3"]


def test_damaged_gzip(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(TABLE.encode())[:40])
    with pytest.raises(DataError, match=r"table\.csv\.gz: not a readable table"):
        open_source(DataSpec(source=f"csv:{path}", label="bought"))
    with pytest.raises(DataError, match="no such file"):
        open_source(DataSpec(source=f"csv:{tmp_path}/gone.csv", label="bought"))


def test_adult(real_data):
    spec = DataSpec(
        source=f"csv:{real_data}/adult.csv.gz",
        label="income",
        attributes=["sex", "race"],
        drop=["split", "fnlwgt", "education"],
        limit=5000,
    )
    source = open_source(spec)
    found = source.records(np.arange(2500))
    assert len(found) == 5000
    assert found.classes == 2
    assert set(found.columns["sex"]) == {"Male", "Female"}
    numbers = found.inputs[:2500, 0]  # age, the first column
    assert float(numbers.mean()) == pytest.approx(0, abs=1e-5)
    assert float(numbers.std(correction=0)) == pytest.approx(1, abs=1e-5)
