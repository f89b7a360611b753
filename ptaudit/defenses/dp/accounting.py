"""What DP-SGD promises, by Opacus' accountant: epsilon for adding or removing one member, under Poisson sampling.

The accountant composes Renyi divergences (Mironov et al. 2019), an upper bound. Opacus also has a tighter one (PRV),
which at weak privacy needs terabytes.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from ptaudit.errors import PtauditError
from ptaudit.training.sampling import sample_rate, steps_per_epoch

if TYPE_CHECKING:
    from ptaudit.defenses.dp.settings import DpSgdSpec
    from ptaudit.spec.model import TrainSpec

_PRECISION = 0.01
"""How far below its target epsilon may end, as a share of it and in units of epsilon."""


def need_opacus() -> None:
    """Opacus is there.

    Raises:
        PtauditError: it is not.
    """
    try:
        import opacus  # noqa: F401 - an optional extra
    except ImportError as error:
        raise PtauditError(
            "DP-SGD needs Opacus, which is not installed", where="train.defense", remedy="pip install 'ptaudit[dp]'"
        ) from error


def noise_multiplier(train: TrainSpec, members: int) -> float:
    """The noise of the spec: as given, or the least that keeps the whole run within the given epsilon.

    Raises:
        PtauditError: no noise is enough.
    """
    defense = dp_of(train)
    assert defense is not None
    if defense.noise_multiplier is not None:
        return defense.noise_multiplier
    assert defense.epsilon is not None
    steps = train.epochs * steps_per_epoch(train, members)
    return _noise_for(defense.epsilon, defense.delta, sample_rate(train, members), steps)


@lru_cache(maxsize=16)
def _noise_for(target: float, delta: float, rate: float, steps: int) -> float:
    from opacus.accountants.utils import get_noise_multiplier

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = get_noise_multiplier(
                target_epsilon=target,
                target_delta=delta,
                sample_rate=rate,
                steps=steps,
                accountant="rdp",
                epsilon_tolerance=_PRECISION * min(target, 1.0),
            )
    except (ValueError, ArithmeticError) as error:
        raise PtauditError(
            f"no noise was found for epsilon {target:g} at delta {delta:g}: {error}",
            where="train.defense.epsilon",
            remedy="raise epsilon or delta, or give noise_multiplier",
        ) from error
    return float(found)


def epsilon(train: TrainSpec, members: int, noise: float, steps: int) -> float:
    """Epsilon spent by `steps` steps with a noise multiplier; infinite without noise.

    All steps are alike, so the accountant's history is a function of their number.
    """
    if steps == 0 or noise == 0:
        return 0.0 if steps == 0 else math.inf
    dp = dp_of(train)
    assert dp is not None
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(noise, sample_rate(train, members), steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that other orders would give less: it is a bound as it stands
        return float(accountant.get_epsilon(delta=dp.delta))


def dp_of(train: TrainSpec) -> DpSgdSpec | None:
    """The defense of a training, where it is DP-SGD."""
    clips = train.defense is not None and train.defense.acts_on == "sum"
    return cast("DpSgdSpec", train.defense) if clips else None
