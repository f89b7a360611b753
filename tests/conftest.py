"""What tests of several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

# The models are small, tests run side by side, and tables are the same byte for byte only at one number of threads.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def real_data() -> Path:
    """The folder with the real data sets; the test is skipped where it is absent."""
    folder = Path(os.environ.get("PTAUDIT_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (set PTAUDIT_DATA)")
    return folder
