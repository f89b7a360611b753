"""One audited epoch: read the tokens, play every game on every view, write down the rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ptaudit.games import identity, label, membership
from ptaudit.pipeline.session import Session, audited, shared
from ptaudit.progress import Progress, Task
from ptaudit.replay import Moment
from ptaudit.spec.catalog import ADVERSARIES, GAMES, MODEL_VIEW, TOKEN_GAMES
from ptaudit.spec.model import GameSpec
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.tables.row import JOINT, Row
from ptaudit.tokens import LayerInfo, TokenReader, Tokens
from ptaudit.views import View
from ptaudit.views.joint import mixed, stacked


@dataclass
class Seconds:
    """Time spent in each phase."""

    capture: float = 0.0
    games: float = 0.0


@dataclass(frozen=True)
class Line:
    """A row of the tables before it has numbers: a layer, or all jointly."""

    name: str
    index: int
    type: str
    parameters: int


@dataclass
class EpochAudit:
    """The observer of one training run.

    Attributes:
        session: what is audited.
        reader: reads tokens of this run's model.
        progress: where to report.
        rows: the rows of every epoch so far.
        seconds: time spent so far.
    """

    session: Session
    reader: TokenReader
    progress: Progress
    rows: dict[int, tuple[Row, ...]] = field(default_factory=dict)
    seconds: Seconds = field(default_factory=Seconds)

    def __call__(self, moment: Moment) -> None:
        """Audit the model as it is at this epoch."""
        games = self.session.spec.audit.games
        on_tokens = [game for game in games if game.name in TOKEN_GAMES]
        plays = len(on_tokens) * len(self.session.views) + (len(games) - len(on_tokens))
        with self.progress.task(f"audit of epoch {moment.epoch}", 1 + plays) as task:
            began = time.perf_counter()
            inside, outside = self._read()
            task.advance(note="games")
            self.seconds.capture += time.perf_counter() - began
            began = time.perf_counter()
            epoch = _Epoch(self.session, moment.epoch, moment.step, self.reader.layers, inside, outside)
            self.rows[moment.epoch] = tuple(epoch.rows(task))
            self.seconds.games += time.perf_counter() - began

    def _read(self) -> tuple[Tokens, Tokens | None]:
        """Tokens of the audited members, and of the held-out records where a game needs them."""
        session = self.session
        inside = self.reader.read(*session.batch(session.members))
        if all(game.name in TOKEN_GAMES for game in session.spec.audit.games):
            return inside, None
        return inside, self.reader.read(*session.batch(session.others))


@dataclass(frozen=True)
class _Epoch:
    """The games of one epoch."""

    session: Session
    epoch: int
    step: int
    layers: Sequence[LayerInfo]
    inside: Tokens
    outside: Tokens | None

    def rows(self, task: Task) -> list[Row]:
        found: list[Row] = []
        games = self.session.spec.audit.games
        for view in self.session.views:
            for game in games:
                if game.name in TOKEN_GAMES:
                    found += self._play(view, game)
                    task.advance(note=f"{game.name} on {view.name}")
        for game in games:
            if game.name not in TOKEN_GAMES:
                found += self._membership()
                task.advance(note=game.name)
        return found

    def _play(self, view: View, game: GameSpec) -> list[Row]:
        """One game on one view: the joint row and every layer at once."""
        places = [i for i, layer in enumerate(self.inside.layers) if shared(view, layer.name)]
        lines = [_joint(self.inside.layers, places), *(_line(self.inside.layers[i]) for i in places)]
        missing = self._not_captured(view.name, game.name, ["likelihood-ratio"], lambda layer: shared(view, layer))
        lost = self._why_not(view, places)
        if lost:
            found = _lost(game.name, inconclusive(lost), len(lines))
            return self._rows(view.name, game.name, "likelihood-ratio", lines, found) + missing
        tokens, groups = view_tokens(view, self.inside, places)
        seed = self.session.spec.audit.seed
        if game.name == "identity":
            sizes = [line.parameters for line in lines]
            adversary, found = identity.measure(tokens, view, groups, sizes, game.candidates, seed)
        else:
            adversary, found = self._label(tokens, view, groups, seed)
        return self._rows(view.name, game.name, adversary, lines, found) + missing

    def _why_not(self, view: View, places: Sequence[int]) -> str:
        """Why nothing can be said of a view; empty if something can."""
        if not places:
            return "no layer of this view is captured"
        if view.clip is not None and not self.inside.complete:
            return "a clipped view needs the gradient of every parameter, and some layers are not captured"
        return ""

    def _label(
        self, tokens: Tensor, view: View, groups: Sequence[Sequence[int]], seed: int
    ) -> tuple[str, dict[str, list[Estimate]]]:
        records = self.session.records
        if records.classes is None:
            return label.ADVERSARY, _lost("label", inconclusive("the targets are no classes"), len(groups))
        targets = self.session.batch(self.session.members)[1].to(tokens.device)
        return label.measure(tokens, targets, records.classes, view, groups, seed)

    def _membership(self) -> list[Row]:
        assert self.outside is not None
        lines = [_line(layer) for layer in self.inside.layers]
        lines.append(_joint(self.inside.layers, range(len(lines))))
        sides = [_side(tokens) for tokens in (self.inside, self.outside)]
        joint = len(lines) - 1
        found = membership.measure(sides[0], sides[1], joint, self.session.spec.audit.seed)
        if not self.inside.layers:
            unknown = dict.fromkeys(GAMES["membership"], inconclusive("no layer is captured"))
            found = {key: estimates if key[0] == "loss" else unknown for key, estimates in found.items()}
        order = sorted(found, key=lambda key: (key[1] != joint, key[1]))
        rows: list[Row] = []
        for adversary, place in order:
            one = {metric: [estimate] for metric, estimate in found[adversary, place].items()}
            rows += self._rows(MODEL_VIEW, "membership", adversary, [lines[place]], one)
        return rows + self._not_captured(MODEL_VIEW, "membership", ADVERSARIES["membership"][1:])

    def _not_captured(
        self, view: str, game: str, adversaries: Sequence[str], seen: Callable[[str], bool] = lambda layer: True
    ) -> list[Row]:
        """Rows for each layer whose gradient could not be read: it leaks, nobody knows how much."""
        rows = []
        for layer in self.layers:
            if layer.capture == "none" and seen(layer.name) and audited(self.session.spec, layer.name):
                why = replace(inconclusive(""), status=f"not captured: {layer.reason}")
                for adversary in adversaries:
                    rows += self._rows(view, game, adversary, [_line(layer)], _lost(game, why, 1))
        return rows

    def _rows(
        self, view: str, game: str, adversary: str, lines: Sequence[Line], found: dict[str, list[Estimate]]
    ) -> list[Row]:
        return [
            Row(
                self.epoch, self.step, line.name, line.index, line.type, line.parameters, view, game, adversary, metric,
                e.value, e.lo, e.hi, e.null, e.ceiling, e.n, e.status, e.draws,
            )
            for i, line in enumerate(lines)
            for metric, e in ((metric, estimates[i]) for metric, estimates in found.items())
        ]  # fmt: skip


def view_tokens(view: View, read: Tokens, places: Sequence[int]) -> tuple[Tensor, list[list[int]]]:
    """Tokens of a view in float64, and for the joint row and each layer the rows its adversary may choose from.

    Who sees all layers may look at the sketch of the whole gradient, at all layers side by side, or at one layer only.
    With noise, the whole gradient's sketch is the one whose noise is that of the mechanism; single layers carry their
    own share of it.
    """
    layers = read.values[list(places)].double()
    if view.clip is not None:
        norm = read.total_norm_sq.double().sqrt()
        layers = layers * (view.clip / norm.clamp_min(view.clip))[None, :, None]
    joint = [mixed(layers)] if view.noise_std > 0.0 else [mixed(layers), stacked(layers)]
    tokens = torch.cat([layers, torch.stack(joint)])
    singles = [[i] for i in range(len(places))]
    return tokens, [list(range(len(tokens))), *singles]


def _lost(game: str, estimate: Estimate, rows: int) -> dict[str, list[Estimate]]:
    """The same for every metric of a game and every row."""
    return {metric: [estimate] * rows for metric in GAMES[game]}


def _side(tokens: Tokens) -> membership.Side:
    values = tokens.values.double()
    norms = torch.cat([tokens.norm_sq, tokens.total_norm_sq[None]])
    return membership.Side(torch.cat([values, mixed(values)[None]]), norms, tokens.loss)


def _line(layer: LayerInfo) -> Line:
    return Line(layer.name, layer.index, layer.type, layer.parameters)


def _joint(layers: Sequence[LayerInfo], places: Sequence[int]) -> Line:
    return Line(JOINT, -1, "joint", sum(layers[i].parameters for i in places))
