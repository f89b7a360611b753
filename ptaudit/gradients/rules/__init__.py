"""One rule per layer family; a new family is one file and one line here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.rules.base import ModuleCall, Rule, with_norms_only
from ptaudit.gradients.rules.conv import conv, conv_tokens
from ptaudit.gradients.rules.conv_transpose import conv_transpose, conv_transpose_tokens
from ptaudit.gradients.rules.embedding import embedding, embedding_tokens
from ptaudit.gradients.rules.layout import ARRANGE, FIRST
from ptaudit.gradients.rules.linear import linear, linear_tokens
from ptaudit.gradients.rules.norm import (
    batch_norm,
    batch_norm_tokens,
    group_norm,
    group_norm_tokens,
    instance_norm,
    layer_norm,
    layer_norm_tokens,
    rms_norm,
)
from ptaudit.gradients.rules.prelu import prelu
from ptaudit.gradients.rules.projection import Projection, plain, projection, projection_tokens
from ptaudit.gradients.rules.tied import tied, tied_tokens

PROJECTION, TIED = Rule(projection, projection_tokens), Rule(tied, tied_tokens)

RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: Rule(linear, linear_tokens),
    nn.Conv1d: Rule(conv, conv_tokens),
    nn.Conv2d: Rule(conv, conv_tokens),
    nn.Conv3d: Rule(conv, conv_tokens),
    nn.Embedding: Rule(embedding, embedding_tokens),
    nn.LayerNorm: Rule(layer_norm, layer_norm_tokens),
    nn.GroupNorm: Rule(group_norm, group_norm_tokens),
    nn.BatchNorm1d: Rule(batch_norm, batch_norm_tokens),
    nn.BatchNorm2d: Rule(batch_norm, batch_norm_tokens),
    nn.BatchNorm3d: Rule(batch_norm, batch_norm_tokens),
    nn.ConvTranspose1d: Rule(conv_transpose, conv_transpose_tokens),
    nn.ConvTranspose2d: Rule(conv_transpose, conv_transpose_tokens),
    nn.ConvTranspose3d: Rule(conv_transpose, conv_transpose_tokens),
    nn.InstanceNorm1d: with_norms_only(instance_norm),
    nn.InstanceNorm2d: with_norms_only(instance_norm),
    nn.InstanceNorm3d: with_norms_only(instance_norm),
    nn.RMSNorm: with_norms_only(rms_norm),
    nn.PReLU: with_norms_only(prelu),
    nn.MultiheadAttention: PROJECTION,
}


def rule_for(module: nn.Module, layout: str = FIRST) -> Rule | None:
    """The rule of the module's class or of its nearest base, for records in that layout.

    Whether it holds is checked, not assumed; `LayerInfo.layout` says for which layout it did.
    """
    rule = next((RULES[kind] for kind in type(module).__mro__ if kind in RULES), None)
    return rule and replace(rule, arrange=ARRANGE.get(layout))


def fitting(rule: Rule, layer: Layer, calls: Sequence[ModuleCall], n: int) -> tuple[Rule, Sequence[ModuleCall]]:
    """The rule for the calls that a layer was seen to have, and the calls as it takes them.

    Weights that `F.linear` was called with are those of a product, whatever module owns them.
    """
    if any(isinstance(call, Projection) for call in calls):
        if isinstance(layer.module, nn.Embedding):
            return TIED, calls
        if isinstance(layer.module, nn.Linear):
            whole = plain(layer, calls)
            return (PROJECTION, calls) if whole is None else (rule, rule.arranged(whole, n))
    return rule, rule.arranged(calls, n)
