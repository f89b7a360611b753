"""How much of a record's content can a family of decoders rebuild from the gradient of its batch?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ptaudit.attacks.content.features import LayerForm
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.observations import observation
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.data.contents import Content
from ptaudit.errors import SpecError
from ptaudit.games.common.content_gates import check_gates
from ptaudit.games.content.info import ContentGame
from ptaudit.games.content.measure import LEAST_RECORDS, Played, measure
from ptaudit.games.game_play import GamePlay
from ptaudit.games.identity.measure import noise_ceiling
from ptaudit.stats.foretold import Foretold, never
from ptaudit.views import View
from ptaudit.views.records_needed import too_few


class ContentPlay(GamePlay[ContentGame]):
    """All layers jointly and each, by every family."""

    def on_view(self, context: EpochContext, game: ContentGame, view: View) -> list[Scores]:
        """Scores on a view."""
        sheet, content = ScoreSheet.of(context, game, view), context.session.content
        told = told_of(content)
        if why := sheet.why_not():
            return sheet.lost(game.family, why, told)
        targets = content.targets(context.session.batch(context.session.members)[0])
        most = [noise_ceiling(view, scope.parameters) for scope in sheet.scopes]
        seen = observation(context, view, sheet.places)
        played = Played(seen, view, _forms(context, sheet.places), targets, content, most)
        found = measure(played, game.family, context.seed)
        scores = [sheet.scores(family, found[family]) for family in game.family]
        return scores + sheet.not_captured(game.family, told)

    def check(self, session: Session, game: ContentGame) -> None:
        """Refuses records of which nobody knows the content, decoders that are for others, and gates that match no
        row."""
        content = session.content
        if "conv" in game.family and content.kind != "picture":
            raise SpecError(
                f"the family `conv` of `{game.title}` rebuilds pictures, and the records are {content.kind}",
                where="audit.games",
                remedy="leave it out: `linear` and `mlp` rebuild any record",
            )
        check_gates(session, game, lambda _: told_of(content))

    def foretell(self, session: Session, game: ContentGame, view: View | None) -> Iterator[Foretold]:
        """Whether there are enough records to fill the batches."""
        assert view is not None
        n = len(session.members)
        if why := too_few(n, view, LEAST_RECORDS):
            yield never(why, n)


def told_of(content: Content) -> tuple[str, ...]:
    """The metrics of records of a kind."""
    return "bits", *content.metrics


def _forms(context: EpochContext, places: Sequence[int]) -> list[LayerForm]:
    """What is known of each layer's matrices."""
    owners = {layer.name: layer for layer in context.reader.source.layers}
    found = []
    for place in places:
        matrices, owner = context.gradients[place], owners[context.inside.layers[place].name]
        whole = bool(matrices) and all(one.whole for one in matrices)
        found.append(LayerForm(whole, "bias" in owner.parameters))
    return found


PLAY = ContentPlay()
