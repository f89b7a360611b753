"""The `audit` and `gates` parts of the spec."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Annotated, Any, Literal

from pydantic import Field, Tag, field_validator, model_validator

from ptaudit.errors import SpecError
from ptaudit.spec.base import Count, Flag, Label, Number, OrList, Part, Seed, Text, Whole, choice, fault, unique
from ptaudit.spec.catalog import LIMITS, MODEL_VIEW, NO_DEFENSE, Limit
from ptaudit.spec.defenses import UNDEFENDED, Defense
from ptaudit.spec.game import GameSpec, Titled
from ptaudit.spec.registry import DEFENSES, GAMES

Epoch = Annotated[Whole, Field(ge=0)]
Patterns = Annotated[list[Text], Field(min_length=1)]


class TokenSpec(Part):
    """The embeddings of the gradients."""

    dim: Annotated[Whole, Field(ge=16, le=1024)] = 256
    """Numbers in the sketch of a layer's gradient: a perfect square from 16 to 1024."""
    encoder: Literal["sketch", "autoencoder", "transformer"] = "sketch"
    """What the tokens of mutual-information and usable-information are: the `sketch` itself, or what an `autoencoder`
    or `transformer` makes of it, trained on half of the audited records and used on the other half."""

    @field_validator("dim")
    @classmethod
    def _dim_is_square(cls, dim: int) -> int:
        if isqrt(dim) ** 2 != dim:
            raise fault(f"expected a perfect square, given {dim}", remedy=f"the nearest one is {round(dim**0.5) ** 2}")
        return dim


class UpdateSpec(Part):
    """A federated update: the change of the weights after some steps on the batch, in the place of its gradient."""

    local_steps: Count
    """Steps of gradient descent on the whole batch (E)."""
    lr: Annotated[Number, Field(gt=0)]
    """Their learning rate."""


class ViewSpec(Part):
    """What an adversary sees."""

    name: Label
    """Name in the tables; `model` is taken by the adversary who holds the trained weights."""
    batch_size: Annotated[Count, OrList()]
    """Records whose gradients are summed (m). A list makes a view for each: NAME-m1, NAME-m8, ..."""
    rounds: Annotated[Count, OrList()] = 1
    """Batches in a row that contain the same target. A list makes a view for each: NAME-r1, NAME-r4, ..."""
    fixed_batch: Annotated[Flag, OrList()] = False
    """Whether all rounds show the same batch, as of a client who always sends it; needs noise that is drawn anew."""
    users: Annotated[Count, OrList()] = 1
    """Secure aggregation: what is seen is the sum over so many batches of `batch_size` records. A list makes a view for
    each: NAME-u1, ..."""
    layers: Patterns | None = None
    """Glob patterns of the layers that are seen; without it, all that are audited."""
    defense: Defense | None = None
    """What is done to the gradients before they are seen; the training stays as it was."""
    update: UpdateSpec | None = None
    """Show a federated update in the place of a gradient."""

    @property
    def records(self) -> int:
        """Records in what is seen at once."""
        return self.batch_size * self.users

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name == MODEL_VIEW:
            raise fault(f"the view name `{name}` is taken", remedy="it stands for the trained model; choose another")
        return name

    @model_validator(mode="after")
    def _parts_fit(self) -> ViewSpec:
        defense = self.defense or UNDEFENDED
        if self.fixed_batch and self.rounds == 1:
            raise fault("`fixed_batch` is about several rounds", at=("fixed_batch",), remedy="set rounds, or remove it")
        if self.fixed_batch and not defense.changes:
            what = f"{self.rounds} rounds of the same batch show the same thing {self.rounds} times"
            random = ", ".join(name for name, part in DEFENSES.classes.items() if part.stochastic)
            remedy = f"give the view a defense with noise ({random}), or remove fixed_batch"
            raise fault(what, at=("fixed_batch",), remedy=remedy)
        if self.update is not None and defense.acts_on == "sum":
            what = f"`{defense.name}` clips the gradients of single records, which a federated update does not show"
            raise fault(what, at=("update",), remedy="remove update or the defense")
        return self

    @property
    def noisy(self) -> bool:
        """Whether noise of known size is on what it shows."""
        return self.defense is not None and self.defense.noisy

    @property
    def linear(self) -> bool:
        """Whether what is seen of a batch is the sum of what is seen of its records (and noise)."""
        return self.update is None and (self.defense is None or self.defense.acts_on == "sum")


