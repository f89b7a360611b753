"""What a number will be able to show, foretold from how many records there will be, before anything is measured.

The limit is that of `detection`, with the standard error that the number has where next to nothing leaks:

- an AUC that of the rank-sum statistic without ties, (n_in + n_out + 1) / (12 n_in n_out) (Mann and Whitney 1947);
- a share of games won that of a coin, p (1 - p) / n; a true-positive rate also that of its threshold;
- bits: the log-ratio that a well calibrated adversary gains from a weak leak is nearly Gaussian with a variance of
  twice its mean, in nats. So b bits have a standard error of sqrt(2 b / (n ln 2)), and the limit is the b that is as
  many of them as `detection` asks for: it falls with n, and not with its root.

A row of the tables is about leaks that vary between records as the one it found does, so it will differ: less where
several games of a record are averaged, more where some records leak much and others nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ptaudit.stats.detection import REACH, detectable
from ptaudit.stats.roc import too_few_negatives


@dataclass(frozen=True)
class Foretold:
    """What a metric of a game will be able to show.

    Attributes:
        metric: its name in the tables; empty for all that the game reports.
        n: units behind it, as in the tables; 0 where that is not known.
        null: what a guess scores; NaN where that is only known after the run, like the other numbers.
        detectable: the smallest value that could be told from that.
        ceiling: the largest value that it can have.
        why_not: why it will be inconclusive, whatever leaks, with what is needed; empty if it need not be.
        adversaries: of whom it is; empty for all who play.
        falls: power of the units with which `detectable` comes down to the null.
    """

    metric: str = ""
    n: int = 0
    null: float = math.nan
    detectable: float = math.nan
    ceiling: float = math.nan
    why_not: str = ""
    adversaries: tuple[str, ...] = ()
    falls: float = 0.5

    @property
    def known(self) -> bool:
        """Whether a limit could be foretold."""
        return math.isfinite(self.detectable)

    @property
    def blind(self) -> bool:
        """Whether nothing that can leak is as much as the limit."""
        return self.known and self.detectable >= self.ceiling

    def seen_by(self, times: float) -> float:
        """The limit of a value whose bounds reach so many times as far as one row's alone, as one of several."""
        return float(self.null + (self.detectable - self.null) * times ** (2.0 * self.falls))

    def needed(self, limit: float, times: float = 1.0) -> float:
        """About how many units would tell a value `limit` from a guess; infinite where none do.

        Args:
            limit: a value.
            times: see `seen_by`.
        """
        if limit <= self.null:
            return math.inf
        share = (self.seen_by(times) - self.null) / (limit - self.null)
        return float(self.n * share ** (1.0 / self.falls))


def never(why_not: str, n: int = 0, metric: str = "") -> Foretold:
    """A metric, or all of a game, that will be inconclusive."""
    return Foretold(metric, n, why_not=why_not)


def auc(n_in: int, n_out: int, metric: str = "auc", times: float = 1.0) -> Foretold:
    """An AUC of so many positives and negatives; `times` its standard error is more than theirs."""
    error = math.sqrt((n_in + n_out + 1) / (12.0 * n_in * n_out))
    return Foretold(metric, n_in + n_out, 0.5, detectable(0.5, times * error), 1.0)


def rate(metric: str, fpr: float, sides: tuple[int, int], without: str) -> Foretold:
    """A true-positive rate at a false-positive rate above 0, of so many positives and negatives, which are called
    `without` where they are too few; see `roc.tpr_at_fpr_estimate`."""
    n_in, n_out = sides
    if why := too_few_negatives(n_out, fpr, without):
        return never(why, n_in + n_out, metric)
    error = math.sqrt(fpr * (1.0 - fpr) * (1.0 / n_in + 1.0 / n_out))
    return Foretold(metric, n_in + n_out, fpr, detectable(fpr, error), 1.0)


def share(metric: str, guess: float, n: int) -> Foretold:
    """A share of n games, of which a guess wins the share `guess`."""
    return Foretold(metric, n, guess, detectable(guess, math.sqrt(guess * (1.0 - guess) / n)), 1.0)


def bits(n: int, ceiling: float = math.nan) -> Foretold:
    """Bits over the prior, of n units: the b with b = `detectable(0, sqrt(2 b / (n ln 2)))`."""
    least = 2.0 * REACH**2 / (n * math.log(2.0))
    return Foretold("bits", n, 0.0, least, ceiling, falls=1.0)
