"""Data functions of many kinds, for `test_data_functions.py`."""

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

Y = np.arange(6) % 2
IDS = np.arange(18).reshape(6, 3)
MASK = np.arange(3) <= (np.arange(6) % 3)[:, None]


def pair_of_inputs():
    return (np.ones((6, 3)), np.full((6, 4, 4), 255, np.uint8)), Y


def with_mask():
    return {"ids": IDS, "mask": MASK}, Y


def three_tensors():
    return TensorDataset(torch.ones(6, 2), torch.zeros(6, 1), torch.from_numpy(Y))


def uneven_parts():
    return (np.ones((6, 3)), np.ones((5, 3))), Y


def text_part():
    return {"ids": IDS, "words": ["a", "b"] * 3}, Y


def broken_part():
    return {"ids": IDS, "x": np.array([0, 0, np.nan, 0, 0, 0])}, Y


def no_parts():
    return {}, Y


def ragged():
    return [[1], [1, 2], [1]], [0, 1, 0]


def pictures_of_two_sizes():
    return [np.zeros((4 + place, 4), np.uint8) for place in range(3)], [0, 1, 0]


def with_columns():
    return IDS, Y, {"sex": ["f", None, "f", "m", "f", "m"], "who": torch.arange(6) // 2, "unused": None}


def uneven_columns():
    return IDS, Y, {"who": np.arange(5)}


def columns():
    return {"ids": IDS, "mask": MASK, "note": ["x"] * 6, "who": np.arange(6) // 2 + 5, "label": Y}


def splits():
    return {"train": Hub(), "test": Hub()}


hub_splits = splits


class Items(Dataset):
    def __init__(self, read, n=6):
        self.read, self.n = read, n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return self.read(index)


def items():
    return Items(
        lambda i: (
            {"picture": Image.new("L", (4, 4), i), "x": torch.tensor([float(i), 1.0])},
            i % 2,
            {"who": i // 2},
        )
    )


def dictionary_items():
    def read(i):
        n = 1 + i % 3
        return {"ids": list(range(1, n + 1)), "ids_mask": [1] * n, "labels": [k % 2 for k in range(n)], "note": "x"}

    return Items(read, 4)


def uneven_items():
    return Items(lambda i: {"x": [1.0]} if i == 2 else {"x": [1.0], "label": 0})


def single_items():
    return Items(lambda i: torch.ones(2))


def failing_items():
    return Items(lambda i: {0: ([1.0], 0)}[i])


def no_items():
    return Items(None, 0)


def frame():
    return pd.DataFrame(
        {
            "age": [20, 30, None, 40, 50, 60],
            "job": ["cook", "nurse", "cook", None, "pilot", "nurse"],
            "code": [3, 1, 3, 1, 2, 3],
            "who": ["u1", "u1", "u2", "u2", "u3", "u3"],
            "y": ["a", "b", "a", "b", "c", "a"],
        }
    )


def nested_frame():
    return pd.DataFrame({"x": [1.0, 2.0, 3.0], "tags": [["a"], [], ["b"]], "y": [0, 1, 0]})


class Label:
    num_classes = 3


class Hub:
    """As much of a `datasets.Dataset` as is used; like it, rows of different length come as an array of arrays."""

    def __init__(self, shown=None, kind=None):
        rows = [[1], [1, 2], [1, 2, 3], [1]]
        self._columns = {
            "text": ["hello"] * 4,
            "input_ids": rows,
            "attention_mask": [[1] * len(row) for row in rows],
            "who": ["a", "b", "a", "b"],
            "label": [0, 1, 0, 1],
        }
        self._shown, self._kind = shown, kind
        self.features = dict.fromkeys(self._columns) | {"label": Label()}
        self.column_names = list(self._columns)

    @property
    def format(self):
        return {"type": self._kind, "columns": self._shown or self.column_names}

    def __len__(self):
        return 4

    def with_format(self, kind, columns=None):
        return Hub(columns, kind)

    def __getitem__(self, key):
        assert self._kind == "numpy"
        assert isinstance(key, slice)
        return {name: self._array(self._columns[name][key]) for name in self.format["columns"]}

    @staticmethod
    def _array(rows):
        if not isinstance(rows[0], list):
            return np.array(rows)
        array = np.empty(len(rows), object)
        array[:] = [np.array(row) for row in rows]
        return array


def hub(shown=None):
    return Hub(shown)


def sentences(width):
    """Ids of even numbers against ids of odd ones, between two and six long."""
    generator = np.random.default_rng(0)
    label = np.arange(80) % 2
    mask = np.arange(width) < generator.integers(2, 7, 80)[:, None]
    ids = 2 * generator.integers(1, 9, (80, 6)) + label[:, None]
    return {"ids": np.where(mask, np.pad(ids, ((0, 0), (0, width - 6))), 0), "mask": mask}, label


def codes():
    return torch.ones(4, 2), np.array([3, 7, 3, 7])


def code_columns():
    return {"x": torch.ones(4, 2), "y": [3, 7, 3, 7]}


def two_labels():
    return torch.ones(4, 2), torch.ones(4, 2, dtype=torch.int64)


def numbers_as_text():
    return pd.DataFrame({"zip": ["01234", "5", "77", "5"], "y": [0, 1, 0, 1]})


def frame_with_one_name_twice():
    return pd.DataFrame(np.ones((4, 3)), columns=["a", "a", "y"])
