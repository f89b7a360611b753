"""Predictors of usable information (linear, mlp, knn) as posteriors over observed batches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ptaudit.attacks.batch.fit_observations import Family
from ptaudit.attacks.usable import family as usable
from ptaudit.attacks.usable.feature_maps import looked


def predictor(family: usable.Family) -> Family:
    """Every look and every point of the family's path is a setting; all rows are fitted as one batched program."""

    def ratios(known: Tensor, secrets: Tensor, values: int, unseen: Tensor, seed: int) -> Tensor:
        hidden = one_hot(secrets, values).float()
        one, two = known.float(), unseen.float()
        seen, met = (torch.cat(same) for same in zip(*(looked(look, one, two) for look in family.looks)))
        found = family.classes(seen, hidden, met, torch.Generator().manual_seed(seed))
        found = torch.unflatten(found, 2, (len(family.looks), len(known))).flatten(1, 2)
        frequency = (hidden.sum(1) + 1.0) / (hidden.shape[1] + values)
        return found - frequency.log()[:, None, None, None]

    return ratios
