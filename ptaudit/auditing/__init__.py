"""The audit end to end: spec, replay, tokens, views, games, tables, gates."""

from ptaudit.auditing.check import check
from ptaudit.auditing.run import AuditResult, audit
from ptaudit.report.check import CheckReport

__all__ = ["AuditResult", "CheckReport", "audit", "check"]
