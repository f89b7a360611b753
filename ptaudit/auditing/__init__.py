"""The audit end to end: spec, replay, tokens, views, games, tables, gates."""

from ptaudit.auditing.check import CheckReport, check
from ptaudit.auditing.result import AuditResult
from ptaudit.auditing.run import audit

__all__ = ["AuditResult", "CheckReport", "audit", "check"]
