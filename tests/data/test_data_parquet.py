from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from ptaudit.data import Records, open_source
from ptaudit.data.split import make_split
from ptaudit.errors import DataError
from ptaudit.spec.model import DataSpec

MEMBERS = np.array([0, 1, 2, 3])
NUMBERS = [20.0, 30.0, None, 40.0, 50.0]


@pytest.fixture
def table(tmp_path):
    def read(columns: dict, members=MEMBERS, **keys) -> Records:
        path = tmp_path / "table.parquet"
        whole = {"y": ["no", "yes", "no", "yes", "no"]} | columns
        parquet.write_table(pa.table(whole), path)
        return open_source(DataSpec(**{"source": f"parquet:{path}", "label": "y"} | keys)).records(members)

    return read


def as_members_have_it(values) -> np.ndarray:
    members = np.array(values, float)[:4]
    return (np.array(values, float) - members.mean()) / members.std()


def test_a_table_is_read_as_its_csv_is(tmp_path):
    frame = pd.DataFrame(
        {
            "age": NUMBERS,
            "job": ["cook", "nurse", None, "cook", "pilot"],
            "who": ["u1", "u1", "u2", "u3", "u3"],
            "bought": ["yes", "no", "yes", "no", "maybe"],
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    found = []
    for source in (f"csv:{tmp_path}/t.csv", f"parquet:{tmp_path}/t.parquet"):
        spec = DataSpec(source=source, label="bought", user="who", attributes=["job"])
        found.append(open_source(spec).records(MEMBERS))
    assert torch.equal(found[0].inputs, found[1].inputs)
    assert found[0].inputs.shape == (5, 1 + 4)  # age; (missing), cook, nurse, other
    assert torch.equal(found[0].targets, found[1].targets)
    assert found[0].digest() == found[1].digest()
    assert found[1].columns["job"].tolist() == ["cook", "nurse", "(missing)", "cook", "pilot"]


def test_scaling_and_categories_are_the_members_only(table):
    columns = {"a": [1.0, 2.0, 3.0, 4.0, 5.0], "b": ["x", "y", "x", "y", "x"]}
    before = table(columns).inputs[:4]
    assert torch.equal(before, table({"a": [1.0, 2.0, 3.0, 4.0, 9e9], "b": ["x", "y", "x", "y", "z"]}).inputs[:4])
    assert not torch.equal(before, table({"a": [9.0, 2.0, 3.0, 4.0, 5.0], "b": columns["b"]}).inputs[:4])


def test_numbers_of_every_kind(table):
    days = [datetime.date(2020, 1, 1 + day) for day in range(5)]
    found = table(
        {
            "missing": NUMBERS,
            "flag": [True, False, True, True, False],
            "day": days,
            "stamp": [datetime.datetime(2020, 1, 1, hour) for hour in range(5)],
            "price": [decimal.Decimal(f"{cents}.25") for cents in range(5)],
            "gap": [1, None, 3, 3, 5],
        }
    ).inputs.numpy()
    hours = as_members_have_it(range(5))
    expected = [
        as_members_have_it([20, 30, 30, 40, 50]),
        as_members_have_it([1, 0, 1, 1, 0]),
        hours,
        hours,
        hours,
        as_members_have_it([1, 3, 3, 3, 5]),
    ]
    np.testing.assert_allclose(found, np.stack(expected, 1), rtol=1e-5, atol=1e-6)


def test_dates_far_away_and_in_time_zones(table):
    far = [datetime.datetime(year, 1, 1) for year in (1, 1970, 1970, 9999)]
    near = [datetime.datetime(1970, 1, 1 + day, tzinfo=datetime.UTC) for day in range(5)]
    found = table(
        {
            "far": pa.array([*far, None], pa.timestamp("us")),
            "near": pa.array(near, pa.timestamp("ms", tz="Asia/Tokyo")),
        },
        attributes=["far", "near"],
    )
    assert found.columns["far"][:4].tolist() == [-719162, 0, 0, 2932532]  # days
    assert np.isnan(found.columns["far"][4])
    assert found.columns["near"].tolist() == [0, 1, 2, 3, 4]


def test_categories_of_every_kind(table):
    codes = pa.array(["b", "a", "b", "c", "d"]).dictionary_encode()
    found = table({"code": codes, "flag": [True, None, False, True, True]}).inputs.numpy()
    # code: a, b, c, other; flag with a gap: (missing), False, True, other
    np.testing.assert_array_equal(found.argmax(1), [1, 0, 1, 2, 3])
    np.testing.assert_array_equal(found[:, 4:].argmax(1), [2, 0, 1, 2, 2])


def test_columns_that_have_no_meaning_are_named(table):
    nested = {"a": [1, 2, 3, 4, 5], "tags": [["x"], ["y"], [], ["z"], ["x", "y"]]}
    with pytest.raises(DataError, match=r"table\.parquet: column 'tags' is list<.*add tags to data\.drop"):
        table(nested)
    assert table(nested, drop=["tags"]).inputs.shape == (5, 1)
    with pytest.raises(DataError, match=r"column 'place' is struct<"):
        table({"a": nested["a"], "place": [{"x": 1}] * 5})
    with pytest.raises(DataError, match=r"column 'blob' is binary"):
        table({"a": nested["a"], "blob": [b"x"] * 5})
    with pytest.raises(DataError, match=r"column 'a' has no value in any member"):
        table({"a": pa.array([None, None, None, None, 1.0])})
    with pytest.raises(DataError, match=r"column 'a' is infinite in record 4"):
        table({"a": [1.0, 2.0, 3.0, 4.0, np.inf]})
    with pytest.raises(DataError, match=r"no column 'tgas' \(data\.drop\) \(did you mean 'tags'\?\)"):
        table(nested, drop=["tgas"])


def test_limit_user_and_index_of_pandas(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"a": np.arange(100.0), "who": np.arange(100) // 4, "y": np.arange(100) % 2})
    frame.index = frame.index * 2  # pandas stores it as a column of its own
    frame.to_parquet(path)
    spec = DataSpec(source=f"parquet:{path}", label="y", user="who", split_by="who", limit=41)
    source = open_source(spec)
    split = make_split(len(source), spec, source.columns)
    found = source.records(split.members)
    assert found.inputs.shape == (41, 1)
    assert not set(found.columns["who"][split.members]) & set(found.columns["who"][split.held_out])


def test_what_is_not_parquet(tmp_path):
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"text\.parquet: not a readable parquet file"):
        open_source(DataSpec(source=f"parquet:{tmp_path}/text.parquet", label="y"))
    with pytest.raises(DataError, match=r"gone\.parquet: no such file"):
        open_source(DataSpec(source=f"parquet:{tmp_path}/gone.parquet", label="y"))
    pd.DataFrame({"a": [], "y": []}).to_parquet(tmp_path / "empty.parquet")
    with pytest.raises(DataError, match=r"empty\.parquet: 0 records are too few"):
        open_source(DataSpec(source=f"parquet:{tmp_path}/empty.parquet", label="y", limit=3))
    pd.DataFrame({"a": range(9), "y": range(9)}).to_parquet(tmp_path / "cut.parquet")
    whole = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2] + whole[-200:])
    with pytest.raises(DataError, match=r"cut\.parquet: not a readable parquet file"):
        open_source(DataSpec(source=f"parquet:{tmp_path}/cut.parquet", label="y"))


