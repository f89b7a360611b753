from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch

from ptaudit.data import Records, open_source
from ptaudit.errors import DataError
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
        return open_source(DataSpec(**{"source": f"csv:{path}", "label": "bought", "missing": ["?"]} | keys)).records(
            members
        )

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
    source = open_source(DataSpec(source=f"csv:{path}", label="bought", limit=3, missing=["?"]))
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
    with pytest.raises(DataError, match=r"column 'id' has 2001 different texts in 2001 records.*data\.drop"):
        table(f"id,bought\n{rows}\n", members=np.arange(2001))
    twice = rows + "\n" + rows
    with pytest.raises(DataError, match=r"column 'id' has 2001 categories.*data\.drop"):
        table(f"id,bought\n{twice}\n", members=np.arange(4002))


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


def test_only_empty_cells_are_missing_unless_the_spec_says_more(table):
    text = "a,country,bought\n1,NA,x\n2,None,y\n3,,x\n4,ZA,y\n5,-,x\n"
    kept = table(text, np.arange(5), attributes=["country"]).columns["country"].tolist()
    assert kept == ["NA", "None", "(missing)", "ZA", "-"]
    kept = table(text, np.arange(5), attributes=["country"], missing=["NA", "-"]).columns["country"].tolist()
    assert kept == ["(missing)", "None", "(missing)", "ZA", "(missing)"]


def test_dates_are_days(table):
    text = "when,bought\n2015-01-01,x\n2015-01-03,y\n2015-01-02T12:00:00,x\n,y\n2015-01-04,x\n"
    found = table(text, np.arange(5)).inputs.numpy()
    days = np.array([0.0, 2.0, 1.5, 1.75, 3.0])  # the median in the gap
    np.testing.assert_allclose(found[:, 0], (days - days.mean()) / days.std(), rtol=1e-5)


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (
            "01/31/2020 02/01/2020 12/24/2019",
            "dates and, in 3 records, what is no date of the form YYYY-MM-DD: '01/31/2020'",
        ),
        ("31.1.20 1.2.20 24.12.19", "dates and, in 3 records"),
        ("31-Jan-20 01-Feb-20 24-Dec-19", "dates and, in 3 records"),
        ("2015-02-30 2015-01-03 2015-01-04", "dates and, in 1 records, .*: '2015-02-30'"),
        ("2015-01-03 unknown 2015-01-04", "dates and, in 1 records, .*: 'unknown' .*data.missing"),
        ("12.5% 3% 100%", r"numbers with a sign: '12\.5%', '3%', '100%' \(write the numbers alone"),
        ("$3.10 $1.999 -$3", r"numbers with a sign: '\$3\.10'"),
    ],
)
def test_dates_and_numbers_in_other_forms_are_no_categories(table, there, message):
    rows = "".join(f"{cell},{'xy'[i % 2]}\n" for i, cell in enumerate(there.split() * 10))
    with pytest.raises(DataError, match=message.replace("3 records", "30 records").replace("1 records", "10 records")):
        table(f"when,bought\n{rows}", np.arange(20))
    assert table(f"when,bought\n{rows}", np.arange(20), categorical=["when"]).inputs.shape == (30, 4)


def test_what_only_resembles_dates_and_numbers_stays_categories(table):
    rows = "".join(f"{['10-20', '30-40', '50+'][i % 3]},{['May', 'Dec', '5mg'][i % 3]},x{i % 2}\n" for i in range(30))
    assert table(f"age,note,bought\n{rows}", np.arange(20)).inputs.shape == (30, 8)


@pytest.mark.parametrize(("mark", "said"), [(";", "';'"), ("\t", r"'\\t'"), ("|", r"'\|'")])
def test_the_remedy_for_another_separator(table, mark, said):
    rows = "".join(f"0,{i}{mark}1,5{mark}{i % 2}\n" for i in range(10))
    with pytest.raises(DataError, match=rf"header is separated by {said}, it seems.*set data.separator: \""):
        table(f"a{mark}b{mark}bought\n{rows}", np.arange(5))
    found = table(f"a{mark}b{mark}bought\n{rows}", np.arange(5), separator=mark, decimal=",")
    assert found.inputs.shape == (10, 2)


