"""The `games` of the audit: one class for each game that has settings of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, GetJsonSchemaHandler, Tag, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from ptaudit.spec.base import Count, Text, Whole, by_name, fault, name_tag, unique
from ptaudit.spec.catalog import CHANNEL, CRITICS, NEIGHBOURS
from ptaudit.spec.inference import (
    AttributeGame,
    DistributionGame,
    LocalisationGame,
    PropertyGame,
    UserGame,
    listed,
)
from ptaudit.spec.play import GameSpec, Titled

Estimator = Literal["ksg", "gaussian", "sliced", "infonce", "nwj", "mine", "smile"]
Family = Literal["linear", "mlp", "knn"]


class IdentityGame(Titled):
    """`identity`: which record was in the batch?"""

    name: Literal["identity"]
    """Which game."""
    candidates: Annotated[Whole, Field(ge=2)] = 256
    """Records among which the adversary looks for the target."""
    knows: Literal["none", "others", "pool"] = "none"
    """What the adversary knows of the other records of a batch: `none`; the `others` themselves, the worst case that
    differential privacy is made for; the `pool` of all records that batches are drawn from, but not which were."""

    fit_batches: Annotated[Count, Field(ge=512)] = 1024
    """Batches of its own records on which the adversary chooses and calibrates; more tell more, and take longer."""

    noise_half: bool = False
    """Whether rows at their ceiling are also played under noise, until half of it is left: seven more games each."""

    def idle(self) -> Mapping[str, str]:
        """What decoding from the pool has no use for."""
        pool = "`knows: pool`"
        return {"fit_batches": pool, "noise_half": pool} if self.knows == "pool" else {}

    uses_held_out: ClassVar[bool] = True

    @property
    def adversaries(self) -> tuple[str, ...]:
        """That of its knowledge, and the closed form where there is one."""
        by = {"none": ("combined", "exact"), "others": ("likelihood-ratio", "exact"), "pool": ("least-squares",)}
        return by[self.knows]


class LabelGame(GameSpec):
    """`label`: of which class is a record of the batch?"""

    name: Literal["label"]
    """Which game."""
    uses_held_out: ClassVar[bool] = True
    fit_batches: Annotated[Count, Field(ge=512)] = 1024
    """Most batches of its own records that the adversary learns from; more tell more, and take longer."""


class MembershipGame(GameSpec):
    """`membership`: was a record trained on?"""

    name: Literal["membership"]
    """Which game."""
    uses_held_out: ClassVar[bool] = True


class UniquenessGame(GameSpec):
    """`uniqueness`: how much does a record's gradient stand out from those of all others?"""

    name: Literal["uniqueness"]
    """Which game."""


class MutualInformationGame(Titled):
    """`mutual-information`: bits between a record's data features and the gradient of the batch that it is in."""

    name: Literal["mutual-information"]
    """Which game."""
    features: Literal["activations", "input", "label"] = "activations"
    """What stands for the record: the model's own `activations`, the `input` by random projection, or the `label`."""
    estimator: Annotated[
        list[Estimator],
        BeforeValidator(listed, json_schema_input_type=Estimator | list[Estimator]),
        Field(min_length=1),
    ] = ["infonce"]  # noqa: RUF012 - pydantic copies defaults
    """One estimator or several; `infonce`, `nwj` and `sliced` are lower bounds."""
    critic: Literal["separable", "joint"] = "separable"
    """Network of the estimators that train one: a product of embeddings, or one network of both sides."""
    neighbours: Count = 3
    """Neighbours that the k-NN estimators look at."""

    needs_encoder: ClassVar[bool] = True

    @property
    def adversaries(self) -> tuple[str, ...]:
        """Its estimators; and the bound of the noise, where a view has some."""
        return (*self.estimator, CHANNEL)

    def idle(self) -> Mapping[str, str]:
        """Settings of estimators that are not asked."""
        asked = ", ".join(f"`{name}`" for name in self.estimator)
        found = {} if set(self.estimator) & set(CRITICS) else {"critic": asked}
        return found if set(self.estimator) & set(NEIGHBOURS) else {**found, "neighbours": asked}

    @model_validator(mode="after")
    def _estimators_differ(self) -> MutualInformationGame:
        unique(self.estimator, "estimator", lambda index: ("estimator", index))
        return self


class UsableInformationGame(Titled):
    """`usable-information`: V-information of a record's secret in the gradient of the batch that it is in."""

    name: Literal["usable-information"]
    """Which game."""
    secret: Literal["label", "attribute"] = "label"
    """What is secret about the record: its `label`, or an `attribute` of `data.attributes`."""
    attribute: Text | None = None
    """Which attribute; may be left out where there is one only."""
    family: Annotated[
        list[Family],
        BeforeValidator(listed, json_schema_input_type=Family | list[Family]),
        Field(min_length=1),
    ] = ["linear"]  # noqa: RUF012 - pydantic copies defaults
    """One family of predictors or several: `linear`, `mlp`, `knn`."""

    needs_encoder: ClassVar[bool] = True

    @property
    def adversaries(self) -> tuple[str, ...]:
        """Its families."""
        return tuple(self.family)

    def idle(self) -> Mapping[str, str]:
        """`attribute`, where the label is secret."""
        return {} if self.secret == "attribute" else {"attribute": "`secret: label`"}

    @model_validator(mode="after")
    def _families_differ(self) -> UsableInformationGame:
        unique(self.family, "family", lambda index: ("family", index))
        return self


_CLASSES: dict[str, type[GameSpec]] = {
    "identity": IdentityGame,
    "label": LabelGame,
    "membership": MembershipGame,
    "mutual-information": MutualInformationGame,
    "usable-information": UsableInformationGame,
    "uniqueness": UniquenessGame,
    "attribute": AttributeGame,
    "property": PropertyGame,
    "distribution": DistributionGame,
    "user": UserGame,
    "localisation": LocalisationGame,
}


def _whole(value: Any) -> Any:
    """A bare name as a mapping; refuses what is no game."""
    value = {"name": value} if isinstance(value, str) else value
    if isinstance(value, Mapping) and value.get("name") == "canary":
        raise fault("`canary` is played where the spec has `canaries`", at=("name",), remedy="add canaries: {...}")
    return by_name(value, _CLASSES, "game")


class _BareNameToo:
    """For the JSON Schema: a game with settings, or its name."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "enum": list(_CLASSES)}, handler(core)]}


Game = Annotated[
    Annotated[IdentityGame, Tag("<identity>")]
    | Annotated[LabelGame, Tag("<label>")]
    | Annotated[MembershipGame, Tag("<membership>")]
    | Annotated[MutualInformationGame, Tag("<mutual-information>")]
    | Annotated[UsableInformationGame, Tag("<usable-information>")]
    | Annotated[UniquenessGame, Tag("<uniqueness>")]
    | Annotated[AttributeGame, Tag("<attribute>")]
    | Annotated[PropertyGame, Tag("<property>")]
    | Annotated[DistributionGame, Tag("<distribution>")]
    | Annotated[UserGame, Tag("<user>")]
    | Annotated[LocalisationGame, Tag("<localisation>")],
    Discriminator(name_tag, custom_error_type="choice", custom_error_message="the name of a game, or {name: ...}"),
    BeforeValidator(_whole),
    _BareNameToo(),
]
"""Any of the games."""


class CanaryGame(GameSpec):
    """`canary`: what the records that `canaries` made give away; played where the spec has them."""

    name: Literal["canary"] = "canary"
    """Which game."""


def make_game(name: str) -> Game:
    """A game with its defaults."""
    game: Game = _CLASSES[name](name=name)  # type: ignore[assignment]
    return game
