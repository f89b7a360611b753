"""Records of known gradients, and batches of them."""

import torch

from ptaudit.gradients import Dense, Factors, UsedRows


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def factors(n, rows, columns, positions=1, seed=0):
    g = generator(seed)
    return Factors(torch.randn(n, positions, rows, generator=g), torch.randn(n, positions, columns, generator=g))


def explicit(one):
    """The matrices themselves, `(n, rows, columns)`."""
    return one.sums(torch.arange(len(one.norms()))[:, None])


def dense(one):
    return Dense(explicit(one))


def games(records, candidates, m, count, seed=1):
    """Batches of a candidate and m - 1 others that are no candidates: members `(G, m)`, secret `(G,)`."""
    g = generator(seed)
    secret = torch.arange(count) % candidates
    others = torch.stack([torch.randperm(records - candidates, generator=g)[: m - 1] for _ in range(count)])
    return torch.cat([secret[:, None], candidates + others], 1), secret


def own_of(values, secret):
    """The statistic of each game's secret `(G,)`, and of all others `(G, K - 1)`."""
    mine = values.gather(1, secret[:, None]).squeeze(1)
    rest = torch.ones_like(values, dtype=torch.bool).scatter_(1, secret[:, None], False)
    return mine, values[rest].view(len(values), -1)


def words(n, positions, entries, width=8, seed=0):
    g = generator(seed)
    index = torch.randint(0, entries, (n, positions), generator=g)
    return UsedRows(index, torch.randn(n, positions, width, generator=g), entries)
