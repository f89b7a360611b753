"""What a data function may return beside (inputs, targets): several inputs, columns, items, other libraries' sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from ptaudit.data import Records, open_source
from ptaudit.data.split import make_split
from ptaudit.errors import DataError, ModelError
from ptaudit.spec.model import DataSpec, TrainSpec
from ptaudit.training.loss import make_loss
from ptaudit.training.loss_check import check_loss
from ptaudit.training.trainer import Replay

FUNCTIONS = Path(__file__).with_name("returned.py")


def records(name: str, *, args: dict | None = None, **keys) -> Records:
    source = open_source(DataSpec(source=f"{FUNCTIONS}:{name}", args=args or {}, **keys))
    return source.records(np.arange(len(source)))


# several inputs


def test_tuple_of_inputs():
    found = records("pair_of_inputs", limit=4)
    assert isinstance(found.inputs, tuple)
    assert [tuple(x.shape) for x in found.inputs] == [(4, 3), (4, 1, 4, 4)]
    assert float(found.inputs[1].max()) <= 1  # bytes of four dimensions are pictures here too
    assert len(found) == 4


def test_dictionary_of_inputs_keeps_masks():
    found = records("with_mask")
    assert {name: x.dtype for name, x in found.inputs.items()} == {"ids": torch.int64, "mask": torch.bool}
    assert found.inputs["mask"].sum(1).tolist() == [1, 2, 3, 1, 2, 3]


def test_tensor_data_set_of_three():
    found = records("three_tensors")
    assert [tuple(x.shape) for x in found.inputs] == [(6, 2), (6, 1)]
    assert found.targets.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("uneven_parts", r"the parts .* number of records \(0: 6, 1: 5\).*one array for each argument"),
        ("text_part", "the inputs `words` are not numbers: a, b"),
        ("broken_part", "the inputs `x` of record 2 are not finite"),
        ("no_parts", r"number of records \(none\)"),
        (
            "ragged",
            r"input 1 has the shape \(2,\), input 0 has \(1,\) \(.*pad sequences and return a dict with their mask",
        ),
        ("pictures_of_two_sizes", r"input 1 has the shape \(5, 4\), input 0 has \(4, 4\)"),
    ],
)
def test_inputs_that_are_not_one_block(name, message):
    with pytest.raises(DataError, match=message) as error:
        records(name)
    assert f"returned.py:{name}" in str(error.value)


# columns


def test_third_value_holds_attributes_and_user():
    found = records("with_columns", attributes=["sex"], user="who")
    assert found.columns["sex"].tolist() == ["f", "(missing)", "f", "m", "f", "m"]
    assert found.columns["who"].tolist() == [0, 0, 1, 1, 2, 2]
    spec = DataSpec(source=f"{FUNCTIONS}:with_columns", split_by="who", held_out=0.3)
    source = open_source(spec)
    split = make_split(len(source), spec, source.columns)
    assert sorted(source.columns["who"][split.held_out]) in ([0, 0], [1, 1], [2, 2])


def test_columns_change_the_digest():
    assert records("with_columns", user="who").digest() != records("with_columns", user="sex").digest()
    assert records("with_columns", user="who").digest() == records("with_columns", user="who").digest()


def test_columns_as_a_dictionary():
    found = records("columns", drop=["note"], user="who")
    assert list(found.inputs) == ["ids", "mask"]
    assert found.targets.tolist() == [0, 1, 0, 1, 0, 1]
    assert found.columns["who"].tolist() == [5, 5, 6, 6, 7, 7]
    single = records("columns", drop=["note", "mask", "who"])
    assert isinstance(single.inputs, Tensor)  # one input needs no name
    assert torch.equal(single.inputs, found.inputs["ids"])


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("with_columns", {"user": "whom"}, r"no column 'whom' \(data\.user\) \(did you mean 'who'\?\)"),
        ("with_columns", {"label": "who"}, r"data\.label is not used: the function returned \(inputs, targets\)"),
        ("pair_of_inputs", {"user": "who"}, r"no column 'who' \(data\.user\) \(there are no columns\)"),
        ("uneven_columns", {"user": "who"}, r"column 'who' has the shape \(5,\), not one entry for each of 6"),
        ("columns", {}, r"the inputs `note` are not numbers.*data\.drop"),
        ("columns", {"rare": 3}, r"data\.rare is not used"),
        ("columns", {"drop": ["notes"]}, r"no column 'notes' \(data\.drop\) \(did you mean 'note'\?\)"),
        ("columns", {"drop": ["note", "ids", "mask", "who"]}, "no column is left as an input"),
        ("splits", {}, "a dictionary of splits: train, test"),
        ("items", {"label": "x"}, r"data\.label is not used"),
        ("uneven_items", {}, r"item 2 is a dictionary of x, item 0 is a dictionary of x, label"),
        ("single_items", {}, r"item 0 is a tensor of shape \(2,\), not a pair"),
        ("failing_items", {}, "item 1 cannot be read: KeyError"),
        ("no_items", {}, "the data set is empty"),
    ],
)
def test_wrong_columns_and_items_are_named(name, keys, message):
    with pytest.raises(DataError, match=message) as error:
        records(name, **keys)
    assert f"returned.py:{name}" in str(error.value)


# items


def test_items_with_several_inputs_and_columns():
    found = records("items", user="who", limit=5)
    assert {name: tuple(x.shape) for name, x in found.inputs.items()} == {"picture": (5, 1, 4, 4), "x": (5, 2)}
    assert found.inputs["x"][:, 0].tolist() == [0, 1, 2, 3, 4]
    assert found.columns["who"].tolist() == [0, 0, 1, 1, 2]


def test_items_as_dictionaries_are_padded_by_their_mask():
    found = records("dictionary_items", drop=["note"])
    assert found.inputs["ids"].tolist() == [[1, 0, 0], [1, 2, 0], [1, 2, 3], [1, 0, 0]]
    assert found.inputs["ids_mask"].tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 0]]
    assert found.targets.tolist() == [[0, -100, -100], [0, 1, -100], [0, 1, 0], [0, -100, -100]]


# data frames


def test_data_frame_is_preprocessed_as_a_csv_is(tmp_path):
    keys = {"label": "y", "user": "who", "attributes": ["job"], "categorical": ["code"], "rare": 2}
    found = records("frame", **keys)
    pd_frame = __import__("runpy").run_path(str(FUNCTIONS))["frame"]()
    pd_frame.to_csv(tmp_path / "t.csv", index=False)
    theirs = open_source(DataSpec(source=f"csv:{tmp_path}/t.csv", **keys)).records(np.arange(6))
    assert torch.equal(found.inputs, theirs.inputs)
    assert found.columns["job"].tolist() == theirs.columns["job"].tolist()
    with pytest.raises(DataError, match=r"a table needs data\.label \(columns: age, job"):
        records("frame")


def test_data_frame_with_nested_or_complex_values():
    with pytest.raises(DataError, match=r"column 'tags' holds nested values.*data\.drop"):
        records("nested_frame", label="y")
    assert records("nested_frame", label="y", drop=["tags"]).inputs.shape == (3, 1)


# Hugging Face


def test_hugging_face_columns():
    keep = {"drop": ["text"], "user": "who"}
    found = records("hub", **keep)
    assert found.inputs["input_ids"].tolist() == [[1, 0, 0], [1, 2, 0], [1, 2, 3], [1, 0, 0]]
    assert found.inputs["attention_mask"].sum(1).tolist() == [1, 2, 3, 1]
    assert found.classes == 3  # its features know a class that does not occur
    assert found.columns["who"].tolist() == ["a", "b", "a", "b"]
    assert len(records("hub", limit=2, **keep)) == 2


def test_hugging_face_shows_only_the_columns_of_its_format():
    found = records("hub", args={"shown": ["input_ids", "attention_mask", "label"]}, user="who")
    assert list(found.inputs) == ["input_ids", "attention_mask"]
    assert "who" in found.columns


def test_hugging_face_errors():
    with pytest.raises(DataError, match=r"the inputs `text` are not numbers: hello.*turn text into token ids first"):
        records("hub")
    with pytest.raises(DataError, match=r"no column 'labl' \(data\.label\) \(did you mean 'label'\?\)"):
        records("hub", label="labl")
    with pytest.raises(DataError, match="a dictionary of splits: train, test"):
        records("hub_splits")


# to the end


class Bag(nn.Module):
    """Mean of embeddings where the mask says so, then a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        weight = mask[..., None].to(torch.float32)
        return self.head((self.table(ids) * weight).sum(1) / weight.sum(1))