def test_columns_that_are_no_inputs_are_named_all_at_once(table):
    rows = "\n".join(f'name{i},{i if i % 3 else "none"},"1,{i:03d}",{i % 2}' for i in range(40))
    with pytest.raises(DataError) as caught:
        table(f"id,age,pay,bought\n{rows}\n", members=np.arange(40))
    message = str(caught.value)
    assert "column 'id' has 40 different texts in 40 records, 40 of them once" in message
    assert "column 'age' holds numbers and, in 14 records, text: 'none'" in message
    assert "column 'pay' holds numbers written like '1,000', '1,001', '1,002' and 37 more" in message
    mended = table(
        f"id,age,pay,bought\n{rows}\n", np.arange(40), drop=["id"], missing=["none"], thousands=",", attributes=["pay"]
    )
    assert mended.inputs.shape == (40, 2)
    assert mended.columns["pay"].tolist() == list(range(1000, 1040))


def test_rare_and_categorical_say_that_texts_are_meant(table):
    rows = "\n".join(f"name{i % 30},{i if i % 3 else 'none'},{i % 2}" for i in range(31))
    text, everyone = f"id,age,bought\n{rows}\n", np.arange(31)
    assert table(text, everyone, rare=2, categorical=["age"]).inputs.shape == (31, 2 + 2)


def test_columns_of_one_name_are_an_error(table):
    with pytest.raises(DataError, match="more than one column is called 'a', 'b'"):
        table("a,b,a,b,bought\n1,2,3,4,x\n1,2,3,4,y\n")


def test_how_a_table_is_written(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes("größe;preis;kauf\n1,5;1.000;é\n2,5;2.000;b\n3,5;3.500;é\n".encode("latin-1"))
    plain = {"source": f"csv:{path}", "label": "kauf", "separator": ";"}
    with pytest.raises(DataError, match=r"not text in utf-8.*data\.encoding"):
        open_source(DataSpec(**plain))
    spec = DataSpec(**plain, encoding="latin-1", decimal=",", thousands=".", attributes=["größe", "preis"])
    found = open_source(spec).records(np.arange(3)).columns
    assert found["größe"].tolist() == [1.5, 2.5, 3.5]
    assert found["preis"].tolist() == [1000, 2000, 3500]


def test_labels_may_be_numbers_or_codes_of_which_some_are_not_there(table):
    text = "a,bought\n1,3\n2,7\n3,3\n4,7\n"
    sorted_codes = table(text)
    assert (sorted_codes.targets.tolist(), sorted_codes.classes) == ([0, 1, 0, 1], 2)
    codes = table(text, classes=10)
    assert (codes.targets.tolist(), codes.classes) == ([3, 7, 3, 7], 10)
    numbers = table(text, target="number")
    assert (numbers.targets.tolist(), numbers.targets.dtype, numbers.classes) == ([3, 7, 3, 7], torch.float32, None)
    with pytest.raises(DataError, match=r"holds 3 to 7, and data\.classes asks for whole numbers from 0 to 6"):
        table(text, classes=7)
    with pytest.raises(DataError, match="holds what is no number"):
        table(TABLE, classes=3)


def test_an_index_without_a_name_is_no_input(table):
    text = ",a,bought\n0,5,x\n1,3,y\n2,9,x\n3,1,y\n"
    with pytest.raises(DataError, match=r"column 'Unnamed: 0' has no name and counts the records.*data\.drop"):
        table(text)
    assert table(text, drop=["Unnamed: 0"]).inputs.shape == (4, 1)
    assert table(text.replace("3,1,y", "9,1,y")).inputs.shape == (4, 2)


def test_text_of_two_bytes_a_letter_is_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(TABLE.replace("?", "25").encode("utf-16-le"))
    with pytest.raises(DataError, match=r"a zero byte, which no text in utf-8 has, at byte 1 \(name the encoding"):
        open_source(DataSpec(source=f"csv:{path}", label="bought"))
    assert len(open_source(DataSpec(source=f"csv:{path}", label="bought", encoding="utf-16-le"))) == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,bought\n" + "x" * 1_000_001 + ",yes\n1,no\n", "column 'a' has a cell of 1,000,001 characters in record 0"),
        (",".join(f"c{k}" for k in range(20_001)) + ",bought\n", "20,002 columns (at most 20,000)"),
    ],
)
def test_cells_and_widths_that_no_table_has(table, text, said):
    with pytest.raises(DataError) as caught:
        table(text)
    assert said in str(caught.value)
