"""ObservedGames batches, with and without their secrets, and what a family of posteriors over them is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn.functional import one_hot


@dataclass(frozen=True)
class NumberBlock:
    """Numbers about the gradients of some layers.

    Attributes:
        layers: which of the L layers of the view.
        values: of each game in each of r rounds, `(r, G, f)`, float32.
    """

    layers: tuple[int, ...]
    values: Tensor


@dataclass(frozen=True)
class FitObservations:
    """ObservedGames games whose secrets the adversary knows: its own.

    Attributes:
        views: what it saw in each of r rounds, `(r, R, G, k)`, float64: sketches of L layers, then joint ones.
        secret: value of the secret, `(G,)` int64, 0..K-1.
        prior: probability of every value without the gradient, `(G, K)`.
        blocks: what it noted of the gradients as matrices, where those are known.
        share: probability of every value given who is in the batch, `(G, K)`, float32; None where the secret is that.
        random: whether sketches and matrices are two observations, of what is drawn for each anew.
        records: how many records its games hold, of which the share of the prior depends.
        size: records of each batch, of whose values the shares are whole counts; 0 where they are none.
    """

    views: Tensor
    secret: Tensor
    prior: Tensor
    blocks: tuple[NumberBlock, ...] = ()
    share: Tensor | None = None
    random: bool = False
    records: int = 1000
    size: int = 0

    @property
    def shares(self) -> Tensor:
        """Probability of every value given who is in the batch, `(G, K)`, float32."""
        share = one_hot(self.secret, self.prior.shape[1]) if self.share is None else self.share
        return share.float()


@dataclass(frozen=True)
class PlayedObservations:
    """ObservedGames games whose secrets are asked for.

    Attributes:
        views: `(r, R, G, k)`, float64.
        prior: `(G, K)`.
        blocks: the same blocks as of the adversary's own games.
    """

    views: Tensor
    prior: Tensor
    blocks: tuple[NumberBlock, ...] = ()


@dataclass(frozen=True)
class ObservedGames:
    """ObservedGames games of three disjoint parts of the records.

    Attributes:
        fit: to fit on.
        choose: to choose and calibrate on, with as many rounds as the played ones.
        played: the reported ones.
    """

    fit: FitObservations
    choose: FitObservations
    played: PlayedObservations | FitObservations

    @property
    def games(self) -> tuple[FitObservations, FitObservations, PlayedObservations | FitObservations]:
        """All three."""
        return self.fit, self.choose, self.played


class PosteriorFamily(Protocol):
    """Fits single observations of R rows and says what other observations speak for, at A settings."""

    def __call__(self, known: Tensor, secrets: Tensor, values: int, unseen: Tensor, seed: int) -> Tensor:
        """Fit and answer.

        Args:
            known: observations to fit on, `(R, n, k)`, float64, none larger than 1.
            secrets: V versions of what they hide, `(V, n)`.
            values: number of values K of the secret.
            unseen: observations to answer for, `(R, u, k)`, in the same units.
            seed: the only source of randomness.

        Returns:
            Log-likelihood ratios `(V, A, R, u, K)`: of the observation given each value, up to a constant for each
            observation.
        """
