"""Making canaries: records as exposed as can be, so that an audit is about the worst case and not the average one."""

from ptaudit.canaries.make import Canaries, make
from ptaudit.canaries.pull import Pull
from ptaudit.canaries.question import Question, ask

__all__ = ["Canaries", "Pull", "Question", "ask", "make"]
