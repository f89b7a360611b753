"""The attribute game, input form: what is the value of one input field of one record of the batch?

The adversary knows the rest of the record, its label and the weights, so it can compute the token that it would have
with each value. What it would guess without the gradient is the value that the rest of the record suggests (see
`attacks.imputation`); only bits over that guess count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.counterfactual import Belief, CandidateGames, prepare
from ptaudit.attacks.evidence import Algebra, Evidence, Scored, Statistic, stacked_or_alone, statistics_of
from ptaudit.games.attribute.latent import drawing, why_not
from ptaudit.games.common.batch_secret import (
    FoundByAdversary,
    Half,
    draw_halves,
    lost,
    observe_batches,
    scored,
)
from ptaudit.games.common.batches import Answers, Batches
from ptaudit.games.common.observed_view import ObservedView, asked
from ptaudit.views.knowledge import Asked
from ptaudit.views.observation import Observation
from ptaudit.views.view import View

ADVERSARY = "likelihood-ratio"


@dataclass(frozen=True)
class Counterfactuals:
    """What the adversary works with.

    Attributes:
        observation: what batches of its own records look like to it.
        candidates: token of every record with each of A values of the field, `(A, R, N, k)`; that of its own value is
            the record's own. Clipped where what it believes to see is clipped.
        linear: whether what it believes to see of a batch is the sum of its tokens (and noise).
        noise_std: of that noise.
        alone: what it believes to be shown of every record in a batch of its own with each value, `(A, R, N, k)`; that
            of its own value is what `observation` shows of it. For views that do not add up: a second feature of each
        value.
        algebra: the view as matrices, and gradients of `A * N` records: all with the first value, then the second.
    """

    observation: Observation
    candidates: Tensor
    linear: bool = True
    noise_std: float = 0.0
    alone: Tensor | None = None
    algebra: Algebra | None = None


MATRIX_GAMES = 1024
"""Most games of each part that are looked at as matrices too; then no others are played."""


def measure(
    secret: Tensor, prior: Tensor, observed: ObservedView, known: Counterfactuals, plain: Counterfactuals | None
) -> FoundByAdversary:
    """Play the game with the white-box likelihood ratio.

    Args:
        secret: value of each record's field, `(N,)`, 0..A-1; -1 where it is missing: such a record is no target.
        prior: probability of every value from the rest of the record, `(N, A)`.
        observed: the view, and who plays on it.
        known: what the adversary knows of the view as it is; from late weights if those are all it has.
        plain: what it believes who knows of no defense: it then also plays as a static adversary. None where the view
            has none.

    Returns:
        For each adversary `batch_secret.METRICS`, each with one estimate for each group.
    """
    secret, prior = secret.long().cpu(), prior.double().cpu()
    n, view = len(secret), observed.view
    players = asked([ADVERSARY], plain, observed.late)
    if reason := why_not(secret, view, observed.own) or _why_not_known(known, plain):
        return lost([ADVERSARY], observed, reason, n)
    generator = torch.Generator().manual_seed(observed.seed)
    answers: dict[Asked, list[Answers]] = {who: [] for who in players}
    for half in draw_halves(drawing(secret, prior, view), secret, observed, generator):
        half = half if known.algebra is None else some_of(half, MATRIX_GAMES)
        views, wrong = (
            observe_batches(observed.now, half.played, view, generator),
            guessed(half.played.prior, generator),
        )
        for who, knows in zip(players, (known, plain)):
            if knows is not None:
                log_q, null = _answers(half, views, knows, observed, generator)
                answers[who].append(Answers(log_q, null, wrong, half.played))
    return scored(answers, n, observed.seed, None)


def _answers(
    half: Half, views: Tensor, knows: Counterfactuals, observed: ObservedView, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Log-posteriors of the played games, real and null, `(P, G, A)` each."""
    view = observed.view
    lines = groups = observed.groups
    fit, choose = (
        _asked(knows, b, observe_batches(knows.observation, b, view, generator)) for b in (half.fit, half.choose)
    )
    wrong = guessed(half.choose.prior, generator)
    noise = knows.noise_std if knows.linear and view.others == 0 and knows.noise_std > 0.0 else None
    if noise is not None and view.fixed_batch:
        noise /= view.rounds**0.5
    if knows.alone is not None:  # the rows of the second feature come after those of the tokens
        rows = views.shape[1]
        groups = [[*group, *(rows + row for row in group)] for group in groups]
    belief = Belief(knows.linear, noise, knows.alone is not None, observed.late)
    adversary = prepare(fit, choose, wrong.to(views.device), groups, belief)
    played = adversary.answer(_asked(knows, half.played, views))
    if knows.algebra is None or not knows.algebra.own.readable or any(line.density is None for line in adversary.lines):
        return played
    algebra, known = knows.algebra, adversary.answer(choose)
    fitting, choosing, playing = (
        _rounds(batches, algebra, view, generator) for batches in (half.fit, half.choose, half.played)
    )
    found = []
    for version, (fitted, asked_for) in enumerate(
        ((half.fit.secret, half.choose.secret), (guessed(half.fit.prior, generator), wrong))
    ):
        evidence = Evidence.fit(fitting[0], fitted)
        told = Scored(known[version], evidence.of_rounds(choosing), half.choose.prior)
        shown = Scored(played[version], evidence.of_rounds(playing), half.played.prior)
        found.append(stacked_or_alone(told, asked_for, shown, evidence.of_lines(lines), algebra.seen.random))
    return found[0], found[1]


def _rounds(batches: Batches, algebra: Algebra, view: View, generator: torch.Generator) -> list[list[Statistic]]:
    """Algebraic statistics of every value in each round; of several observations of one batch those of their mean."""
    count = batches.prior.shape[1]
    members = batches.members[:1] if view.fixed_batch else batches.members
    versions = batches.members[0, :, 0, None] + torch.arange(count) * algebra.records(count)
    read = algebra.reader(view, generator)
    return [statistics_of(read, one, versions, algebra.own) for one in members]


def _asked(knows: Counterfactuals, batches: Batches, views: Tensor) -> CandidateGames:
    """Games as it finds them: what is seen, and the features that their targets might have."""
    targets = batches.members[0, :, 0].to(knows.candidates.device)
    candidates = knows.candidates[:, :, targets].double()
    if knows.alone is not None:
        views = torch.cat([views, views], 1)
        candidates = torch.cat([candidates, knows.alone[:, :, targets].double()], 1)
    return CandidateGames(views.double(), candidates, batches.prior.to(views.device), batches.secret.to(views.device))


def some_of(half: Half, most: int) -> Half:
    """The first of the games of each part; they are drawn in random order."""
    return Half(*(batches.first(most) for batches in (half.fit, half.choose, half.played)))


def guessed(prior: Tensor, generator: torch.Generator) -> Tensor:
    """Values drawn from the prior: what a field would be of which the gradient tells nothing, `(G,)`."""
    return torch.multinomial(prior, 1, generator=generator).squeeze(1)


def _why_not_known(known: Counterfactuals, plain: Counterfactuals | None) -> str:
    tokens = [known.candidates, known.alone, None if plain is None else plain.candidates]
    there = all(some is None or bool(torch.isfinite(some).all()) for some in tokens)
    return "" if there else "gradients that are not finite"
