"""What is audited: YAML to a validated, frozen spec. Nothing in this room imports torch."""

from ptaudit.spec.entry import Entry, parse_entry
from ptaudit.spec.load import dump, load
from ptaudit.spec.model import (
    AuditSpec,
    DataSpec,
    DefenseSpec,
    GameSpec,
    GateSpec,
    ModelSpec,
    OptimizerSpec,
    ReplaySpec,
    ScheduleSpec,
    Spec,
    TokenSpec,
    TrainSpec,
    ViewSpec,
)
from ptaudit.spec.schema import json_schema
from ptaudit.spec.template import write_template

__all__ = [
    "AuditSpec",
    "DataSpec",
    "DefenseSpec",
    "Entry",
    "GameSpec",
    "GateSpec",
    "ModelSpec",
    "OptimizerSpec",
    "ReplaySpec",
    "ScheduleSpec",
    "Spec",
    "TokenSpec",
    "TrainSpec",
    "ViewSpec",
    "dump",
    "json_schema",
    "load",
    "parse_entry",
    "write_template",
]
