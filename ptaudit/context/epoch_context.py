"""One audited epoch as the games find it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ptaudit.context.layer_patterns import shared
from ptaudit.context.memo import Key, Memo
from ptaudit.context.session import Session
from ptaudit.gradients import RecordGradients
from ptaudit.gradients.layers import LayerInfo
from ptaudit.gradients.matrices import CELLS
from ptaudit.progress import Progress, Silent
from ptaudit.sketches.features import Kind, features
from ptaudit.sketches.reader import TokenReader
from ptaudit.sketches.tokens import Tokens
from ptaudit.spec.catalog import JOINT
from ptaudit.views import View
from ptaudit.views.joint import mixed, stacked

if TYPE_CHECKING:
    from ptaudit.context.encoding import Encoders

GRADIENTS: Key[list[list[RecordGradients]]] = Key("gradients of the audited members")
FEATURES: Key[Tensor] = Key("data features of the audited members")


@dataclass(frozen=True)
class Scope:
    """What a score is about: a layer, or all jointly."""

    name: str
    index: int
    type: str
    parameters: int


@dataclass(frozen=True)
class RecordsAtEpoch:
    """How the audited members, then held-out records, stood at an epoch.

    Attributes:
        losses: `(n,)`.
        gradient_norms: `(n,)`, over all parameters.
    """

    losses: NDArray[np.float64]
    gradient_norms: NDArray[np.float64]

    @classmethod
    def of(cls, inside: Tokens, outside: Tokens | None) -> RecordsAtEpoch:
        """From what was read of both."""
        sides = [side for side in (inside, outside) if side is not None]
        loss, norm_sq = (torch.cat([getattr(side, name) for side in sides]) for name in ("loss", "total_norm_sq"))
        return cls(loss.double().cpu().numpy(), norm_sq.double().sqrt().cpu().numpy())


class ScoreSink(Protocol):
    """Where scores of single records go."""

    def add(
        self, epoch: int, layer: str, game: str, metric: str, values: Tensor, members: Tensor | None = None
    ) -> None:
        """Keep one score of every audited member, `(N,)`, or of those at some places."""

    def picture(self, epoch: int, name: str, png: bytes) -> None:
        """Keep a picture of records."""

    def add_held_out(self, epoch: int, layer: str, game: str, metric: str, values: Tensor) -> None:
        """Keep one score of every audited held-out record, `(N,)`."""


@dataclass(frozen=True)
class EpochContext:
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
        course: losses and gradient norms at the audited epochs up to this one.
        cells: numbers of the matrices of batches that are looked at together.
        progress: where a game reports that takes long by itself.
        memo: what was made for one view or game of this epoch and serves others.
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
    samples: ScoreSink | None = None
    course: Sequence[RecordsAtEpoch] = ()
    cells: int = CELLS
    progress: Progress = field(default_factory=Silent, repr=False, compare=False)
    memo: Memo = field(default_factory=Memo, init=False, repr=False, compare=False)

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
        session = self.session

        def read() -> Tensor:
            records = self.reader.source.losses(*session.batch(session.members))
            return features(kind, records, session.records.classes, seed=session.seed)

        return self.memo.once(FEATURES, kind, read)

    @property
    def gradients(self) -> list[list[RecordGradients]]:
        """The gradients of the audited members as matrices, for each layer of `inside`; read once for all games."""
        read = self.reader.gradients
        return self.memo.once(GRADIENTS, (), lambda: read(*self.session.batch(self.session.members)))

    def give(self, gradients: list[list[RecordGradients]]) -> None:
        """Gradients of the audited members that are known already, for each layer of `inside`."""
        self.memo.put(GRADIENTS, (), gradients)

    def places(self, view: View) -> list[int]:
        """Captured layers that a view shares, as rows of the tokens."""
        return [i for i, layer in enumerate(self.inside.layers) if shared(view, layer.name)]

    def scopes(self, places: Sequence[int]) -> list[Scope]:
        """All layers jointly, then each."""
        return [joint_scope(self.inside.layers, places), *(layer_scope(self.inside.layers[i]) for i in places)]

    def why_not(self, view: View, places: Sequence[int]) -> str:
        """Why nothing can be said of a view; empty if something can."""
        if not places:
            return "no layer of this view is captured"
        if view.clip is not None and not self.inside.complete:
            return "a clipped view needs the gradient of every parameter, and some layers are not captured"
        if self.encoders is not None and not bool(torch.isfinite(self.inside.values[list(places)]).all()):
            return "gradients that are not finite, from which no encoder learns"
        return ""


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


def layer_scope(layer: LayerInfo) -> Scope:
    """One layer."""
    return Scope(layer.name, layer.index, layer.type, layer.parameters)


def joint_scope(layers: Sequence[LayerInfo], places: Sequence[int]) -> Scope:
    """Several layers jointly."""
    return Scope(JOINT, -1, "joint", sum(layers[i].parameters for i in places))
