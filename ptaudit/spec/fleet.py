"""Reference models: how many, and where what they say is kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ptaudit.spec.base import Count, Part, Text, Whole, fault


class FleetSpec(Part):
    """Models trained as the audited one is, each on a random half of members and held-out records."""

    models: Annotated[Whole, Field(ge=2, le=100_000)] = 16
    """How many: an even number, as they come in pairs that share the records between them."""
    folder: Text | None = None
    """Where their outputs and losses are kept, for another audit of the same data to use; default nowhere."""
    engine: Literal["local", "ray"] = "local"
    """Where they are trained: on this machine, or over a Ray cluster (`pip install 'ptaudit[ray]'`), which
    `ptaudit run --address` names; without it over a Ray of this machine alone. With `ray` several `train.seeds` and
    `defenses` are trained side by side there too."""
    at_once: Count | None = None
    """How many are trained as one program, at most; 1 for one after the other. By default 16 on a CPU, 1 where there
    are convolutions, and elsewhere what is fastest, which first steps tell."""

    @field_validator("models")
    @classmethod
    def _come_in_pairs(cls, models: int) -> int:
        if models % 2:
            raise fault(f"{models} reference models are an odd number", remedy=f"use {models + 1}: they come in pairs")
        return models
