"""Records and runs of other rooms are used here too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
sys.path.insert(0, str(Path(__file__).parents[1] / "views"))

from training_case import blobs, fixed_weights, replay, small_net

__all__ = ["blobs", "fixed_weights", "replay", "small_net"]
