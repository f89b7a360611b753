"""Picture files to one array, decoded in parallel; and pictures that are arrays already, resized or grey."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ptaudit.errors import DataError

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

Size = tuple[int, int]
"""Height and width."""

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as PIL converts
_AT_ONCE = 512


def asked_size(data: DataSpec) -> Size | None:
    """Height and width that the spec asks for."""
    if data.resize is None:
        return None
    return (data.resize, data.resize) if isinstance(data.resize, int) else (data.resize[0], data.resize[1])


def picture_array(image: Image.Image, size: Size | None, grayscale: bool) -> NDArray[np.uint8]:
    """A picture as (h, w, 3) or (h, w, 1), uint8; a channel of transparency is left out.

    Raises:
        ValueError: it has more than 8 bits a channel.
    """
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"mode {image.mode} has more than 8 bits a channel")
    image = image.convert("L" if grayscale else "RGB")
    if size is not None and (image.height, image.width) != size:
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    array: NDArray[np.uint8] = np.asarray(image)
    return array[:, :, None] if grayscale else array


def read_pictures(paths: Sequence[Path], size: Size | None, grayscale: bool) -> NDArray[np.uint8]:
    """Decode picture files.

    Args:
        paths: at least one file.
        size: bring all to this size; without it, all must have one.
        grayscale: one channel instead of three.

    Returns:
        (n, h, w, 3 or 1).

    Raises:
        DataError: a file is missing or not a picture, or sizes differ; the file is named.
    """
    first = _decoded(paths[0], size, grayscale)
    pictures = np.empty((len(paths), *first.shape), np.uint8)
    decode = partial(_decoded, size=size, grayscale=grayscale)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), _AT_ONCE):  # few at once: an error need not wait for all the others
            for place, picture in enumerate(pool.map(decode, paths[start : start + _AT_ONCE]), start):
                _check_size(picture, first, paths[place], paths[0].name)
                pictures[place] = picture
    return pictures


def _check_size(picture: NDArray[np.uint8], first: NDArray[np.uint8], path: Path, name: str) -> None:
    (height, width), (high, wide) = first.shape[:2], picture.shape[:2]
    if (height, width) != (high, wide):
        raise DataError(
            f"the picture is {high}x{wide}, {name} is {height}x{width}",
            where=str(path),
            remedy=f"bring all to one size, e.g. data.resize: {min(height, width)}",
        )


def _decoded(path: Path, size: Size | None, grayscale: bool) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return picture_array(image, size, grayscale)
    except FileNotFoundError as error:
        raise DataError("no such picture", where=str(path)) from error
    except Exception as error:  # of a damaged file, decoders raise whatever they stumble over
        first = str(error).strip().split("\n", 1)[0]
        raise DataError(
            f"not a readable picture: {first}", where=str(path), remedy="remove or replace the file"
        ) from error


def adjusted(pictures: Tensor, size: Size | None, grayscale: bool) -> Tensor:
    """Pictures (n, c, h, w) in [0, 1], brought to a size (bilinear, without aliasing) and turned grey.

    Args:
        pictures: float32.
        size: height and width, or None to keep them.
        grayscale: one channel instead of three.
    """
    if grayscale and pictures.shape[1] == 3:
        pictures = (pictures * pictures.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
    if size is not None and tuple(pictures.shape[2:]) != size:
        parts = [F.interpolate(part, size, mode="bilinear", antialias=True) for part in torch.split(pictures, _AT_ONCE)]
        pictures = torch.cat(parts)
    return pictures
