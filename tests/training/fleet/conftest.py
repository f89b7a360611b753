from fleet_case import fleet_context

__all__ = ["fleet_context"]
