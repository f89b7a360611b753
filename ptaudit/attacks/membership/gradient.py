"""White-box scores of a record's gradient, of the whole model or of one layer.

At the end of training members' gradients are short (Nasr et al., S&P 2019, arXiv 1812.00910). And the weights moved
against the gradients of members: the inner product of a record's gradient with the last update is lower for members.
"""

from __future__ import annotations

import numpy as np

from ptaudit.attacks.membership.signals import Array, References, Signals, given

_TINY = 1e-30


def norm(target: Signals, references: References | None) -> Array:
    """Minus the logarithm of the gradient's norm, `(n,)`."""
    return np.asarray(-np.log(np.maximum(given(target.gradient_norms), _TINY)))


def update_product(target: Signals, references: References | None) -> Array:
    """Minus the inner product of gradient and update, `(n,)`: how far the update lowered the loss, to first order."""
    return -given(target.update_products)
