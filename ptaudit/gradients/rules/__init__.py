"""One rule per layer family; a new family is one file and one line here."""

from __future__ import annotations

from torch import nn

from ptaudit.gradients.rules.base import Rule, with_norms_only
from ptaudit.gradients.rules.batch_norm import batch_norm, batch_norm_tokens
from ptaudit.gradients.rules.conv import conv, conv_tokens
from ptaudit.gradients.rules.conv_transpose import conv_transpose, conv_transpose_tokens
from ptaudit.gradients.rules.embedding import embedding, embedding_tokens
from ptaudit.gradients.rules.group_norm import group_norm, group_norm_tokens
from ptaudit.gradients.rules.instance_norm import instance_norm
from ptaudit.gradients.rules.layer_norm import layer_norm, layer_norm_tokens
from ptaudit.gradients.rules.layout import FIRST, arranged
from ptaudit.gradients.rules.linear import linear, linear_tokens
from ptaudit.gradients.rules.prelu import prelu
from ptaudit.gradients.rules.projection import projection, projection_tokens
from ptaudit.gradients.rules.rms_norm import rms_norm

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
    nn.MultiheadAttention: Rule(projection, projection_tokens),
}


def rule_for(module: nn.Module, layout: str = FIRST) -> Rule | None:
    """The rule of the module's class or of its nearest base, for records in that layout.

    Whether it holds is proven, not assumed; `LayerInfo.layout` says for which layout it did.
    """
    rule = next((RULES[kind] for kind in type(module).__mro__ if kind in RULES), None)
    return rule and arranged(rule, layout)
