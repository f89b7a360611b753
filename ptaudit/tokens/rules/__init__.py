"""One rule per layer family; a new family is one file and one line here."""

from __future__ import annotations

from torch import nn

from ptaudit.tokens.rules.base import Rule, with_norms_only
from ptaudit.tokens.rules.batch_norm import batch_norm
from ptaudit.tokens.rules.conv import conv
from ptaudit.tokens.rules.embedding import embedding
from ptaudit.tokens.rules.group_norm import group_norm
from ptaudit.tokens.rules.layer_norm import layer_norm
from ptaudit.tokens.rules.linear import linear

RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: with_norms_only(linear),
    nn.Conv1d: with_norms_only(conv),
    nn.Conv2d: with_norms_only(conv),
    nn.Conv3d: with_norms_only(conv),
    nn.Embedding: with_norms_only(embedding),
    nn.LayerNorm: with_norms_only(layer_norm),
    nn.GroupNorm: with_norms_only(group_norm),
    nn.BatchNorm1d: with_norms_only(batch_norm),
    nn.BatchNorm2d: with_norms_only(batch_norm),
    nn.BatchNorm3d: with_norms_only(batch_norm),
}


def rule_for(module: nn.Module) -> Rule | None:
    """The rule of the module's class or of its nearest base; whether it holds is proven, not assumed."""
    return next((RULES[kind] for kind in type(module).__mro__ if kind in RULES), None)
