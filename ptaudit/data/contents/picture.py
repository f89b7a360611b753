"""Pictures as content: PSNR and SSIM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ptaudit.data.contents.base import NONE, Array, ByMean, Parts, Prior, explained, flat
from ptaudit.model_input import Inputs, leaves
from ptaudit.stats.fidelity import psnr, ssim


@dataclass(frozen=True)
class Picture(ByMean):
    """Pictures.

    Attributes:
        shape: channels, height and width.
        data_range: largest minus smallest value of a pixel.
    """

    shape: tuple[int, int, int]
    data_range: float = 1.0

    kind = "picture"
    metrics = ("explained_variance", "psnr_db", "psnr_gain_db", "ssim", "ssim_gain")

    @classmethod
    def of(cls, pictures: Tensor) -> Picture:
        """Of pictures `(n, C, H, W)`; those within [0, 1] have a range of 1."""
        low, high = float(pictures.min()), float(pictures.max())
        _, *shape = pictures.shape
        return cls((shape[0], shape[1], shape[2]), 1.0 if low >= 0.0 and 0.5 < high <= 1.0 else max(high - low, 1e-30))

    @property
    def width(self) -> int:
        """See `Content`."""
        return int(np.prod(self.shape))

    @property
    def parts(self) -> Parts:
        """See `Content`."""
        return Parts(np.arange(self.width), (), NONE)

    def targets(self, inputs: Inputs) -> Tensor:
        """See `Content`."""
        return leaves(inputs)[0].float().flatten(1)

    def scores(self, rebuilt: Tensor, true: Tensor, prior: Prior) -> dict[str, Array]:
        """See `Content`; `psnr_db` and `ssim` as they are and over those of the mean picture."""
        x, y = flat(rebuilt), flat(true)
        guess = np.broadcast_to(prior.guess, y.shape)
        peak, prior_peak = (psnr(some, y, self.data_range) for some in (x, guess))
        pictures = y.reshape(-1, *self.shape)
        like, prior_like = (ssim(some.reshape(pictures.shape), pictures, self.data_range) for some in (x, guess))
        return {
            "explained_variance": explained(x, y, prior),
            "psnr_db": peak,
            "psnr_gain_db": peak - prior_peak,
            "ssim": like,
            "ssim_gain": like - prior_like,
        }
