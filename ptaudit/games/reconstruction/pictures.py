"""Pictures as they were, as they were rebuilt, and what would be guessed without a gradient, side by side."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from torch import Tensor

from ptaudit.attacks.inversion.messages import InputSpace

_SIDE = 64
"""Pixels that a small picture is brought to, at least."""

_GAP = 2


def side_by_side(true: Tensor, rebuilt: Tensor, prior: Tensor, space: InputSpace) -> bytes:
    """A PNG with a row for each record: true, rebuilt, prior.

    Args:
        true: `(B, C, H, W)`.
        rebuilt: `(B, C, H, W)`.
        prior: `(C, H, W)`.
        space: the range of the pixels.
    """
    columns = [_shades(some, space) for some in (true, rebuilt, prior.expand_as(true))]
    n, height, width, channels = columns[0].shape
    sheet = np.full((n * (height + _GAP), 3 * (width + _GAP), channels), 255, np.uint8)
    for across, column in enumerate(columns):
        for down, picture in enumerate(column):
            top, left = down * (height + _GAP), across * (width + _GAP)
            sheet[top : top + height, left : left + width] = picture
    image = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    times = max(1, -(-_SIDE // height))
    file = io.BytesIO()
    image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def _shades(pictures: Tensor, space: InputSpace) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """As `(B, H, W, 1 or 3)`, uint8; of other numbers of channels their mean."""
    low, high = space.low.to(pictures), space.high.to(pictures)
    shades = ((pictures - low) / (high - low).clamp_min(1e-12)).clamp(0.0, 1.0)
    if shades.shape[1] not in (1, 3):
        shades = shades.mean(1, keepdim=True)
    found = (255.0 * shades).round().byte().cpu().permute(0, 2, 3, 1).numpy()
    return np.asarray(found, np.uint8)
