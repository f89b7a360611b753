"""Zero patterns and single users: rows and columns of the gradient that no record, or one record alone, has used.

An input that is 0 in all records of a batch (a category nobody has, a word nobody wrote) leaves a column of exact
zeros, a unit that is silent in all of them a row of zeros: a candidate that uses it was not there. A row or column that
one record alone has used is that record's own, to the last digit. Both hold for batches of any size and any layer. The
first is true entry by entry too: where the sum is 0 and a candidate is not, it was not there, and signs keep zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ptaudit.gradients.matrices import Dense, Factors, RecordGradients, UsedRows

USED = 1e-3
"""Share of a candidate's largest row or column from which on it counts as used."""

WIDEST = 256
"""Most rows (or columns) among which those of a single record are looked for."""

TOUCHED = 1e-6
"""Share of a candidate's largest entry from which on it counts as not 0: what rounding leaves of a 0 does not."""

ENTRIES = 1 << 15
"""Most entries of a matrix that are gone through one by one."""

LEAST = 1e-16

CELLS = 1 << 24


def statistics(batch: Tensor, one: RecordGradients, candidates: Tensor, noise_std: float) -> list[Tensor]:
    """Decimal logarithms: visibility; share of a candidate in zero rows and columns; its nearest single row or column.

    Args:
        batch: `(G, rows, columns)` float32.
        one: gradients of the records.
        candidates: indices of records, `(K,)` for all games or `(G, K)`.
        noise_std: of the noise on every entry.

    Returns:
        Visibility, then two statistics for each side that is looked at, `(G, K)` float32 each.
    """
    if isinstance(one, UsedRows):
        return _of_entries(batch, one, candidates, noise_std)
    found: list[Tensor] = []
    for side in (0, 1):
        if side == 1 and not one.whole:
            continue
        turned = batch if side == 0 else batch.mT
        own = magnitudes(one, candidates, side)
        share = own / own.amax(-1, keepdim=True).clamp_min(1e-38)
        empty = (turned == 0.0).all(-1).float()
        found.append(_log(_product(share.square(), empty) / share.square().sum(-1).clamp_min(1e-38)))
        if turned.shape[1] <= WIDEST:
            found.append(_log(_nearest(turned, one, candidates, side, share > USED)) / 2.0)
    size = one.norms()[candidates]
    return [_visibility(size, batch, noise_std, found[0]), *found]


def has_entries(one: RecordGradients, noise_std: float) -> bool:
    """Whether entries are gone through one by one: without noise, where they are whole and not too many."""
    few = one.shape[0] * one.shape[1] <= ENTRIES
    return one.whole and few and noise_std == 0.0 and not isinstance(one, UsedRows)