class Every(Part):
    """Epochs at a regular distance."""

    every: Count
    """Audit epoch 0, every n-th epoch and the last one."""


class LiveSpec(Part):
    """Watching the training while it runs: rolling leakage of its own batches."""

    budget: Annotated[Number, Field(gt=0, le=1)] = 0.1
    """Share of the bare training's time that looking may take; what is captured depends on what it is measured to
    cost."""


def _default_games() -> list[GameSpec]:
    return [GAMES[name](name=name) for name in ("identity", "label", "membership")]


def _default_views() -> list[ViewSpec]:
    return [ViewSpec(name="record", batch_size=1), ViewSpec(name="batch-32", batch_size=32)]


class AuditSpec(Part):
    """What is measured, on which records, when."""

    records: Annotated[
        Annotated[Literal["all"], Tag("<text>")] | Annotated[Count, Tag("<number>")],
        choice("`all` or a whole number", "all"),
    ] = "all"
    """Members that are audited, and as many held-out records: `all` or how many."""
    epochs: Annotated[
        Annotated[Literal["all"], Tag("<text>")]
        | Annotated[Every, Tag("<map>")]
        | Annotated[list[Epoch], Field(min_length=1), Tag("<list>")],
        choice("`all`, {every: n} or a list of epochs", "all"),
    ] = "all"
    """When: `all`, `{every: n}` or a list. Epoch 0 is before training."""
    layers: Annotated[
        Annotated[Literal["all"], Tag("<text>")] | Annotated[Patterns, Tag("<list>")],
        choice("`all` or a list of patterns", "all"),
    ] = "all"
    """Which layers: `all` or glob patterns of their paths, e.g. `[head.*]`."""
    tokens: TokenSpec = Field(default_factory=TokenSpec)
    """The embeddings of the gradients."""
    views: list[ViewSpec] = Field(default_factory=_default_views)
    """What adversaries see; default `record` (one record) and `batch-32` (the sum over 32)."""
    games: Annotated[list[Annotated[GameSpec, GAMES]], Field(min_length=1)] = Field(default_factory=_default_games)
    """The games that are played; default identity, label and membership."""
    live: LiveSpec | None = None
    """Also watch the training while it runs; default no. The tables stay the same."""
    seed: Seed = 0
    """Seed of sketches, games and intervals."""

    def audited_epochs(self, total: int) -> tuple[int, ...]:
        """The audited epochs of a run of `total` epochs, ascending; 0 is before training.

        `{every: n}` means 0, n, 2n, ... and always the last one, whose weights are the ones that are kept.

        Raises:
            SpecError: if a listed epoch is beyond the last.
        """
        if self.epochs == "all":
            return tuple(range(total + 1))
        if isinstance(self.epochs, Every):
            return tuple(sorted({*range(0, total + 1, self.epochs.every), total}))
        beyond = [epoch for epoch in self.epochs if epoch > total]
        if beyond:
            raise SpecError(f"epoch {beyond[0]} is beyond the last, {total}", where="audit.epochs")
        return tuple(sorted(set(self.epochs)))

    @model_validator(mode="after")
    def _parts_fit(self) -> AuditSpec:
        unique((view.name for view in self.views), "view name", lambda index: ("views", index, "name"))
        for index, game in enumerate(self.games):
            if isinstance(game, Titled) and game.id in GAMES and game.id != game.name:
                what = f"the id `{game.id}` is the name of another game"
                raise fault(what, at=("games", index, "id"), remedy="choose another")
        titles = [game.title for game in self.games]
        twice = [game for game in self.games if titles.count(game.title) > 1]
        remedy = "give each an id of its own" if all(isinstance(game, Titled) for game in twice) else "remove one"
        unique(titles, "game", lambda index: ("games", index), remedy)
        on_views = [game.name for game in self.games if game.on_views]
        if on_views and not self.views:
            raise fault(
                f"game `{on_views[0]}` needs a view",
                at=("views",),
                remedy="name one, or leave `views` out for the default ones",
            )
        for index, view in enumerate(self.views):
            if self.tokens.encoder != "sketch" and not view.linear:
                what = (
                    f"view `{view.name}` is no sum over its records, which `encoder: {self.tokens.encoder}` learns from"
                )
                raise fault(what, at=("views", index), remedy="use encoder: sketch, or a view without that")
        if self.tokens.encoder != "sketch" and not any(game.needs_encoder for game in self.games):
            users = " and ".join(name for name, game in GAMES.items() if game.needs_encoder)
            what = f"`encoder: {self.tokens.encoder}` is not used: only {users} play on learned tokens"
            raise fault(what, at=("tokens", "encoder"), remedy="add one of these games, or remove it")
        return self


