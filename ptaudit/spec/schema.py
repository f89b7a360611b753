"""JSON Schema of the spec, for editors and other tools."""

from __future__ import annotations

from typing import Any

from ptaudit.spec.model import Spec


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a spec file, with a description of every key.

    It knows keys, types and ranges. What depends on several keys, on files or on the environment is checked by `load`.
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Spec.model_json_schema()}
