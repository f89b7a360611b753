"""Records and runs of the room before this one are used here too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from training_case import blobs, fixed_weights, replay, small_net

__all__ = ["blobs", "fixed_weights", "replay", "small_net"]
