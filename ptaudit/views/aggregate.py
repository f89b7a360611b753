"""Batches re-aggregated from tokens: a token is linear in the gradient, so the token of a batch is a sum of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ptaudit.views.view import View

_DRAW_CELLS = 1 << 24


@dataclass(frozen=True)
class Games:
    """The draws of G games, for r rounds.

    Attributes:
        secret: index of the target among the candidates, shape `(G,)`.
        others: indices into the pool of the m-1 other records, shape `(r, G, m-1)`.
    """

    secret: Tensor
    others: Tensor

    def hidden(self, view: View) -> Tensor:
        """The others of each game, every batch once: `(r, G, m-1)`, with a fixed batch `(1, G, m-1)`."""
        return self.others[: view.batches]

    def members(self, targets: Tensor, pool: Tensor) -> Tensor:
        """Records of each batch, the target first, `(r, G, m)`, from those of the candidates and of the pool."""
        target = targets[self.secret].expand(len(self.others), -1)[..., None]
        return torch.cat([target, pool[self.others]], -1)


def draw_others(pool: int, games: int, others: int, generator: torch.Generator) -> Tensor:
    """For each game, `others` distinct records of the pool: shape `(games, others)`.

    Distinct within a batch, as in real batches, so that the sum of one game is distributed exactly as the sum of
    `others` fresh records; sampling with replacement would inflate its variance by others/pool.
    """
    if others == 0:
        return torch.empty(games, 0, dtype=torch.long)
    rows = max(1, _DRAW_CELLS // pool)
    parts = []
    for start in range(0, games, rows):
        keys = torch.rand(min(rows, games - start), pool, generator=generator)
        parts.append(keys.topk(others, dim=1, sorted=False).indices)
    return torch.cat(parts)


def draw_games(targets: int, pool: int, per_target: int, view: View, generator: torch.Generator) -> Games:
    """Every candidate is the target of `per_target` games, each with its own others; those of a fixed batch are the
    same in all rounds."""
    secret = torch.arange(targets).repeat_interleave(per_target)
    drawn = draw_others(pool, view.batches * len(secret), view.others, generator)
    return Games(secret, drawn.view(view.batches, len(secret), view.others).expand(view.rounds, -1, -1))


def sums(tokens: Tensor, members: Tensor) -> Tensor:
    """Sums of the tokens of the listed records: `(R, n, k)`, `(G, j)` -> `(R, G, k)`."""
    rows, n, k = tokens.shape
    if members.shape[1] == 0:
        return tokens.new_zeros(rows, len(members), k)
    flat = tokens.transpose(0, 1).reshape(n, rows * k)
    bags = embedding_bag(members.to(tokens.device), flat, mode="sum")
    return bags.view(len(members), rows, k).transpose(0, 1)


def observe(candidates: Tensor, pool: Tensor, games: Games, noise: float, generator: torch.Generator) -> list[Tensor]:
    """What the adversary sees in each round: target plus others plus noise, a list of r tensors `(R, G, k)`.

    Args:
        candidates: tokens of the candidates, `(R, K, k)`.
        pool: tokens of the records the others are drawn from, `(R, P, k)`.
        games: the draws.
        noise: standard deviation per coordinate of the noise on the sum.
        generator: CPU generator of the noise.
    """
    targets = candidates[:, games.secret.to(candidates.device)]
    return [add_noise(targets + sums(pool, others), noise, generator) for others in games.others]


def add_noise(total: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Isotropic Gaussian noise, drawn on the CPU so that every device sees the same."""
    if noise == 0.0:
        return total
    draw = torch.randn(total.shape, generator=generator, dtype=torch.float32)
    return total + noise * draw.to(total)
