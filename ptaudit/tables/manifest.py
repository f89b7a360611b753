"""What a manifest may hold: who reads a run folder asks its entries for no more than is checked here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ptaudit.errors import RunFolderError
from ptaudit.tables.formats import read_json

Number = float | None
"""JSON knows no NaN: a number that does not exist is null."""

Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Checkpoint(_Part):
    epoch: Count
    sha256: str


class _Defense(_Part):
    title: str
    name: str
    parameter: str
    strength: Number
    train_accuracy: Number
    held_out_accuracy: Number
    held_out_loss: Number
    epsilon: Number
    status: str


class _Manifest(_Part):
    """The entries that are used; every one may be absent, and others may be there."""

    name: str = ""
    table_version: int = 0
    device: str = ""
    status: str = ""
    seeds: list[Count] = []
    records: Count = 0
    members: Count = 0
    held_out: Count = 0
    held_out_majority: Number = None
    split_sha256: str = ""
    data_sha256: str = ""
    code_sha256: dict[str, str] = {}
    threat_model: list[str] = []
    warnings: list[str] = []
    alarms: list[str] = []
    checkpoints: list[_Checkpoint] = []
    defenses: list[_Defense] = []


def read_manifest(path: Path) -> dict[str, Any]:
    """The content of `manifest.json`; empty where there is none.

    Raises:
        RunFolderError: it is no JSON object, or an entry is not what it is used for.
    """
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise RunFolderError("not a JSON object", where=str(path))
    try:
        _Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        entry = ".".join(map(str, first["loc"]))
        remedy = "write or fetch the run again"
        raise RunFolderError(f"{entry}: {first['msg']}", where=str(path), remedy=remedy) from error
    return content
