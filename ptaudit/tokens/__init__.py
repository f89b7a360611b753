"""Privacy tokens: small, linear sketches of the gradient that each record contributes to each layer."""

from __future__ import annotations

from ptaudit.tokens.capture import PerRecordLoss
from ptaudit.tokens.layers import LayerInfo
from ptaudit.tokens.reader import TokenReader
from ptaudit.tokens.tokens import Tokens

__all__ = ["LayerInfo", "PerRecordLoss", "TokenReader", "Tokens"]
