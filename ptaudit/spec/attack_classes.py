"""Classes of attacks on models that were trained on personal data, as regulators name them.

EDPB Opinion 28/2024, on when a model is anonymous, asks for tests against: attribute and membership inference;
exfiltration; regurgitation of training data; model inversion; reconstruction attacks. A game names those that it plays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AttackClass = Literal[
    "membership inference",
    "attribute inference",
    "reconstruction",
    "model inversion",
    "exfiltration",
    "regurgitation",
]


@dataclass(frozen=True)
class About:
    """A class of attacks.

    Attributes:
        question: what it asks, in plain words.
        generative: whether it is about models that write or draw, and not about those that answer with a class.
        no_game: what is said where no game plays it.
    """

    question: str
    generative: bool = False
    no_game: str = "no game of this release plays it"


ATTACK_CLASSES: dict[AttackClass, About] = {
    "membership inference": About("can somebody tell whose record was used?"),
    "attribute inference": About("can somebody tell something sensitive of a record from what is shared?"),
    "reconstruction": About("can somebody rebuild records from what is shared?"),
    "model inversion": About(
        "can somebody rebuild typical inputs of a class or person from the model alone?",
        no_game="ptaudit has no attack that rebuilds inputs from the weights alone",
    ),
    "exfiltration": About(
        "can somebody draw stored records out of the model by asking it?",
        generative=True,
        no_game="ptaudit has no attack on what a generating model answers",
    ),
    "regurgitation": About(
        "does the model repeat records that it was trained on?",
        generative=True,
        no_game="ptaudit has no attack on what a generating model answers",
    ),
}
"""Every class, in the order of reports."""
