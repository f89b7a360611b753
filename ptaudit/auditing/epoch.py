"""One audited epoch: read the tokens, play every game on every view, write down the rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ptaudit.auditing.rows import groups_of, judged, rows_of
from ptaudit.auditing.samples import Samples
from ptaudit.auditing.warnings.epochs import unreliable, unreliable_epochs
from ptaudit.context.epoch_context import EpochContext, RecordsAtEpoch
from ptaudit.context.session import Session
from ptaudit.games.game_play import play_of, run_game
from ptaudit.progress import Progress, Task
from ptaudit.sketches.reader import TokenReader
from ptaudit.sketches.tokens import Tokens
from ptaudit.spec.game import GameSpec
from ptaudit.tables.row import Row
from ptaudit.tables.run import GroupEntry
from ptaudit.training.epoch_snapshot import EpochSnapshot
from ptaudit.views import View

if TYPE_CHECKING:
    from ptaudit.context.encoding import Encoders


@dataclass
class Seconds:
    """Time spent in each phase."""

    capture: float = 0.0
    games: float = 0.0
    of_game: dict[str, float] = field(default_factory=dict)

    @property
    def audit(self) -> float:
        """All of it."""
        return self.capture + self.games

    def plain(self) -> dict[str, float]:
        """Phases, then games by name."""
        named = {f"game {title}": seconds for title, seconds in self.of_game.items()}
        return {"capture": self.capture, "games": self.games, **named}

    def take(self, before: Mapping[str, float]) -> None:
        """Go on from what was spent before."""
        self.capture, self.games = before.get("capture", 0.0), before.get("games", 0.0)
        named = {name.removeprefix("game "): s for name, s in before.items() if name.startswith("game ")}
        self.of_game.update(named)


@dataclass
class EpochAudit:
    """The observer of one training run.

    Attributes:
        session: what is audited.
        reader: reads tokens of this run's model.
        progress: where to report.
        encoders: learned encoders, where the spec wants them.
        samples: where scores of single records go, if they are to be kept.
        rows: the rows of every epoch so far.
        groups: what was found of groups of records.
        course: losses and gradient norms of the audited records, by epoch.
        unreliable: what makes those of an epoch unreliable, by epoch and kind.
        seconds: time spent so far.
    """

    session: Session
    reader: TokenReader
    progress: Progress
    encoders: Encoders | None = None
    samples: Samples | None = None
    rows: dict[int, tuple[Row, ...]] = field(default_factory=dict)
    groups: dict[int, tuple[GroupEntry, ...]] = field(default_factory=dict)
    course: dict[int, RecordsAtEpoch] = field(default_factory=dict)
    unreliable: dict[int, dict[str, str]] = field(default_factory=dict)
    seconds: Seconds = field(default_factory=Seconds)

    def __call__(self, snapshot: EpochSnapshot) -> None:
        """Audit the model as it is at this epoch."""
        session, spec = self.session, self.session.spec
        plays = sum(len(session.views) * game.on_views + game.on_model for game in spec.games)
        with self.progress.task(f"audit of epoch {snapshot.epoch}", 1 + plays) as task:
            began = time.perf_counter()
            inside = self.reader.read(*session.batch(session.members))
            outside = self.reader.read(*session.batch(session.others)) if session.reads_held_out else None
            inside = inside.beside(outside)
            self.unreliable[snapshot.epoch] = unreliable(session, snapshot.model, inside)
            for warning in unreliable_epochs({snapshot.epoch: self.unreliable[snapshot.epoch]}):
                self.progress.log(f"warning: {warning}")
            task.advance(note="games")
            self.seconds.capture += time.perf_counter() - began
            began = time.perf_counter()
            self.course[snapshot.epoch] = RecordsAtEpoch.of(inside, outside)
            context = self._context(snapshot, inside, outside)
            self.rows[snapshot.epoch] = tuple(judged(list(self._rows(context, task)), spec))
            self.groups[snapshot.epoch] = tuple(self._groups(context))
            self.seconds.games += time.perf_counter() - began

    def _context(self, snapshot: EpochSnapshot, inside: Tokens, outside: Tokens | None) -> EpochContext:
        at = (snapshot.epoch, snapshot.step, snapshot.model, self.reader.layers, inside, outside, self.reader)
        return EpochContext(
            self.session,
            *at,
            before=snapshot.before,
            encoders=self.encoders,
            samples=self.samples,
            progress=self.progress,
            course=[self.course[epoch] for epoch in sorted(self.course)],
        )

    def _rows(self, context: EpochContext, task: Task) -> Iterator[Row]:
        """Every game on every view, then those on the model."""
        games = self.session.spec.games
        for view in self.session.views:
            for game in games:
                if game.on_views:
                    yield from self._timed(context, game, view)
                    task.advance(note=f"{game.title} on {view.name}")
        for game in games:
            if game.on_model:
                yield from self._timed(context, game)
                task.advance(note=game.title)

    def _groups(self, context: EpochContext) -> Iterator[GroupEntry]:
        """What the games on the model, once they are played, tell of groups of records."""
        for game in self.session.spec.games:
            if game.on_model:
                yield from groups_of(context, game, play_of(game).groups(context, game))

    def _timed(self, context: EpochContext, game: GameSpec, view: View | None = None) -> list[Row]:
        began = time.perf_counter()
        rows = rows_of(context, game, run_game(context, game, view))
        spent = self.seconds.of_game
        spent[game.title] = spent.get(game.title, 0.0) + time.perf_counter() - began
        return rows
