"""Whose code raised an error: ptaudit's, or a file that the spec names."""

from __future__ import annotations

import traceback


def users_line(error: BaseException) -> str | None:
    """`file:line` in a file of the spec that raised an error, or called the library that did; None if ptaudit did."""
    from ptaudit.spec.entry import ENTRY_MODULES

    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] == "ptaudit":
            return None
        if module.startswith(ENTRY_MODULES):
            return f"{frame.f_code.co_filename}:{line}"
    return None
