from __future__ import annotations

import importlib

import pytest

from ptaudit.gradients.rules import base

WITH_GHOSTS = ("linear", "conv", "conv_transpose", "projection")
"""Rules that take a norm by the cheaper of two ways."""


@pytest.fixture(params=["cheaper", "ghost", "explicit"])
def way(request, monkeypatch):
    """Both ways to a norm, whichever is cheaper for these shapes; one record at a time where both are forced."""
    if request.param != "cheaper":
        for name in WITH_GHOSTS:
            rules = importlib.import_module(f"ptaudit.gradients.rules.{name}")
            monkeypatch.setattr(rules, "ghost_is_cheaper", lambda *_: request.param == "ghost")
        monkeypatch.setattr(base, "MEMORY", 1)
    return request.param
