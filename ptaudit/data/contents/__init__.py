"""What a record holds, as numbers that can be rebuilt from a gradient, and how near a rebuilt one comes.

Three kinds, told by the inputs: pictures, tables (numbers and one-hot groups) and sequences of tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ptaudit.data.contents.base import Content, Parts, Prior
from ptaudit.data.contents.picture import Picture
from ptaudit.data.contents.table import Table, fields_of
from ptaudit.data.contents.tokens import Tokens
from ptaudit.data.records import Records
from ptaudit.errors import DataError
from ptaudit.model_input import leaves, shapes

__all__ = ["Content", "Parts", "Picture", "Prior", "Table", "Tokens", "content_of"]


def content_of(records: Records) -> Content:
    """The content of the records of a source.

    Raises:
        DataError: inputs of which nobody knows what their content is.
    """
    inputs = [leaf for leaf in leaves(records.inputs) if leaf.dtype != torch.bool]
    named = records.inputs if isinstance(records.inputs, dict) else {}
    inputs = [leaf for leaf in inputs if not any(leaf is x for name, x in named.items() if "mask" in name)]
    if len(inputs) == 1 and inputs[0].dtype == torch.int64:
        return Tokens.of(records.inputs)
    if isinstance(records.inputs, Tensor) and records.inputs.is_floating_point():
        given = records.inputs
        return Picture.of(given) if given.dim() == 4 else Table(fields_of(records, given.flatten(1)))
    raise DataError(
        f"of inputs of shape {shapes(records.inputs)} nobody knows what their content is",
        where="data.source",
        remedy="pictures (c, h, w), rows of numbers or sequences of token ids (with a mask) can be rebuilt",
    )
