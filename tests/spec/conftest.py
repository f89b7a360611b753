from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

MINIMAL = """\
version: 1
name: small
model: {entry: net.py:net}
data: {source: sklearn:digits}
train: {epochs: 3}
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a spec (default: the minimal one, plus `extra` lines) beside a model file; returns its path."""

    def write(text: str = MINIMAL, extra: str = "", name: str = "spec.yaml") -> Path:
        (tmp_path / "net.py").write_text("def net():\n    return None\n")
        path = tmp_path / name
        path.write_text(text + extra, encoding="utf-8")
        return path

    return write
