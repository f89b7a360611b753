"""What can noise of known size let an adversary know of a record?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.memo import Key
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.errors import ModelError
from ptaudit.games.fisher_information.info import FisherInformationGame
from ptaudit.games.fisher_information.measure import Population, bounds
from ptaudit.games.game_play import GamePlay
from ptaudit.gradients.input_jacobian import EXACT, Precision, SingularValues, singular_values
from ptaudit.model_input import leaves
from ptaudit.stats.median import LEAST_RECORDS
from ptaudit.views import View
from ptaudit.views.knowledge import Asked

(ADVERSARY,) = FisherInformationGame.players
WHO = Asked(ADVERSARY, knows="others")

_FEW_RECORDS, _FEW_STEPS = 32, 2
"""What `check` tries it with."""

NO_NOISE = "no noise of known size hides anything here: without it no bound but that of an attack's own skill is known"

SINGULAR: Key[SingularValues] = Key("singular values of the Jacobians of some members")
POPULATION: Key[Population] = Key("spread of the inputs")


class FisherInformationPlay(GamePlay[FisherInformationGame]):
    """All layers jointly and each."""

    def on_view(self, context: EpochContext, game: FisherInformationGame, view: View) -> list[Scores]:
        """Bounds on a view with noise; of one without there are none."""
        sheet = ScoreSheet.of(context, game, view)
        why = sheet.why_not() or ("" if view.noise_std > 0.0 else NO_NOISE)
        if why:
            return sheet.lost([WHO], why)
        names = [context.inside.layers[place].name for place in sheet.places]
        try:
            found = _singular(context, game, view, names)
        except ModelError as error:
            return sheet.lost([WHO], error.what)
        session = context.session
        population = session.memo.once(POPULATION, (), lambda: Population.of(session.batch(session.members)[0]))
        return [sheet.scores(WHO, bounds(found, view, population, context.seed)), *sheet.not_captured([WHO])]

    def sample(self, session: Session, game: FisherInformationGame) -> tuple[FisherInformationGame, float]:
        """Few records where Jacobians are built, else few steps: passes of few records take longer for each."""
        if sum(leaf.numel() for leaf in leaves(session.batch(session.members[:1])[0])) > EXACT:
            few = {"steps": _FEW_STEPS, "probes": _FEW_STEPS}
            return game.model_copy(update=few), game.steps / _FEW_STEPS
        records = min(game.records, len(session.members))
        some = min(_FEW_RECORDS, records)
        return game.model_copy(update={"records": some}), records / some

    def inconclusive(self, session: Session, game: FisherInformationGame) -> Iterator[str]:
        """Views without noise, and too few records."""
        for view in session.views:
            if view.noise_std == 0.0:
                yield f"Game {game.title} says nothing of view {view.name}: it has no noise of known size."
        if len(session.members) < LEAST_RECORDS:
            yield f"Game {game.title} needs {LEAST_RECORDS} audited records, there are {len(session.members)}."


def _singular(context: EpochContext, game: FisherInformationGame, view: View, names: Sequence[str]) -> SingularValues:
    """Those of some members at the clipping norm of a view, the same for all views that clip and share alike."""
    session = context.session

    def read() -> SingularValues:
        records = context.reader.source.losses(*session.batch(session.members[: game.records]))
        return singular_values(records, names, view.clip, Precision(game.steps, game.probes, context.seed))

    key = (view.clip, tuple(names), game.records, game.steps, game.probes)
    return context.memo.once(SINGULAR, key, read)


PLAY = FisherInformationPlay()
