"""How columns become inputs: fitted, as they stand, or as a file says."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ptaudit.data import Records, open_source
from ptaudit.data.preprocess import read, written
from ptaudit.errors import DataError
from ptaudit.spec.model import DataSpec

TABLE = """age,job,pay,y
20,cook,1.5,yes
30,nurse,2.5,no
,cook,3.5,yes
40,,9.5,no
50,pilot,4.5,yes
"""
MEMBERS = np.array([0, 1, 2, 3])


@pytest.fixture
def table(tmp_path):
    def records(content=None, text: str = TABLE, **keys) -> Records:
        (tmp_path / "t.csv").write_text(text)
        if content is not None:
            path = tmp_path / "p.json"
            path.write_text(content if isinstance(content, str) else json.dumps(content))
            keys["preprocess"] = str(path)
        return open_source(DataSpec(source=f"csv:{tmp_path}/t.csv", label="y", **keys)).records(MEMBERS)

    return records


def test_what_was_fitted_is_written_and_read_to_the_same_bits(table):
    fitted = table()
    found = table(written(fitted.preprocessing))
    assert torch.equal(found.inputs, fitted.inputs)
    assert found.fields["job"].names == fitted.fields["job"].names
    assert found.preprocessing == fitted.preprocessing
    assert list(found.preprocessing) == ["age", "job", "pay"]
    assert torch.equal(table(preprocess="fit").inputs, fitted.inputs)


def test_the_line_of_the_error_saves_a_scaler_of_scikit_learn(table, tmp_path):
    text = "a,b,y\n1,5,x\n2,9,z\n3,1,x\n7,2,z\n9,9,x\n"
    frame = pd.read_csv(pd.io.common.StringIO(text))
    columns = ["b", "a"]  # the order of the model's inputs, not that of the table
    scaler = StandardScaler().fit(frame[columns].iloc[:3])
    path = tmp_path / "scaler.json"
    with path.open("w") as file:
        json.dump(
            {"columns": {c: {"mean": m, "scale": s} for c, m, s in zip(columns, scaler.mean_, scaler.scale_)}}, file
        )
    found = table(path.read_text(), text)
    np.testing.assert_allclose(found.inputs.numpy(), scaler.transform(frame[columns]), rtol=1e-6)


def test_levels_as_an_encoder_of_scikit_learn_has_them(table):
    text = "job,y\ncook,x\nnurse,y\ncook,x\npilot,y\ndiver,x\n"
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit([["cook"], ["pilot"]])
    levels = {"levels": encoder.categories_[0].tolist()}
    found = table({"columns": {"job": {**levels, "unseen": "zeros"}}}, text)
    expected = encoder.transform([["cook"], ["nurse"], ["cook"], ["pilot"], ["diver"]])
    np.testing.assert_array_equal(found.inputs.numpy(), expected)
    found = table({"columns": {"job": {**levels, "unseen": "other"}}}, text)
    assert found.inputs[:, 2].tolist() == [0, 1, 0, 0, 1]
    with pytest.raises(DataError, match=r"column 'job' has levels that .* does not list: 'diver', 'nurse' \(list them"):
        table({"columns": {"job": levels}}, text)


def test_levels_make_categories_of_numbers_and_of_identifiers(table):
    rows = "".join(f"{i % 3},name{i},{i % 2}\n" for i in range(40))
    names = {"levels": ["name1"], "unseen": "zeros"}
    found = table({"columns": {"code": {"levels": [0, 2, 1]}, "id": names}}, f"code,id,y\n{rows}")
    assert found.inputs[:3].tolist() == [[1, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 0]]


def test_levels_that_no_record_has_are_refused_whatever_becomes_of_others(table):
    rows = "".join(f"{'' if i == 3 else i % 3},{i % 2}\n" for i in range(9))
    for unseen in ("zeros", "other"):
        content = {"columns": {"code": {"levels": [0, 1, 2], "unseen": unseen}}}
        with pytest.raises(DataError, match=r"'code' has none of the levels .* \('0', '1', '2'\); it has .*'0\.0'"):
            table(content, f"code,y\n{rows}")
    content["columns"]["code"]["levels"] = [0.0, 1.0, 2.0]
    assert table(content, f"code,y\n{rows}").inputs[:3].argmax(1).tolist() == [0, 1, 2]


def test_categories_are_no_numbers(table):
    number = {"mean": 0, "scale": 1, "fill": 0}
    with pytest.raises(DataError, match=r"column 'job' holds categories, and data.preprocess has a mean"):
        table({"columns": {"age": number, "job": number, "pay": number}})


def test_a_missing_number_is_the_fill(table):
    keys = {"drop": ["job", "pay"]}
    found = table({"columns": {"age": {"mean": 10, "scale": 2, "fill": 14}}}, **keys)
    assert found.inputs[:, 0].tolist() == [5, 10, 2, 15, 20]
    with pytest.raises(DataError, match=r"column 'age' has no value in 1 records.*give it a fill"):
        table({"columns": {"age": {"mean": 10, "scale": 2}}}, **keys)


def test_none_leaves_numbers_as_they_stand(table):
    assert table(preprocess="none", drop=["age", "job"]).inputs[:, 0].tolist() == [1.5, 2.5, 3.5, 9.5, 4.5]
    with pytest.raises(DataError, match=r"none leaves columns as they stand, and 'job' hold no numbers"):
        table(preprocess="none", drop=["age"])


@pytest.mark.parametrize("name", ["iris", "wine"])
def test_measurements_too(name):
    raw = open_source(DataSpec(source=f"sklearn:{name}", preprocess="none")).records(np.arange(50)).inputs.numpy()
    found = open_source(DataSpec(source=f"sklearn:{name}")).records(np.arange(50)).inputs.numpy()
    np.testing.assert_allclose(found, (raw - raw[:50].mean(0)) / raw[:50].std(0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "is no preprocessing of columns"),
        ('{"columns": {}}', "is no preprocessing of columns"),
        ({"columns": {"pay": {"mean": 1, "scale": 0}}}, "column 'pay': needs a mean, a scale other than 0"),
        ({"columns": {"pay": {"mean": "1", "scale": 2}}}, "column 'pay': needs a mean"),
        ('{"columns": {"pay": {"mean": NaN, "scale": 2}}}', "column 'pay': needs a mean"),
        ({"columns": {"pay": {"mean": 10**400, "scale": 2}}}, "column 'pay': needs a mean"),
        ("[" * 100_000, "cannot be read as JSON"),
        ({"columns": {"pay": {"levels": ["a", "a"]}}}, "column 'pay': needs"),
        ({"columns": {"pay": {"levels": ["a"], "unseen": "no"}}}, "column 'pay': needs"),
        ({"columns": {"age": {"mean": 1, "scale": 2}, "who": {"mean": 1, "scale": 2}}}, "has no pay.*has who, which"),
    ],
)
def test_errors_name_file_and_entry(table, content, message):
    with pytest.raises(DataError, match=message) as caught:
        table(content, drop=["job"])
    assert "p.json" in str(caught.value)


def test_keys_that_would_be_ignored(tmp_path):
    with pytest.raises(ValidationError, match=r"`rare` is not used by `preprocess: none`"):
        DataSpec(source="csv:t.csv", label="y", preprocess="none", rare=3)
    with pytest.raises(ValidationError, match="`classes` is not used by `target: number`"):
        DataSpec(source="csv:t.csv", label="y", target="number", classes=3)
    for source in ("sklearn:digits", "npz:a.npz", "folder:a"):
        with pytest.raises(ValidationError, match="`preprocess` is not used"):
            DataSpec(source=source, preprocess="none")


def test_a_file_that_was_written_is_read(table, tmp_path):
    (tmp_path / "a.json").write_text(written(table().preprocessing))
    assert read(tmp_path / "a.json") == table().preprocessing
