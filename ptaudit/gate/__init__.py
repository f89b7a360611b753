"""Gates: from a table and a threshold to pass, fail or inconclusive. Needs the tables only."""

from ptaudit.gate.advice import reachable
from ptaudit.gate.cases import select
from ptaudit.gate.decide import decide, decide_each, exit_code
from ptaudit.tables.verdict import Verdict

__all__ = ["Verdict", "decide", "decide_each", "exit_code", "reachable", "select"]