def test_padded_sequences_train_as_sequences_without_padding_do():
    def loss_of(width: int) -> list[float]:
        torch.manual_seed(0)
        found = records("sentences", args={"width": width})
        model, loss = Bag(), make_loss("cross_entropy")
        check_loss(model, found, loss)
        split = make_split(len(found), DataSpec(source="sklearn:iris"))
        train = TrainSpec(epochs=6, batch_size=8, optimizer={"name": "adam", "lr": 0.05})
        stats = Replay(model, found, split, train, loss, 0, torch.device("cpu")).run((), ())
        return [epoch.train_loss for epoch in stats]

    short, long = loss_of(6), loss_of(11)
    assert short == pytest.approx(long, rel=1e-4)
    assert short[-1] < 0.5 * short[0]


def test_inputs_that_the_model_does_not_take_are_named():
    found = records("sentences", args={"width": 6})
    wrong = Records({"ids": found.inputs["ids"], "padding": found.inputs["mask"]}, found.targets, 2)
    with pytest.raises(ModelError, match=r"does not take the inputs \(ids, padding\).*name the inputs as forward does"):
        check_loss(Bag(), wrong, make_loss("cross_entropy"))
    alone = Records((found.inputs["ids"],), found.targets, 2)
    with pytest.raises(ModelError, match=r"\(1 in order\): missing a required argument: 'mask'"):
        check_loss(Bag(), alone, make_loss("cross_entropy"))


