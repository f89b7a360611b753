"""`dynamics`: when, during training, does which record become exposed, and can it be foretold?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from ptaudit.spec.attack_classes import AttackClass
from ptaudit.spec.base import fault
from ptaudit.spec.catalog import TRANSITIONS
from ptaudit.spec.game import GameSpec, Loc

if TYPE_CHECKING:
    from ptaudit.spec.model import Spec

Attack = Literal["bavaria-offline", "lira-offline", "lira-offline-global", "calibrated-loss"]
"""Those whose scores know nothing of who was trained on, so that chance can be told from knowledge."""

ATTACKS: tuple[Attack, ...] = (
    "bavaria-offline", "lira-offline", "lira-offline-global", "calibrated-loss",
)  # fmt: skip

COUNTED = 64
"""Reference models from which on rates of single records are counted."""

LEAST_MODELS, LEAST_TO_FORETELL = 8, 16
LEAST_EPOCHS = 2

OF_FLEET = (
    "effect", "mean_effect", "largest_effect", "effect_gain", "advantage", "fpr", "score_without",
)  # fmt: skip
OF_RUN = (
    "loss", "mean_loss", "loss_iqr", "loss_fall", "gradient_norm", "mean_gradient_norm", "uniqueness",
)  # fmt: skip
"""What a forecast is made of, by name."""

FORECAST = "forecast"
"""All of them together."""

DEPTH = "prediction_depth"
"""How deep in the audited model a held-out record is decided."""

DIFFICULTIES = ("iteration_learned", "never_learned", "wrong", "loss_without", DEPTH)

Source = Literal["fleet", "run"]
"""Half of the fleet, or the audited run alone."""


def who(source: Source, name: str) -> str:
    """Name in the tables of who foretells."""
    return f"{source}-{name.replace('_', '-')}"


class DynamicsGame(GameSpec):
    """`dynamics`: when, during training, does which record become exposed, and can it be foretold?"""

    name: Literal["dynamics"]
    """Which game."""
    attack: Attack = "bavaria-offline"
    """Whose scores say how exposed a record is."""

    attack_classes: ClassVar[tuple[AttackClass, ...]] = ("membership inference",)
    finds: ClassVar[str] = "exposes as trained on"
    told_by: ClassVar[tuple[str, ...]] = ("exposed",)
    metrics: ClassVar[tuple[str, ...]] = (
        "exposed", "displacement", "encoding_speed", "entropy", "entropy_change", "peak_transition", "already_exposed",
        "forecast_auc", "forecast_precision", "forecast_gain", "forecast_from", "rank_correlation", *TRANSITIONS,
    )  # fmt: skip
    players: ClassVar[tuple[str, ...]] = (
        *ATTACKS,
        *(who("fleet", name) for name in (FORECAST, *OF_FLEET)),
        *(who("run", name) for name in (FORECAST, *OF_RUN)),
        "agreement",
        "attainable",
        *(name.replace("_", "-") for name in DIFFICULTIES),
    )
    uses_fleet: ClassVar[bool] = True
    follows_fleet: ClassVar[bool] = True
    uses_held_out: ClassVar[bool] = True
    scores_records: ClassVar[bool] = True
    gated_over: ClassVar[str] = "joint"

    @property
    def on_views(self) -> bool:
        """It is about the models."""
        return False

    def threat(self, spec: Spec) -> str:
        """What is followed, and how finely."""
        models = 0 if spec.fleet is None else spec.fleet.models
        few = f"; rates of single records are Gaussian fits, as there are fewer than {COUNTED}" * (models < COUNTED)
        return f"Dynamics: follows every record through {models} models trained alike, by {self.attack}{few}."

    def check_spec(self, at: Loc, spec: Spec) -> None:
        """Refuses too few models or epochs."""
        models = 0 if spec.fleet is None else spec.fleet.models
        if models < LEAST_MODELS:
            what = f"`dynamics` needs {LEAST_MODELS} reference models, there are {models}"
            raise fault(what, at=at, remedy="add `fleet: {models: 32}`")
        if len(spec.audited_epochs) < LEAST_EPOCHS:
            what = f"`dynamics` needs {LEAST_EPOCHS} audited epochs, there is one"
            raise fault(what, at=at, remedy="say audit.epochs: all")
