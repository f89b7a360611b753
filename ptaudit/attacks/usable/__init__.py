"""Usable information: the bits that predictors of one family get out of tokens about a secret.

V-information (Xu et al., "A theory of usable information under computational constraints", ICLR 2020; for gradients
Mo et al., arXiv 2105.13929): the cross-entropy of the best predictor of the family that sees nothing, less that of the
best that sees the tokens, both on records that nothing was fitted to.
"""

from ptaudit.attacks.usable.information import LabelledTokens, measure, too_few

__all__ = ["LabelledTokens", "measure", "too_few"]
