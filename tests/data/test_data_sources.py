from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn import datasets
from sklearn.preprocessing import StandardScaler
from torchvision.datasets import FashionMNIST

from ptaudit.data import Records, open_source
from ptaudit.data.split import make_split
from ptaudit.errors import DataError, PtauditError
from ptaudit.spec.model import DataSpec

SAMPLES = Path(__file__).parents[2] / "sample_models"


def records(**keys) -> Records:
    source = open_source(DataSpec(**keys))
    found = source.records(np.arange(len(source)))
    assert len(found) == len(source)
    return found


# sklearn


def test_digits_are_pictures_from_0_to_1():
    found = records(source="sklearn:digits")
    assert found.inputs.shape == (1797, 1, 8, 8)
    assert (float(found.inputs.min()), float(found.inputs.max())) == (0, 1)
    np.testing.assert_allclose(found.inputs.flatten(1).numpy() * 16, datasets.load_digits().data)
    assert found.targets.tolist() == datasets.load_digits().target.tolist()
    assert found.classes == 10


@pytest.mark.parametrize(("name", "features", "classes"), [("iris", 4, 3), ("wine", 13, 3), ("breast_cancer", 30, 2)])
def test_tables_are_standardised_on_the_members(name, features, classes):
    spec = DataSpec(source=f"sklearn:{name}", held_out=0.7)
    source = open_source(spec)
    members = make_split(len(source), spec).members
    found = source.records(members)
    raw = getattr(datasets, f"load_{name}")().data
    expected = StandardScaler().fit(raw[members]).transform(raw)
    np.testing.assert_allclose(found.inputs.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert (found.inputs.shape[1], found.classes) == (features, classes)


def test_limit_keeps_the_first_records():
    whole = records(source="sklearn:digits")
    found = records(source="sklearn:digits", limit=20)
    assert torch.equal(found.inputs, whole.inputs[:20])
    assert found.classes == 10


# npz


def save(path, **arrays):
    np.savez(path, **arrays)
    return f"npz:{path}"


def test_npz_pictures_become_channels_first(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    found = records(source=save(tmp_path / "a.npz", images=images, labels=np.array([0, 1, 2, 0, 1, 2], np.uint8)))
    np.testing.assert_allclose(found.inputs.numpy(), images.transpose(0, 3, 1, 2) / 255, rtol=1e-6)
    assert found.inputs.dtype == torch.float32
    assert (found.targets.dtype, found.classes) == (torch.int64, 3)


def test_npz_other_arrays(tmp_path):
    rows = np.eye(4, dtype=np.uint8)
    found = records(source=save(tmp_path / "a.npz", x=rows, y=np.array([0.5, 1, 2, 3])))
    assert torch.equal(found.inputs, torch.eye(4))  # a table of bytes is not a picture
    assert (found.targets.tolist(), found.classes) == ([0.5, 1, 2, 3], None)
    tokens = np.arange(8).reshape(4, 2)
    found = records(
        source=save(tmp_path / "b.npz", words=tokens, x=rows, sense=np.array([1, 0, 1, 1])),
        args={"inputs": "words", "targets": "sense"},
    )
    assert torch.equal(found.inputs, torch.from_numpy(tokens))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"pixels": np.zeros((3, 2)), "y": np.arange(3)},
            r"no array x or images.*the file has pixels, y.*data\.args\.inputs",
        ),
        ({"x": np.zeros((3, 2)), "y": np.arange(4)}, "3 inputs and 4 targets"),
        ({"x": np.zeros((3, 2)), "y": np.array([1, 2, 3])}, "the labels are 1, 2, 3; classes must be 0..C-1"),
        ({"x": np.zeros((3, 2)), "y": np.array([0, 2, 5])}, "the labels are 0, 2, 5"),
        ({"x": np.zeros((3, 2)), "y": np.array(["cat", "dog", "cat"])}, "the targets are not numbers: cat, dog"),
        ({"x": np.array([[1.0], [np.nan], [0.0]]), "y": np.arange(3)}, "inputs of record 1 are not finite"),
        ({"x": np.zeros((3, 2)), "y": np.array([0, np.inf, 0])}, "targets of record 1 are not finite"),
        ({"x": np.array([{}, {}, {}], dtype=object), "y": np.arange(3)}, "not a readable npz"),
    ],
)
def test_npz_errors_name_the_file(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message) as error:
        records(source=save(tmp_path / "a.npz", **arrays))
    assert "a.npz" in str(error.value)


