"""Fashion-MNIST (Xiao et al. 2017) from its four official files, as they are: no unpacking, no torchvision layout.

Copy this file for data of your own. In a spec:

    data: {source: ../sample_models/fashion_mnist.py:records, args: {part: train}}

What ptaudit asks of a data function: called with `args`, it returns (inputs, targets) as arrays or tensors, or a
map-style `torch.utils.data.Dataset`. uint8 pictures become float32 in [0, 1]; classes are integers 0..C-1.
"""

import gzip
import os
from pathlib import Path

import numpy as np

HOME = "https://github.com/zalandoresearch/fashion-mnist"
MAGIC = {"images": 0x803, "labels": 0x801}


def records(root: str | None = None, part: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Pictures (n, 28, 28) uint8 and classes (n,).

    Args:
        root: folder with the `.gz` files; by default `fashion_mnist` in the folder named by the environment variable
            PTAUDIT_DATA, or in `data` beside the folder of this file.
        part: `train` (60,000 pictures) or `test` (10,000).
    """
    data = Path(os.environ.get("PTAUDIT_DATA") or Path(__file__).parents[1] / "data")
    folder = data / "fashion_mnist" if root is None else Path(root)
    prefix = {"train": "train", "test": "t10k"}[part]
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", "images")
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", "labels")
    return images, labels


def read_idx(path: Path, kind: str) -> np.ndarray:
    """Read one gzipped IDX file: a magic number, the sizes of the dimensions (big-endian), then bytes."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; get it from {HOME} and set PTAUDIT_DATA to the folder above")
    content = gzip.decompress(path.read_bytes())
    magic, *shape = np.frombuffer(content, ">u4", count=4 if kind == "images" else 2).tolist()
    if magic != MAGIC[kind]:
        raise ValueError(f"{path} is not an IDX file of {kind}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
