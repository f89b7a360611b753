"""One audited epoch: read the tokens, play every game on every view, write down the rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ptaudit.pipeline.plays import on_model, on_view
from ptaudit.pipeline.samples import Samples
from ptaudit.pipeline.scene import Scene
from ptaudit.pipeline.session import Session
from ptaudit.progress import Progress, Task
from ptaudit.replay import Moment
from ptaudit.tables.row import Row
from ptaudit.tokens import TokenReader, Tokens

if TYPE_CHECKING:
    from ptaudit.pipeline.encoding import Encoders


@dataclass
class Seconds:
    """Time spent in each phase."""

    capture: float = 0.0
    games: float = 0.0


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
        seconds: time spent so far.
    """

    session: Session
    reader: TokenReader
    progress: Progress
    encoders: Encoders | None = None
    samples: Samples | None = None
    rows: dict[int, tuple[Row, ...]] = field(default_factory=dict)
    seconds: Seconds = field(default_factory=Seconds)

    def __call__(self, moment: Moment) -> None:
        """Audit the model as it is at this epoch."""
        games = self.session.spec.audit.games
        plays = sum(len(self.session.views) if on_view(game) else 1 for game in games)
        with self.progress.task(f"audit of epoch {moment.epoch}", 1 + plays) as task:
            began = time.perf_counter()
            inside, outside = self._read()
            task.advance(note="games")
            self.seconds.capture += time.perf_counter() - began
            began = time.perf_counter()
            read = (self.reader.layers, inside, outside)
            scene = Scene(self.session, moment.epoch, moment.step, moment.model, *read, self.encoders, self.samples)
            self.rows[moment.epoch] = tuple(_rows(scene, task))
            self.seconds.games += time.perf_counter() - began

    def _read(self) -> tuple[Tokens, Tokens | None]:
        """Tokens of the audited members, and of the held-out records where a game needs them."""
        session = self.session
        inside = self.reader.read(*session.batch(session.members))
        if any(game.name == "membership" for game in session.spec.audit.games):
            return inside, self.reader.read(*session.batch(session.others))
        return inside, None


def _rows(scene: Scene, task: Task) -> Iterator[Row]:
    """Every game on every view, then those on the model."""
    games = scene.session.spec.audit.games
    for view in scene.session.views:
        for game in games:
            if play := on_view(game):
                yield from play(scene, game, view)
                task.advance(note=f"{game.title} on {view.name}")
    for game in games:
        if play_once := on_model(game):
            yield from play_once(scene, game)
            task.advance(note=game.title)