def lost_entries(batch: Tensor, one: RecordGradients, candidates: Tensor) -> Tensor:
    """Decimal logarithm of the share of each candidate's entries that are 0 in the batch, `(G, K)` float32.

    Args:
        batch: `(G, rows, columns)` float32.
        one: gradients of the records, for which `has_entries`.
        candidates: indices of records, `(K,)` for all games or `(G, K)`.
    """
    empty = (batch == 0.0).float().flatten(1)
    if candidates.dim() == 1:
        pieces = torch.split(candidates, max(1, CELLS // empty.shape[1]))
        used = torch.cat([_touched(one, some) for some in pieces])
        return _log((empty @ used.mT) / used.sum(1).clamp_min(1.0))
    found = []
    for lost, mine in zip(empty, candidates):
        used = _touched(one, mine)
        found.append((used @ lost) / used.sum(1).clamp_min(1.0))
    return _log(torch.stack(found))


def _touched(one: RecordGradients, candidates: Tensor) -> Tensor:
    """Which entries of each candidate are not 0, `(K, rows * columns)` float32."""
    entries = one.sums(candidates[:, None]).flatten(1).abs()
    return (entries > TOUCHED * entries.amax(1, keepdim=True)).float()


def magnitudes(one: RecordGradients, candidates: Tensor, side: int) -> Tensor:
    """Size of every row (side 0) or column (side 1) of the candidates' gradients, `(..., K, rows)`."""
    if isinstance(one, Factors):
        mine, other = (one.left, one.right) if side == 0 else (one.right, one.left)
        mine, other = mine[candidates], other[candidates]
        summed: Tensor = (mine.abs() * torch.linalg.vector_norm(other, dim=-1, keepdim=True)).sum(-2)
        return summed
    assert isinstance(one, Dense)
    norms: Tensor = torch.linalg.vector_norm(one.values[candidates], dim=-1 if side == 0 else -2)
    return norms


def _nearest(batch: Tensor, one: RecordGradients, candidates: Tensor, side: int, used: Tensor) -> Tensor:
    """Smallest relative squared distance between a row of the batch and the candidate's, over those it uses, `(G, K)`.

    Rows are gone through one after the other, as products of the batch with what the candidate's row is a multiple of.
    """
    length = batch.square().sum(-1)
    vectors, gains, squares = _row_factors(one, candidates, side)
    used = used.expand(*squares.shape)
    nearest = torch.full((len(batch), candidates.shape[-1]), torch.inf, device=batch.device)
    for row in range(batch.shape[1]):
        if not bool(used[..., row].any()):
            continue
        square = torch.where(used[..., row], squares[..., row], torch.nan)
        own = vectors[..., row, :] if gains is None else vectors
        product = batch[:, row] @ own.mT if own.dim() == 2 else (own @ batch[:, row, :, None]).squeeze(-1)
        if gains is not None:
            product *= gains[..., row]
        apart = product.mul_(-2.0).add_(length[:, row, None]).div_(square).add_(1.0)
        nearest = torch.fmin(nearest, apart)
    return nearest.clamp_min_(0.0)


def _row_factors(one: RecordGradients, candidates: Tensor, side: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """Rows of the candidates' gradients: gains `(..., K, rows)` times one vector `(..., K, d)` where they have one
    position, else vectors `(..., K, rows, d)`; and their squares `(..., K, rows)`."""
    if isinstance(one, Factors):
        mine, other = (one.left, one.right) if side == 0 else (one.right, one.left)
        mine, other = mine[candidates], other[candidates]
        if one.positions == 1:
            gains, vector = mine.squeeze(-2), other.squeeze(-2)
            return vector, gains, gains.square() * vector.square().sum(-1, keepdim=True)
        vectors = mine.mT @ other
    else:
        assert isinstance(one, Dense)
        vectors = one.values[candidates] if side == 0 else one.values[candidates].mT
    return vectors, None, vectors.square().sum(-1)


def _of_entries(batch: Tensor, one: UsedRows, candidates: Tensor, noise_std: float) -> list[Tensor]:
    """The same for an embedding: entries that a candidate uses and the batch does not, or that are its own alone."""
    index, own = one.rows_of(candidates.flatten())
    shape = (*candidates.shape, index.shape[1])
    index, own = index.view(shape), own.view(*shape, -1)
    square = own.double().square().sum(-1)
    used = square > USED**2 * square.amax(-1, keepdim=True)
    step = max(1, CELLS // max(1, own.numel() // (len(batch) if candidates.dim() == 2 else 1)))
    empty, apart = [], []
    for piece in torch.split(torch.arange(len(batch)), step):
        some = index if candidates.dim() == 1 else index[piece]
        mine, size = (own, square) if candidates.dim() == 1 else (own[piece], square[piece])
        place = some.expand(len(piece), *some.shape[-2:]).flatten(1)
        rows = batch[piece].gather(1, place[..., None].expand(-1, -1, batch.shape[2]))
        rows = torch.unflatten(rows, 1, some.shape[-2:])
        lost = (rows == 0.0).all(-1) * size
        empty.append(lost.sum(-1) / size.sum(-1).clamp_min(1e-200))
        ratio = (rows.double() - mine).square().sum(-1) / size.clamp_min(1e-200)
        apart.append(torch.where(used if candidates.dim() == 1 else used[piece], ratio, torch.inf).amin(-1))
    missing, nearest = torch.cat(empty), torch.cat(apart)
    size = square.sum(-1).sqrt()
    return [_visibility(size, batch, noise_std, missing), _log(missing), _log(nearest) / 2.0]


def _visibility(size: Tensor, batch: Tensor, noise_std: float, like: Tensor) -> Tensor:
    """Size of each candidate over rounding and noise."""
    rounding = 1e-7 * torch.linalg.matrix_norm(batch)[:, None]
    floor = rounding.clamp_min(noise_std * max(batch.shape[1:]) ** 0.5).clamp_min(1e-38)
    return _log((size / floor).expand_as(like))


def _product(share: Tensor, empty: Tensor) -> Tensor:
    """`(..., K, rows)` with `(G, rows)`: `(G, K)`."""
    return (share @ empty[..., None]).squeeze(-1) if share.dim() == 3 else empty @ share.mT


def _log(values: Tensor) -> Tensor:
    return torch.nan_to_num(values.clamp_min(LEAST).log10().float(), posinf=16.0)
