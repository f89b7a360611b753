"""What can noise of known size let an adversary know of a record?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.memo import Key
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.errors import ModelError
from ptaudit.games.fisher_information.influence import is_matched, moved, reached
from ptaudit.games.fisher_information.info import FisherInformationGame
from ptaudit.games.fisher_information.measure import Population, bounds
from ptaudit.games.fisher_information.training import of_training
from ptaudit.games.game_play import Epochs, GamePlay
from ptaudit.gradients.input_jacobian import EXACT, Precision, SingularValues, pulled_back, singular_values
from ptaudit.model_input import leaves
from ptaudit.stats.estimate import inconclusive
from ptaudit.stats.foretold import Foretold, never
from ptaudit.stats.median import LEAST_RECORDS
from ptaudit.views import View
from ptaudit.views.knowledge import Asked

BOUND, INFLUENCE = FisherInformationGame.players
WHO = Asked(BOUND, knows="others")
MATCHES = Asked(INFLUENCE, "static", "others")

OF_TRAINING = "fisher_loss_training"
OF_EPOCHS = tuple(name for name in FisherInformationGame.metrics if name != OF_TRAINING)
"""Its metrics that are about one epoch."""

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
            return [*sheet.lost([WHO], why, OF_EPOCHS), *_matching(context, game, view, sheet)]
        names = [context.inside.layers[place].name for place in sheet.places]
        try:
            found = _singular(context, game, view, names)
        except ModelError as error:
            return sheet.lost([WHO], error.what, OF_EPOCHS)
        session = context.session
        population = session.memo.once(POPULATION, (), lambda: _population(session))
        return [sheet.scores(WHO, bounds(found, view, population, context.seed)), *sheet.not_captured([WHO])]

    def over_epochs(self, game: FisherInformationGame, found: Epochs) -> Epochs:
        """The bound on all sums that a training through the view shows."""
        return {OF_TRAINING: of_training(found.get("fisher_loss_max", {}))}

    def trials(self, session: Session, game: FisherInformationGame) -> Sequence[tuple[FisherInformationGame, float]]:
        """Few records where Jacobians are built, else few steps: passes of few records take longer for each."""
        if sum(leaf.numel() for leaf in leaves(session.batch(session.members[:1])[0])) > EXACT:
            few = {"steps": _FEW_STEPS, "probes": _FEW_STEPS}
            return [(game.model_copy(update=few), game.steps / _FEW_STEPS)]
        records = min(game.records, len(session.members))
        some = min(_FEW_RECORDS, records)
        return [(game.model_copy(update={"records": some}), records / some)]

    def foretell(self, session: Session, game: FisherInformationGame, view: View | None) -> Iterator[Foretold]:
        """Whether there is noise, and there are enough records."""
        assert view is not None
        n = min(game.records, len(session.members))
        few = f"needs {LEAST_RECORDS} records, has {n}" if n < LEAST_RECORDS else ""
        if why := few or ("" if view.noise_std > 0.0 else NO_NOISE):
            yield never(why, n)


def _matching(context: EpochContext, game: FisherInformationGame, view: View, sheet: ScoreSheet) -> Iterator[Scores]:
    """Scores of who matches a defended gradient as if it were plain, of views that show one."""
    if sheet.why_not() or not is_matched(view):
        return
    session, names = context.session, [context.inside.layers[place].name for place in sheet.places]
    try:
        found = _singular(context, game, view, names)
        delta = moved(context, view, sheet.places, found.largest_sq.shape[1])
        records = context.reader.source.losses(*session.batch(session.members[: game.records]))
        pulled = pulled_back(records, names, delta).numpy()
    except ModelError as error:
        yield sheet.scores(MATCHES, {"psnr_hi_db": [inconclusive(error.what)] * len(sheet.scopes)})
        return
    population = session.memo.once(POPULATION, (), lambda: _population(session))
    yield sheet.scores(MATCHES, {"psnr_hi_db": reached(found, pulled, view, population, context.seed)})


def _population(session: Session) -> Population:
    """That of the audited members, within their classes: the adversary knows the label."""
    inputs, targets = session.batch(session.members)
    return Population.of(inputs, targets if session.records.classes is not None else torch.zeros(len(targets)))


def _singular(context: EpochContext, game: FisherInformationGame, view: View, names: Sequence[str]) -> SingularValues:
    """Those of some members at the clipping norm of a view, the same for all views that clip and share alike."""
    session = context.session

    def read() -> SingularValues:
        records = context.reader.source.losses(*session.batch(session.members[: game.records]))
        return singular_values(records, names, view.clip, Precision(game.steps, game.probes, context.seed))

    key = (view.clip, tuple(names), game.records, game.steps, game.probes)
    return context.memo.once(SINGULAR, key, read)


PLAY = FisherInformationPlay()
