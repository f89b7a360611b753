"""Leakage in the user's own training loop, while it trains: `with ptaudit.Monitor(model, loader) as monitor: ...`."""

from ptaudit.monitor.monitor import Monitor, StopTraining

__all__ = ["Monitor", "StopTraining"]