class GateSpec(Part):
    """A threshold on the leakage: `max` on the number itself, `max_share` on its part of the ceiling, `max_increase` on
    its change against a baseline run."""

    id: Label
    """Name in verdicts and reports."""
    metric: Text
    """`game.metric`, e.g. `identity.bits` or `membership.auc`; a game that has an `id` goes by it."""
    view: Text
    """Name of a view; `model` for membership."""
    over: Text = "layers"
    """Which rows: `layers` (every single layer), `joint` (all layers together), `all`, or a glob pattern of layers.
    Default `layers`; `joint` for membership and canaries, which are about the model as a whole."""
    epoch: Annotated[
        Annotated[Literal["last", "first", "all", "max"], Tag("<text>")] | Annotated[Epoch, Tag("<number>")],
        choice("`last`, `first`, `all`, `max` or an audited epoch", "last", "first", "all", "max"),
    ] = "last"
    """Which audited epochs: `last`, `first`, `all`, `max` (the worst one) or a number."""
    adversary: Text | None = None
    """Only this adversary; without it, every one that plays the game, and of estimators the first of the spec."""
    knows: Literal["none", "others", "pool", "rest", "batch_norm"] | None = None
    """Only adversaries who know this of the records: `none`, the `others` of the batch, the `pool` that it is drawn
    from, the `rest` of the record, its `batch_norm` statistics. Without it, all of them."""
    trained_with: Text = NO_DEFENSE
    """Which training: `none`, as the spec has it; or that with one of `defenses`, by its title, e.g. `prune-0.9`."""
    max: Number | None = None
    """Largest value allowed."""
    max_share: Annotated[Number, Field(ge=0, le=1)] | None = None
    """Largest share of the ceiling allowed, 0 to 1: bits depend on how many candidates there are, shares hardly do."""
    max_increase: Number | None = None
    """Largest increase over the baseline run allowed."""
    needs: Literal["mechanism"] | None = None
    """`mechanism`: passes only on rows that noise of known size stands behind; without such noise a small number says
    that this adversary found little, and the gate is inconclusive."""
    same_weights: Flag = False
    """The baseline audits the very same trained weights, so retraining adds no noise (only with `max_increase`)."""

    @property
    def game(self) -> str:
        """Game of the metric, e.g. `membership` of `membership.tpr_at_fpr_0.01`."""
        return self.metric.partition(".")[0]

    @property
    def measure(self) -> str:
        """The metric as the tables name it, e.g. `tpr_at_fpr_0.01`."""
        return self.metric.partition(".")[2]

    @property
    def kind(self) -> Limit:
        """Which of the three limits it has."""
        return next((kind for kind in LIMITS if getattr(self, kind) is not None), LIMITS[0])

    @property
    def limit(self) -> float:
        """The limit: on a number, its share of the ceiling, or its increase."""
        return float(getattr(self, self.kind))

    def idle(self) -> Mapping[str, str]:
        """`same_weights`, for a gate without a baseline."""
        return {"same_weights": f"a gate on `{self.kind}`"} if self.max_increase is None else {}

    @model_validator(mode="before")
    @classmethod
    def _default_rows(cls, values: Any) -> Any:
        if isinstance(values, dict) and "over" not in values:
            game = GAMES.get(str(values.get("metric")).partition(".")[0])
            return values if game is None else values | {"over": game.gated_over}
        return values

    @model_validator(mode="after")
    def _parts_fit(self) -> GateSpec:
        if sum(getattr(self, kind) is not None for kind in LIMITS) != 1:
            raise fault(f"gate `{self.id}` needs exactly one of `max`, `max_share` and `max_increase`")
        return self
