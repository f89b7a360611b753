"""What games found, as rows of the tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.groups import GroupScore
from ptaudit.context.scores import Scores
from ptaudit.games.game_play import play_of
from ptaudit.spec.base import Part
from ptaudit.spec.catalog import NO_DEFENSE
from ptaudit.spec.game import GameSpec
from ptaudit.spec.model import Spec
from ptaudit.stats.bootstrap import of_low_rank
from ptaudit.stats.estimate import Estimate
from ptaudit.tables.mechanism import is_mechanism
from ptaudit.tables.row import Key, Row, limit
from ptaudit.tables.run import GroupEntry
from ptaudit.tables.status import limited_by_attack, never_below_identity


def rows_of(context: EpochContext, game: GameSpec, scores: Iterable[Scores]) -> list[Row]:
    """A row for each adversary, scope and metric; `attack-limited` where nothing but its adversary limits it."""
    bare = {view.name for view in context.session.spec.audit.views if not has_mechanism(view.defense, game)}
    return [limited_by_attack(row) if row.view in bare else row for one in scores for row in _rows(context, game, one)]


def has_mechanism(defense: Part | None, game: GameSpec) -> bool:
    """Whether a defense is noise of known size on what a game is about."""
    return is_mechanism(defense and defense.plain(), game.plain())


def _rows(context: EpochContext, game: GameSpec, scores: Scores) -> list[Row]:
    who = scores.adversary
    return [
        Row(
            context.epoch, context.step, scope.name, scope.index, scope.type, scope.parameters, scores.view, game.title,
            who.adversary, who.knowledge, who.knows, NO_DEFENSE, metric, e.value, e.lo, e.hi, e.null, e.ceiling,
            limit(metric, e), e.n, e.status, None if e.draws is None else of_low_rank(e.draws, e.n),
        )
        for i, scope in enumerate(scores.scopes)
        for metric, e in ((metric, _below_ceiling(estimates[i])) for metric, estimates in scores.found.items())
    ]  # fmt: skip


def groups_of(context: EpochContext, game: GameSpec, scores: Iterable[GroupScore]) -> list[GroupEntry]:
    """An entry for each number of a group; the seed of the training is not known here."""
    return [
        GroupEntry(
            context.epoch, 0, NO_DEFENSE, game.title, s.adversary, s.grouping, s.group, s.groups, s.members, s.others,
            s.metric, s.estimate.value, s.estimate.lo, s.estimate.hi, s.estimate.null, s.estimate.status,
        )
        for s in scores
    ]  # fmt: skip


def over_epochs(games: Sequence[GameSpec], rows: Sequence[Row]) -> Iterator[Row]:
    """Rows about the training as a whole that follow from those of single epochs, see `GamePlay.over_epochs`."""
    for game in games:
        lines: dict[Key, dict[str, dict[int, Row]]] = {}
        for row in rows:
            if row.game == game.title:
                key = replace(row, epoch=0, metric="").key
                lines.setdefault(key, {}).setdefault(row.metric, {})[row.epoch] = row
        for line in lines.values():
            found = {name: {epoch: row.estimate for epoch, row in at.items()} for name, at in line.items()}
            for name, estimates in play_of(game).over_epochs(game, found).items():
                at = next(iter(line.values()))
                yield from (_replaced(at[epoch], name, e) for epoch, e in estimates.items())


def _replaced(row: Row, name: str, e: Estimate) -> Row:
    """The row of another number of the same adversary, layer, view and epoch."""
    return replace(
        row, metric=name, value=e.value, lo=e.lo, hi=e.hi, null=e.null, ceiling=e.ceiling, detectable=limit(name, e),
        n=e.n, status=e.status, draws=None,
    )  # fmt: skip


def _below_ceiling(estimate: Estimate) -> Estimate:
    """Value and interval at most at the ceiling, where there is one."""
    open_above = math.isnan(estimate.ceiling) or not estimate.conclusive
    return estimate if open_above else estimate.clipped(-math.inf, estimate.ceiling)


def judged(rows: Sequence[Row], spec: Spec) -> list[Row]:
    """The rows of an epoch, none of which is `ok` where another game proves that there is more.

    I(X;G) is at least what the identity game finds. Information about the label or an attribute may be less, so that
    it is compared (up to its own ceiling) only where no noise limits it.
    """
    games = {game.title: game for game in spec.games}
    views = {view.name: view.defense for view in spec.audit.views}

    def is_at_least(row: Row) -> bool:
        game = games.get(row.game)
        return game is not None and game.at_least_identity(not has_mechanism(views.get(row.view), game))

    return never_below_identity(rows, [title for title, game in games.items() if game.names_records], is_at_least)
