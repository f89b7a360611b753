"""How many records the batches of a view need: none may say much of another by being in the same ones."""

from __future__ import annotations

import torch
from torch import Tensor

from ptaudit.views.view import View

RECORDS_PER_MEMBER = 20
"""Fewest records for each record of a batch; fewer make a game inconclusive."""

ADVISED_PER_MEMBER = 32


def too_few(n: int, view: View, least: int = 0, what: str = "records") -> str:
    """Why n records do not fill the batches of a view, in words with the number needed; empty if they do.

    Args:
        n: how many there are.
        view: batch size and rounds.
        least: fewest, whatever the view.
        what: what those records are called.
    """
    needed, advised = (max(m * view.records * view.batches, least) for m in (RECORDS_PER_MEMBER, ADVISED_PER_MEMBER))
    rounds = f" in {view.batches} rounds" if view.batches > 1 else ""
    batch = f"batches of {view.records}{rounds}"
    return "" if n >= needed else f"needs {needed} {what} for {batch}, has {n} ({advised} advised)"


def why_too_few(tokens: Tensor, view: View) -> str:
    """Why a game with tokens `(R, N, k)` cannot be played; empty if it can."""
    finite = "" if bool(torch.isfinite(tokens).all()) else "gradients that are not finite"
    return too_few(tokens.shape[1], view) or finite
