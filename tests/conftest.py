"""What tests of several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(min(torch.get_num_threads(), 2))


@pytest.fixture
def real_data() -> Path:
    """The folder with the real data sets; the test is skipped where it is absent."""
    folder = Path(os.environ.get("PTAUDIT_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (set PTAUDIT_DATA)")
    return folder
