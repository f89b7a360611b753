"""The audit end to end: spec, replay, tokens, views, games, tables, gates."""

from ptaudit.pipeline.check import CheckReport, check
from ptaudit.pipeline.result import AuditResult
from ptaudit.pipeline.run import audit

__all__ = ["AuditResult", "CheckReport", "audit", "check"]
