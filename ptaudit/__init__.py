"""ptaudit audits what a PyTorch training run gives away about its training data.

The Python face; nothing here imports torch before it is used:

    run = ptaudit.audit("spec.yaml")                             # the same as the command; tables as DataFrames
    with ptaudit.Monitor(model, loader) as monitor: ...           # around a training loop: leakage while it trains
    ptaudit.estimate.identity_bits(tokens, batch_size=32)        # bits that a batch gives away about its records
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptaudit import estimate
    from ptaudit.auditing import AuditResult, audit
    from ptaudit.monitor import Monitor, StopTraining

# Threads that spin while they wait slow a busy machine down a hundredfold. Counts only before torch starts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = ["AuditResult", "Monitor", "StopTraining", "__version__", "audit", "estimate"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "estimate":
        return importlib.import_module("ptaudit.estimate")
    if name in ("audit", "AuditResult"):
        return getattr(importlib.import_module("ptaudit.auditing"), name)
    if name in ("Monitor", "StopTraining"):
        return getattr(importlib.import_module("ptaudit.monitor"), name)
    raise AttributeError(f"module 'ptaudit' has no attribute {name!r}")
