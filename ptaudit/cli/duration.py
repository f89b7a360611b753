"""Durations as people type them: `90s`, `5m`, `1h30m`."""

from __future__ import annotations

import re

from ptaudit.errors import PtauditError

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "": 1.0}
_FORM = re.compile(r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s?)?", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """Seconds; a bare number is seconds.

    Raises:
        PtauditError: not a duration, or not above zero.
    """
    match = _FORM.fullmatch(text.strip())
    parts = match.groupdict() if match else {}
    seconds = sum(float(amount) * _SECONDS[unit] for unit, amount in parts.items() if amount)
    if seconds <= 0:
        raise PtauditError(f"{text!r} is not a duration", remedy="write e.g. 90s, 5m or 1h30m")
    return seconds
