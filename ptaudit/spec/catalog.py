"""What the package can measure, by name: known without torch, so that a gate is checked before training starts."""

from __future__ import annotations

from typing import Literal, get_args

Limit = Literal["max", "max_share", "max_increase"]
LIMITS: tuple[Limit, ...] = get_args(Limit)
"""What a gate may limit, of which it limits one: a number, its share of its ceiling, its increase over a baseline."""

MODEL_VIEW = "model"
"""The view of an adversary who holds the trained weights; it needs no entry in the spec."""

JOINT = "*"
"""Name of the row that stands for all layers of a view jointly."""

NOISE_HALF = "noise_half"
"""Metric of the identity game: the noise at which half of the ceiling is left, larger where more leaks; see
`tables.ranking`."""

REGIONS = ("hidden", "exposed", "inverted", "conspicuous")
"""Regions of the plane of false-positive and true-positive rates: seldom called a member; called one where it is one
alone; called one where it is none; called one whether it is or not."""

TRANSITIONS = {f"{start}_to_{end}": (start, end) for start in REGIONS for end in REGIONS}
"""Metrics of the game of dynamics: shares of records that go from a region to a region."""

NO_DEFENSE = "none"
"""`trained_with` of the training as the spec has it, without any of `defenses`."""

CHANNEL = "gaussian-channel"
"""The upper bound on mutual information that known noise gives."""

OF_MEMBERS, OF_OTHERS = ", member", ", held out"
"""What follows an attack in the name of its scores: of records that were trained on, and of those that were not."""
FIELD, GUESSED_FIELD = "/field ", "/guessed field "
"""What follows a view and an attack in the name of a score of one column of a table, and of what a guess gets of it."""
