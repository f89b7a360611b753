"""The same training again with each defense of the spec, audited as it goes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ptaudit.auditing.folder import Workplace
from ptaudit.auditing.opening import defended_session
from ptaudit.auditing.recipe import SessionRecipe, part_of
from ptaudit.auditing.reference import with_reference_models
from ptaudit.auditing.seed import SeedRun, run_seeds
from ptaudit.context.session import Session
from ptaudit.errors import TrainingDivergedError
from ptaudit.progress import Progress
from ptaudit.spec.defenses import DefenseSpec
from ptaudit.tables.row import Row
from ptaudit.tables.run import DefenseEntry, GroupEntry


@dataclass(frozen=True)
class DefendedRun:
    """One defense: its training runs, one for each seed until one diverged."""

    defense: DefenseSpec
    seeds: tuple[SeedRun, ...]
    reference_seconds: float = 0.0
    """Spent on training reference models with it."""

    @property
    def entry(self) -> DefenseEntry:
        """How the defended training ended, as the tables hold it; averaged over the seeds."""
        last = [seed.stats[-1] for seed in self.seeds if seed.stats]
        spent = last[0].epsilon if last and last[0].epsilon is not None else math.nan
        diverged = next((seed.diverged.what for seed in self.seeds if seed.diverged), "")
        defense = self.defense
        return DefenseEntry(
            title=defense.title,
            name=defense.name,
            parameter=defense.parameter,
            strength=math.nan if defense.strength is None else defense.strength,
            train_accuracy=_mean([s.train_accuracy for s in last]),
            held_out_accuracy=_mean([s.held_out_accuracy for s in last]),
            held_out_loss=_mean([s.held_out_loss for s in last]),
            epsilon=spent,
            status=f"diverged: {diverged}" if diverged else "ok",
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def with_defenses(
    session: Session, place: Workplace, progress: Progress, address: str | None = None
) -> Iterator[tuple[DefenseSpec, Session]]:
    """Every defense of the spec and its session, with reference models trained with it where there are any."""
    for defense in session.spec.defenses:
        progress.log(f"defense {defense.title}")
        mine = defended_session(session, session.spec.with_defense(defense))
        recipe = replace(SessionRecipe.of(session), defense=defense.title)
        try:
            mine = with_reference_models(mine, place.state, progress, recipe, address)
        except TrainingDivergedError as error:
            mine = replace(mine, reference=None)  # what was found by now must not be lost with them
            progress.log(f"warning: with {defense.title} there are no reference models: {error.what}")
        yield defense, mine


def run_defended(
    sessions: Iterable[tuple[DefenseSpec, Session]], place: Workplace, progress: Progress
) -> list[DefendedRun]:
    """Train and audit with every defense. One that diverges keeps the epochs before."""
    found = []
    for defense, mine in sessions:
        seconds = 0.0 if mine.reference is None else mine.reference.seconds
        seeds = run_seeds(mine, replace(place, part=part_of(defense.title)), progress)
        found.append(DefendedRun(defense, tuple(seeds), seconds))
    return found


def groups_of_all(base: Sequence[SeedRun], defended: Sequence[DefendedRun]) -> tuple[GroupEntry, ...]:
    """What was found of groups of records, of the training as it is, then with each defense."""
    found = [entry for seed in base for entry in seed.groups]
    for one in defended:
        found += [replace(entry, trained_with=one.defense.title) for seed in one.seeds for entry in seed.groups]
    return tuple(found)


def table_of(seed: int, base: Sequence[SeedRun], defended: Sequence[DefendedRun]) -> tuple[Row, ...]:
    """The table of one seed: the training as it is, then with each defense that got as far."""
    rows = list(base[seed].rows)
    for one in defended:
        if seed < len(one.seeds):
            rows += [replace(row, trained_with=one.defense.title) for row in one.seeds[seed].rows]
    return tuple(rows)
