"""Games that were drawn, and what an adversary said of them: what all games about a secret of a batch share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batches:
    """G drawn games with r rounds of m records each; the secret has K values.

    Attributes:
        members: the records of each batch, `(r, G, m)`; the target comes first where the secret is about one record.
        secret: the true value, `(G,)`.
        prior: probability of every value without the gradient, `(G, K)`: the baseline of the score.
        unit: what is resampled, `(G,)`: the target record or the user; -1 where all records of a batch are alike.
        rivals: units of the other candidates of each game, `(G, K-1)`; None where the values are no units.
        share: probability of every value given the records of the first round's batch, `(G, K)`: where the secret is
            the value of one of them, the share of the batch that has it. An adversary knows who is in its own batches,
            and what it learns from such shares is less noisy than from the secrets. None where the batch says all.
    """

    members: Tensor
    secret: Tensor
    prior: Tensor
    unit: Tensor
    rivals: Tensor | None = None
    share: Tensor | None = None

    def first(self, most: int) -> Batches:
        """The first games, at most so many."""
        rivals, share = (None if one is None else one[:most] for one in (self.rivals, self.share))
        return Batches(self.members[:, :most], self.secret[:most], self.prior[:most], self.unit[:most], rivals, share)


@dataclass(frozen=True)
class Answers:
    """What one prepared adversary said of the reported games, for P lines.

    Attributes:
        log_q: log-posteriors of every value, natural, `(P, G, K)`, float64.
        null_log_q: of the same adversary prepared with shuffled secrets; judged against `wrong`.
        wrong: the value that shuffling puts in the place of the true one, `(G,)`.
        batches: the games.
        starved: of every line, whether the adversary would find more with more to learn from; empty where nobody asked.
    """

    log_q: Tensor
    null_log_q: Tensor
    wrong: Tensor
    batches: Batches
    starved: Sequence[bool] = ()


def starved_of(halves: Sequence[Answers]) -> list[bool]:
    """Of every line, whether the adversary of each half would find more; empty where nobody asked."""
    return [all(line) for line in zip(*(half.starved for half in halves))]