def test_a_token_id_out_of_range_is_found_in_any_record():
    found = records("sentences", args={"width": 6})
    found.inputs["ids"][-1, 0] = 20
    with pytest.raises(ModelError, match=r"layer table: a token id is out of range.*ids are 0\.\.20.*give it 21 rows"):
        check_loss(Bag(), found, make_loss("cross_entropy"))
    found.inputs["ids"][-1, 0] = -1
    with pytest.raises(ModelError, match=r"ids are -1\.\.\d+ \(ids count from 0\)"):
        check_loss(Bag(), found, make_loss("cross_entropy"))


def test_frame_columns_may_have_any_name():
    frame = pd.DataFrame({0: [1.0, 2.0, 3.0], "y": [0, 1, 0]})
    from ptaudit.data.table import table_source

    source = table_source(frame.rename(columns=str), DataSpec(source="a.b:c", label="y"), "here")
    assert source.records(np.arange(3)).inputs.shape == (3, 1)


def test_periods_are_dates():
    from ptaudit.data.table import table_source

    frame = pd.DataFrame({"when": pd.period_range("2020-01", periods=30, freq="M"), "y": [0, 1] * 15})
    found = table_source(frame, DataSpec(source="a.b:c", label="y"), "here")
    assert [(use.name, use.kind) for use in found.uses] == [("when", "date"), ("y", "number")]
    days = (frame["when"].dt.to_timestamp() - pd.Timestamp("2020-01-01")).dt.days.to_numpy()
    inputs = found.records(np.arange(30)).inputs[:, 0].numpy()
    np.testing.assert_allclose(inputs, (days - days.mean()) / days.std(), rtol=1e-5)


# what the spec says of labels


@pytest.mark.parametrize("name", ["codes", "code_columns"])
def test_stated_classes_and_targets_hold_for_arrays_too(name):
    found = records(name, classes=10)
    assert (found.targets.tolist(), found.classes) == ([3, 7, 3, 7], 10)
    found = records(name, target="number")
    assert (found.targets.tolist(), found.targets.dtype, found.classes) == ([3, 7, 3, 7], torch.float32, None)
    with pytest.raises(DataError, match=r"holds 3 to 7, and data\.classes asks for whole numbers from 0 to 6"):
        records(name, classes=7)


def test_classes_are_for_one_label_a_record():
    with pytest.raises(DataError, match=r"the shape \(4, 2\); data\.classes: 3 is for one label a record"):
        records("two_labels", classes=3)


def test_numbers_as_text_are_called_what_they_are():
    with pytest.raises(DataError, match=r"column 'zip' holds numbers as text: '01234', '5', '77' \(turn it into num"):
        records("numbers_as_text", label="y")
    assert records("numbers_as_text", label="y", categorical=["zip"]).inputs.shape == (4, 3 + 1)


def test_the_preprocessing_of_tables_is_none_of_arrays():
    with pytest.raises(DataError, match=r"data\.preprocess is not used: the function returned \(inputs, targets\)"):
        records("codes", classes=10, preprocess="none")


def test_columns_of_one_name_in_a_frame_are_an_error():
    with pytest.raises(DataError, match="more than one column is called 'a'"):
        records("frame_with_one_name_twice", label="y")
