"""White-box scores of a record's gradient, of the whole model or of one layer.

At the end of training members' gradients are short (Nasr et al., S&P 2019, arXiv 1812.00910). And the weights moved
against the gradients of members: a member's gradient points against the last update.
"""

from __future__ import annotations

import numpy as np

from ptaudit.attacks.membership.signals import Array, References, Signals, given

_TINY = 1e-30


def norm(target: Signals, references: References | None) -> Array:
    """Minus the logarithm of the gradient's norm, `(n,)`."""
    return np.asarray(-np.log(np.maximum(given(target.gradient_norms), _TINY)))


def update_product(target: Signals, references: References | None) -> Array:
    """Minus the inner product of the gradient's direction with the update, `(n,)`; 0 where there is no gradient.

    Of the direction: long gradients have large products of both signs, those of others too.
    """
    return -given(target.update_products) / np.maximum(given(target.gradient_norms), _TINY)
