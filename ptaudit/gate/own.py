"""The gates that a run was made with, from its resolved spec alone: its model and data need not be on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from ptaudit.errors import PtauditError, SpecError
from ptaudit.spec.audit import GateSpec
from ptaudit.spec.document import parse


def own_gates(spec_text: str, where: str) -> Sequence[GateSpec]:
    """The gates of a resolved spec.

    Args:
        spec_text: the spec; empty where there is none.
        where: its file, for errors.

    Raises:
        PtauditError: they are malformed.
    """
    try:
        loaded = parse(spec_text, "spec.resolved.yaml").values or {}
        return TypeAdapter(tuple[GateSpec, ...]).validate_python(loaded.get("gates") or ())
    except (SpecError, ValidationError, AttributeError) as error:
        said = str(error).splitlines()[0]
        raise PtauditError(f"its gates cannot be read: {said}", where=where, remedy="use --spec SPEC") from error
