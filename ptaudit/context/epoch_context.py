"""One audited epoch as the games find it, and how what they find becomes rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ptaudit.context.layer_patterns import (
    audited,
    shared,
)
from ptaudit.context.samples import Samples
from ptaudit.context.session import (
    Session,
)
from ptaudit.gradients import RecordGradients
from ptaudit.gradients.batches import CELLS
from ptaudit.gradients.layers import LayerInfo
from ptaudit.sketches.features import Kind, features
from ptaudit.sketches.reader import TokenReader
from ptaudit.sketches.tokens import Tokens
from ptaudit.spec.catalog import GAMES, NO_DEFENSE, NOISE_HALF
from ptaudit.spec.model import GameSpec
from ptaudit.stats.bootstrap import of_low_rank
from ptaudit.stats.estimate import Estimate, inconclusive, not_captured
from ptaudit.tables.mechanism import is_mechanism
from ptaudit.tables.row import JOINT, Row, limit
from ptaudit.tables.status import limited_by_attack
from ptaudit.views import View
from ptaudit.views.joint import mixed, stacked
from ptaudit.views.knowledge import Asked

if TYPE_CHECKING:
    from ptaudit.context.encoding import Encoders

Found = Mapping[str, Sequence[Estimate]]
"""Metric to one estimate for each line."""


@dataclass(frozen=True)
class Line:
    """A row of the tables before it has numbers: a layer, or all jointly."""

    name: str
    index: int
    type: str
    parameters: int


@dataclass(frozen=True)
class Scene:
    """What the games of one epoch are played with.

    Attributes:
        session: what is audited.
        epoch: the epoch.
        step: optimizer steps so far.
        model: the model at this epoch, on its device; to be left as found.
        layers: all layers and how each is read.
        inside: tokens of the audited members.
        outside: tokens of held-out records, where a game needs them.
        reader: reads the tokens of the model.
        before: the state of the model one epoch earlier, where an adversary has those weights.
        encoders: learned encoders, where the spec wants them.
        samples: where scores of single records go, if they are to be kept.
        cells: numbers of the matrices of batches that are looked at together.
        kept: what a game made on one view of this epoch and needs on the next.
    """

    session: Session
    epoch: int
    step: int
    model: nn.Module
    layers: Sequence[LayerInfo]
    inside: Tokens
    outside: Tokens | None
    reader: TokenReader
    before: Mapping[str, Tensor] | None = None
    encoders: Encoders | None = None
    samples: Samples | None = None
    cells: int = CELLS
    kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _gradients: list[list[list[RecordGradients]]] = field(default_factory=list, init=False, repr=False, compare=False)
    _features: dict[Kind, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def seed(self) -> int:
        """Seed of games and intervals."""
        return self.session.seed

    @property
    def targets(self) -> Tensor:
        """Targets of the audited members, where their tokens are."""
        return self.session.batch(self.session.members)[1].to(self.inside.values.device)

    def features(self, kind: Kind) -> Tensor:
        """Data features of the audited members at this epoch, computed once for all views and games."""
        if kind not in self._features:
            inputs, targets = self.session.batch(self.session.members)
            self._features[kind] = features(
                kind,
                self.model,
                inputs,
                targets,
                classes=self.session.records.classes,
                seed=self.seed,
                device=self.session.device,
            )
        return self._features[kind]

    @property
    def gradients(self) -> list[list[RecordGradients]]:
        """The gradients of the audited members as matrices, for each layer of `inside`; read once for all games."""
        if not self._gradients:
            self._gradients.append(self.reader.gradients(*self.session.batch(self.session.members)))
        return self._gradients[0]

    def give(self, gradients: list[list[RecordGradients]]) -> None:
        """Gradients of the audited members that are known already, for each layer of `inside`."""
        self._gradients[:] = [gradients]

    def places(self, view: View) -> list[int]:
        """Captured layers that a view shares, as rows of the tokens."""
        return [i for i, layer in enumerate(self.inside.layers) if shared(view, layer.name)]

    def lines(self, places: Sequence[int]) -> list[Line]:
        """All layers jointly, then each."""
        return [joint_line(self.inside.layers, places), *(layer_line(self.inside.layers[i]) for i in places)]

    def why_not(self, view: View, places: Sequence[int]) -> str:
        """Why nothing can be said of a view; empty if something can."""
        if not places:
            return "no layer of this view is captured"
        if view.clip is not None and not self.inside.complete:
            return "a clipped view needs the gradient of every parameter, and some layers are not captured"
        if self.encoders is not None and not bool(torch.isfinite(self.inside.values[list(places)]).all()):
            return "gradients that are not finite, from which no encoder learns"
        return ""

    def rows(self, view: str, game: GameSpec, adversary: str | Asked, lines: Sequence[Line], found: Found) -> list[Row]:
        """A row for each line and metric; an adversary by name alone knows the view as it is, and no record."""
        who = adversary if isinstance(adversary, Asked) else Asked(adversary)
        rows = [
            Row(
                self.epoch, self.step, line.name, line.index, line.type, line.parameters, view, game.title,
                who.adversary, who.knowledge, who.knows, NO_DEFENSE, metric, e.value, e.lo, e.hi, e.null, e.ceiling,
                limit(metric, e), e.n, e.status, None if e.draws is None else of_low_rank(e.draws, e.n),
            )
            for i, line in enumerate(lines)
            for metric, e in ((metric, _below_ceiling(estimates[i])) for metric, estimates in found.items())
        ]  # fmt: skip
        return [limited_by_attack(row) for row in rows] if self._is_bare(view, game) else rows

    def _is_bare(self, view: str, game: GameSpec) -> bool:
        """Whether a view of the spec has no noise on what a game is about."""
        shown = [each for each in self.session.spec.audit.views if each.name == view]
        return any(not is_mechanism(each.defense and each.defense.plain(), game.plain()) for each in shown)

    def lost(
        self, view: str, game: GameSpec, adversaries: Sequence[str | Asked], lines: Sequence[Line], why: str
    ) -> list[Row]:
        """Rows of a game that could not be played at all."""
        found = the_same(GAMES[game.name][:2], inconclusive(why), len(lines))
        return [row for adversary in adversaries for row in self.rows(view, game, adversary, lines, found)]

    def not_captured(
        self,
        view: str,
        game: GameSpec,
        adversaries: Sequence[str | Asked],
        seen: Callable[[str], bool] = lambda layer: True,
    ) -> list[Row]:
        """Rows for each layer whose gradient could not be read: it leaks, nobody knows how much."""
        rows = []
        for layer in self.layers:
            if layer.capture == "none" and seen(layer.name) and audited(self.session.spec, layer.name):
                why = not_captured(layer.reason)
                found = the_same([m for m in GAMES[game.name] if m not in ("upper_bits", NOISE_HALF)], why, 1)
                for adversary in adversaries:
                    rows += self.rows(view, game, adversary, [layer_line(layer)], found)
        return rows


def the_same(metrics: Sequence[str], estimate: Estimate, lines: int) -> dict[str, list[Estimate]]:
    """The same for every metric and every line."""
    return {metric: [estimate] * lines for metric in metrics}


def view_tokens(view: View, read: Tokens, places: Sequence[int]) -> tuple[Tensor, list[list[int]]]:
    """Tokens of a view in float64, and for the joint row and each layer the rows its adversary may choose from.

    Who sees all layers may look at the sketch of the whole gradient, at all layers side by side, or at one layer only.
    With noise, the whole gradient's sketch is the one whose noise is that of the mechanism; single layers carry their
    own share of it.
    """
    layers = clipped(view, read, places)
    joint = [mixed(layers)] if view.noise_std > 0.0 else [mixed(layers), stacked(layers)]
    tokens = torch.cat([layers, torch.stack(joint)])
    return tokens, groups_of(view, len(places))


def groups_of(view: View, layers: int) -> list[list[int]]:
    """For the joint row and each layer the rows of the tokens its adversary may choose from; see `view_tokens`."""
    joint = 1 if view.noise_std > 0.0 else 2
    return [list(range(layers + joint)), *([i] for i in range(layers))]


def clipped(view: View, read: Tokens, places: Sequence[int]) -> Tensor:
    """Tokens of the layers of a view in float64, each record clipped as the view clips."""
    layers = read.values[list(places)].double()
    if view.clip is not None:
        layers = layers * clip_factor(view.clip, read)[None, :, None]
    return layers


def clip_factor(clip: float, read: Tokens) -> Tensor:
    """What clipping multiplies each record's gradient by, `(N,)` float64."""
    norm = read.total_norm_sq.double().sqrt()
    return clip / norm.clamp_min(clip)


def layer_line(layer: LayerInfo) -> Line:
    """The line of one layer."""
    return Line(layer.name, layer.index, layer.type, layer.parameters)


def joint_line(layers: Sequence[LayerInfo], places: Sequence[int]) -> Line:
    """The line of several layers jointly."""
    return Line(JOINT, -1, "joint", sum(layers[i].parameters for i in places))


def _below_ceiling(estimate: Estimate) -> Estimate:
    """Value and interval at most at the ceiling, where there is one."""
    open_above = math.isnan(estimate.ceiling) or not estimate.conclusive
    return estimate if open_above else estimate.clipped(-math.inf, estimate.ceiling)
