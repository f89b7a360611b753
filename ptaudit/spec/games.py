"""The `games` of the audit: one class for each game that has settings of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, GetJsonSchemaHandler, Tag, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from ptaudit.spec.base import Count, Label, Part, Text, Whole, fault, nearest, unique
from ptaudit.spec.catalog import CHANNEL, CRITICS, GAMES, NEIGHBOURS

Estimator = Literal["ksg", "gaussian", "sliced", "infonce", "nwj", "mine", "smile"]
Family = Literal["linear", "mlp", "knn"]


class GameSpec(Part):
    """A game that is played; a bare name will do."""

    name: str
    """Which game."""

    needs_encoder: ClassVar[bool] = False
    """Whether it is played on the tokens of `audit.tokens.encoder`; the others need tokens that can be added up."""

    @property
    def title(self) -> str:
        """Name in the tables."""
        return self.name

    @property
    def adversaries(self) -> tuple[str, ...] | None:
        """Those that play it; None for all that the catalog lists."""
        return None


class _Titled(GameSpec):
    id: Label | None = None
    """Name in the tables and gates, without a dot; default the game's name. Needed where a game is played twice."""

    @property
    def title(self) -> str:
        """Name in the tables."""
        return self.id or self.name

    @model_validator(mode="after")
    def _id_is_free(self) -> _Titled:
        if self.id is not None and "." in self.id:
            what = f"the id `{self.id}` of a game has a dot in it"
            raise fault(what, at=("id",), remedy="a gate's metric is `game.metric`: use `-` or `_`")
        if self.id in GAMES and self.id != self.name:
            raise fault(f"the id `{self.id}` is the name of another game", at=("id",), remedy="choose another")
        return self


class IdentityGame(_Titled):
    """`identity`: which record was in the batch?"""

    name: Literal["identity"]
    """Which game."""
    candidates: Annotated[Whole, Field(ge=2)] = 256
    """Records among which the adversary looks for the target."""


class LabelGame(GameSpec):
    """`label`: of which class is a record of the batch?"""

    name: Literal["label"]
    """Which game."""


class MembershipGame(GameSpec):
    """`membership`: was a record trained on?"""

    name: Literal["membership"]
    """Which game."""


class UniquenessGame(GameSpec):
    """`uniqueness`: how much does a record's gradient stand out from those of all others?"""

    name: Literal["uniqueness"]
    """Which game."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class MutualInformationGame(_Titled):
    """`mutual-information`: bits between a record's data features and the gradient of the batch that it is in."""

    name: Literal["mutual-information"]
    """Which game."""
    features: Literal["activations", "input", "label"] = "activations"
    """What stands for the record: the model's own `activations`, the `input` by random projection, or the `label`."""
    estimator: Annotated[
        list[Estimator],
        BeforeValidator(_listed, json_schema_input_type=Estimator | list[Estimator]),
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


class UsableInformationGame(_Titled):
    """`usable-information`: V-information of a record's secret in the gradient of the batch that it is in."""

    name: Literal["usable-information"]
    """Which game."""
    secret: Literal["label", "attribute"] = "label"
    """What is secret about the record: its `label`, or an `attribute` of `data.attributes`."""
    attribute: Text | None = None
    """Which attribute; may be left out where there is one only."""
    family: Annotated[
        list[Family],
        BeforeValidator(_listed, json_schema_input_type=Family | list[Family]),
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
}


def _whole(value: Any) -> Any:
    """A bare name as a mapping; refuses unknown games, and keys of other games by the game's name."""
    value = {"name": value} if isinstance(value, str) else value
    if not isinstance(value, Mapping):
        return value
    name = value.get("name")
    if isinstance(name, str) and name not in GAMES:
        raise fault(f"unknown game `{name}`", at=("name",), remedy=nearest(name, GAMES))
    mine = _CLASSES[name].model_fields if isinstance(name, str) else value
    for key in value:
        if key not in mine and any(key in other.model_fields for other in _CLASSES.values()):
            raise fault(f"`{key}` is not used by game `{name}`", at=(key,), remedy="remove it")
    return value


def _name_of(value: Any) -> str | None:
    name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
    return f"<{name}>" if isinstance(name, str) else None


class _BareNameToo:
    """For the JSON Schema: a game with settings, or its name."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "enum": list(GAMES)}, handler(core)]}


Game = Annotated[
    Annotated[IdentityGame, Tag("<identity>")]
    | Annotated[LabelGame, Tag("<label>")]
    | Annotated[MembershipGame, Tag("<membership>")]
    | Annotated[MutualInformationGame, Tag("<mutual-information>")]
    | Annotated[UsableInformationGame, Tag("<usable-information>")]
    | Annotated[UniquenessGame, Tag("<uniqueness>")],
    Discriminator(_name_of, custom_error_type="choice", custom_error_message="the name of a game, or {name: ...}"),
    BeforeValidator(_whole),
    _BareNameToo(),
]
"""Any of the games."""


def make_game(name: str) -> Game:
    """A game with its defaults."""
    game: Game = _CLASSES[name](name=name)  # type: ignore[assignment]
    return game
