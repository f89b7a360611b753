"""Making canaries: records as exposed as can be, so that an audit is about the worst case and not the average one."""

from ptaudit.canaries.gradient_sensitivity import GradientSensitivity
from ptaudit.canaries.hypothesis_pair import HypothesisPair, ask
from ptaudit.canaries.make import Canaries, make

__all__ = ["Canaries", "GradientSensitivity", "HypothesisPair", "ask", "make"]