def test_damaged_text_is_noticed(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"job": ["cook", "nurse", "cook", "pilot"], "y": [0, 1, 0, 1]})
    frame.to_parquet(path, compression=None)
    path.write_bytes(path.read_bytes().replace(b"nurse", b"nur\xffe"))
    with pytest.raises(DataError, match=r"t\.parquet: not a readable parquet file: .*UTF8"):
        open_source(DataSpec(source=f"parquet:{path}", label="y"))


def test_labels_may_be_numbers_or_codes(table):
    columns = {"y": [3, 7, 3, 7, 3], "a": [1.0, 2.0, 3.0, 4.0, 5.0]}
    assert table(columns).targets.tolist() == [0, 1, 0, 1, 0]
    codes = table(columns, classes=10)
    assert (codes.targets.tolist(), codes.classes) == ([3, 7, 3, 7, 3], 10)
    numbers = table(columns, target="number")
    assert (numbers.targets.tolist(), numbers.targets.dtype, numbers.classes) == ([3, 7, 3, 7, 3], torch.float32, None)
    with pytest.raises(DataError, match=r"holds 3 to 7, and data\.classes asks for whole numbers from 0 to 4"):
        table(columns, classes=5)


def test_rows_that_a_few_bytes_declare_and_no_memory_holds(table, monkeypatch):
    """Equal values take no room in the file."""
    monkeypatch.setattr("ptaudit.data.parquet_file.installed_memory", lambda: 20)
    with pytest.raises(DataError, match="5 rows of 2 columns do not fit into memory; set data"):
        table({"x": [1.0] * 5})
    assert len(table({"x": [1.0, 2.0, 1.0, 2.0, 1.0]}, limit=2, members=np.array([0, 1]))) == 2
