"""How a predictor looks at tokens: gradients' lengths spread over orders of magnitude, and few predictors bear that.

Whatever is estimated here (typical length, mean and spread of a coordinate) is estimated on the known tokens alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Look = Callable[[Tensor, Tensor], Tensor]
"""Tokens `(L, n, d)` and their typical length `(L, 1, 1)` -> `(L, n, d)`."""

LONGEST = 10.0
"""Tokens longer than this many typical lengths are shortened: one giant would set the scale of all."""

_TINY = 1e-30
_FAR = 20.0


def plain(tokens: Tensor, typical: Tensor) -> Tensor:
    """Tokens as they are, up to `LONGEST`."""
    return tokens * (LONGEST * typical / _length(tokens)).clamp_max(1.0)


def direction(tokens: Tensor, typical: Tensor) -> Tensor:
    """Tokens of unit length; a zero token stays zero."""
    return tokens / _length(tokens)


def compressed(tokens: Tensor, typical: Tensor) -> Tensor:
    """Tokens with their length on a logarithmic scale: nothing is lost, and no token is far from the others."""
    length = _length(tokens)
    return tokens * (torch.log1p(length / (0.1 * typical)) / length)


def looked(look: Look, known: Tensor, unseen: Tensor) -> tuple[Tensor, Tensor]:
    """Both as they look, every coordinate with mean 0 and variance 1 on the known ones.

    A coordinate that is constant there is 0; no coordinate of an unseen token is farther out than 20 deviations.
    """
    length = torch.linalg.vector_norm(known, dim=-1)
    typical = length.masked_fill(length <= _TINY, torch.nan).nanmedian(1).values.nan_to_num(1.0)[:, None, None]
    one, two = look(known, typical), look(unseen, typical)
    mean = one.mean(1, keepdim=True)
    one, two = one - mean, two - mean
    spread = one.square().mean(1, keepdim=True).sqrt()
    constant = spread <= 1e-6 * mean.abs() + _TINY
    scale = torch.where(constant, 0.0, 1.0 / spread.clamp_min(_TINY))
    return one * scale, (two * scale).clamp(-_FAR, _FAR)


def _length(tokens: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(tokens, dim=-1, keepdim=True)
    return length.clamp_min(_TINY)