def test_npz_attributes_and_user(tmp_path):
    source = save(tmp_path / "a.npz", x=np.eye(4), y=np.arange(4) % 2, sex=np.array(list("fmfm")), who=np.arange(4))
    found = records(source=source, attributes=["sex"], user="who", limit=3)
    assert found.columns["sex"].tolist() == ["f", "m", "f"]
    assert found.columns["who"].tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=r"a\.npz: no column 'ses' \(data\.attributes\) \(did you mean 'sex'\?\)"):
        records(source=source, attributes=["ses"])
    with pytest.raises(DataError, match=r"column 'x' has the shape \(4, 4\), not one entry for each of 4"):
        records(source=source, user="x")


def test_npz_missing_or_damaged(tmp_path):
    with pytest.raises(DataError, match=r"gone\.npz: no such file"):
        records(source=f"npz:{tmp_path}/gone.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(DataError, match=r"text\.npz: not a readable npz"):
        records(source=f"npz:{tmp_path}/text.npz")
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(DataError, match="single array"):
        records(source=f"npz:{tmp_path}/single.npy")
    content = (tmp_path / "whole.npz", save(tmp_path / "whole.npz", x=np.zeros((50, 9)), y=np.arange(50)))[
        0
    ].read_bytes()
    locked = bytearray(content)
    locked[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of an encrypted file
    (tmp_path / "locked.npz").write_bytes(locked)
    with pytest.raises(DataError, match=r"locked\.npz: not a readable npz .*encrypted"):
        records(source=f"npz:{tmp_path}/locked.npz")
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cut\.npz: not a readable npz"):
        records(source=f"npz:{tmp_path}/cut.npz")


# functions

FUNCTIONS = """
import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset


def arrays(n=6):
    return np.arange(2.0 * n).reshape(n, 2), np.arange(n) % 2


def tensors():
    return TensorDataset(torch.ones(4, 3), torch.tensor([0, 1, 0, 1]))


class Squares(Dataset):
    reads = 0

    def __init__(self, ragged=False):
        self.ragged = ragged

    def __len__(self):
        return 8

    def __getitem__(self, index):
        Squares.reads += 1
        return torch.full((2 + (self.ragged and index == 3),), float(index)), index % 2


def three():
    return 1, 2, 3


def table():
    return {"x": 1}


def text():
    return "x"


def broken():
    raise OSError("the disk is gone")
"""


@pytest.fixture
def function(tmp_path):
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    return lambda name, **keys: records(source=f"{tmp_path}/mine.py:{name}", **keys)


def test_function_of_arrays_tensors_and_data_sets(function):
    found = function("arrays", args={"n": 4})
    assert found.inputs.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert found.classes == 2
    assert function("tensors").inputs.shape == (4, 3)
    found = function("Squares", limit=5)
    assert found.inputs[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert found.targets.tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("three", {}, "returned 3 values"),
        ("table", {}, r"no column is called label or .*data\.label; columns: x"),
        ("text", {}, r"returned str \(return \(inputs, targets\)"),
        ("broken", {}, "the data function failed: OSError: the disk is gone"),
        ("arrays", {"m": 1}, "unexpected keyword argument 'm'"),
        ("Squares", {"ragged": True}, r"input 3 has the shape \(3,\), input 0 has \(2,\)"),
        ("arays", {}, "did you mean `arrays`"),
    ],
)
def test_wrong_functions_are_named(function, name, args, message):
    with pytest.raises(PtauditError, match=message) as error:
        function(name, args=args)
    assert "mine.py" in str(error.value)


# torchvision


def idx(path, array):
    header = np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def test_torchvision_reads_a_local_root_as_the_class_does(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (12, 28, 28))
    for prefix in ("train", "t10k"):
        idx(raw / f"{prefix}-images-idx3-ubyte", images)
        idx(raw / f"{prefix}-labels-idx1-ubyte", np.arange(12) % 5)
    found = records(source="torchvision:FashionMNIST", root=tmp_path, limit=7)
    np.testing.assert_allclose(found.inputs.numpy(), images[:7, None] / 255, rtol=1e-6)
    assert found.targets.tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert found.classes == 10  # known to the class, though only five occur


def test_torchvision_without_vectors_is_read_item_by_item(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for index in range(2):
            Image.new("RGB", (6, 5), (0, 51 * index, 255)).save(tmp_path / name / f"{index}.png")
    found = records(source="torchvision:ImageFolder", root=tmp_path)
    assert found.inputs.shape == (4, 3, 5, 6)
    torch.testing.assert_close(found.inputs[1, :, 0, 0], torch.tensor([0, 0.2, 1.0]))
    assert (found.targets.tolist(), found.classes) == ([0, 0, 1, 1], 2)


def test_torchvision_errors_say_where_to_look_and_where_to_get_it(tmp_path):
    with pytest.raises(DataError) as error:
        records(source="torchvision:FashionMNIST", root=tmp_path)
    assert str(tmp_path / "FashionMNIST" / "raw") in str(error.value)
    assert FashionMNIST.mirrors[0] in str(error.value)
    assert "download: true" in str(error.value)
    with pytest.raises(DataError, match=r"cifar-10-batches-py.*cs\.toronto\.edu.*download: true"):
        records(source="torchvision:CIFAR10", root=tmp_path)
    with pytest.raises(DataError, match="did you mean FashionMNIST"):
        records(source="torchvision:FashionMNISTT", root=tmp_path)
    with pytest.raises(DataError, match=r"data\.root"):
        open_source(DataSpec(source="torchvision:MNIST"))


def test_torchvision_and_the_sample_function_agree_on_the_real_files(tmp_path, real_data):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    folder = real_data / "fashion_mnist"
    for path in folder.glob("*.gz"):
        with gzip.open(path) as packed, (raw / path.stem).open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    sample = f"{SAMPLES}/fashion_mnist.py:records"
    for part in ("train", "test"):
        ours = records(source=sample, args={"root": str(folder), "part": part}, limit=3000)
        theirs = records(source="torchvision:FashionMNIST", root=tmp_path, part=part, limit=3000)
        assert torch.equal(ours.inputs, theirs.inputs)
        assert torch.equal(ours.targets, theirs.targets)


def test_sample_function_says_where_to_get_the_files(tmp_path, monkeypatch):
    monkeypatch.setenv("PTAUDIT_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is missing; get it from https://"):
        records(source=f"{SAMPLES}/fashion_mnist.py:records")


def test_digest_tells_data_apart(function):
    one, same, other = function("arrays"), function("arrays"), function("arrays", limit=5)
    assert one.digest() == same.digest() != other.digest()
    relabelled = Records(one.inputs, 1 - one.targets, 2)
    assert relabelled.digest() != one.digest()


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.int32, np.int64, np.bool_])
def test_labels_in_a_column_of_their_own_are_classes(tmp_path, kind):
    """(n, 1), as MedMNIST has them; numbers stay as they are, for a loss of the user's may want the column."""
    labels = np.array([[0], [1], [1], [0]], kind)
    found = records(source=save(tmp_path / "a.npz", x=np.ones((4, 2)), y=labels))
    assert (found.targets.tolist(), found.targets.dtype, found.classes) == ([0, 1, 1, 0], torch.int64, 2)
    found = records(source=save(tmp_path / "b.npz", x=np.ones((4, 2)), y=labels.astype(np.float32)))
    assert (found.targets.shape, found.classes) == ((4, 1), None)


def test_weights_of_flower_are_no_data_and_named_for_what_they_are(tmp_path):
    path = tmp_path / "round-1-weights.npz"
    np.savez(path, np.ones((2, 3)), np.ones(2))
    with pytest.raises(DataError, match=r"the file has arr_0, arr_1 .*as Flower saves them.* replay\.checkpoints"):
        open_source(DataSpec(source=f"npz:{path}"))
