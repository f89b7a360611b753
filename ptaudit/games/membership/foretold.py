"""What the membership game will be able to show, from the numbers of records and of reference models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.games.membership.fleet_rates import FPRS, models_needed, too_few_models
from ptaudit.games.membership.info import OF_FLEET, OF_TOKENS, TAIL, likelihood_ratios, metrics_of, with_references
from ptaudit.games.membership.measure import OF_LEARNED, TAIL_FNR
from ptaudit.spec.model import Spec
from ptaudit.stats.foretold import Foretold, auc, bits, never, rate, share
from ptaudit.stats.roc import LOW_FPRS, tpr_name

_OTHERS = "non-members"


def foretold(asked: Sequence[str], spec: Spec, sides: tuple[int, int]) -> Iterator[Foretold]:
    """Of every metric that the attacks report.

    Args:
        asked: the attacks that are played.
        spec: of the audit.
        sides: how many members, and others, enough of both.
    """
    n, learned = sum(sides), (OF_TOKENS[1],)
    lost = {name: why for name in asked if (why := _why_not(name, spec))}
    if set(asked) - set(lost):
        yield auc(*sides)
        if learned[0] in asked:
            yield replace(auc(*sides, times=OF_LEARNED), adversaries=learned)
        yield bits(n, 1.0)
        yield share("accuracy", 0.5, n)
        yield from (rate(tpr_name(fpr), fpr, sides, _OTHERS) for fpr in LOW_FPRS)
    for why in dict.fromkeys(lost.values()):
        yield replace(never(why, n), adversaries=tuple(name for name in lost if lost[name] == why))
    if "loss" in asked:
        yield replace(rate(TAIL, TAIL_FNR, sides[::-1], "members"), adversaries=("loss",))
    if spec.fleet is not None:
        yield from _of_fleet([name for name in asked if name not in lost], spec.fleet.models, sides)


def _why_not(name: str, spec: Spec) -> str:
    """What an attack will lack, as far as is known beforehand."""
    attack = ATTACKS.get(name)
    if attack is None:
        return ""
    models, epochs = 0 if spec.fleet is None else spec.fleet.models, len(spec.audited_epochs)
    if attack.epochs > epochs:
        return f"needs losses of {attack.epochs} epochs, there are {epochs}"
    return attack.too_few_of(models) if attack.outside else ""


def _of_fleet(plays: Sequence[str], models: int, sides: tuple[int, int]) -> Iterator[Foretold]:
    """Of records at rates of their own, and of all models as the target: what these have in common is only known after
    the run."""
    for metric, fpr in FPRS.items():
        needed = max((models_needed(ATTACKS[name], fpr) for name in plays if name in likelihood_ratios()), default=0)
        if why := too_few_models(needed, models):
            yield never(why, sum(sides), metric)
        elif needed:
            yield rate(metric, fpr, sides, _OTHERS)
    others = [name for name in plays if name in with_references() and OF_FLEET[0] in metrics_of(name)]
    needed = max((ATTACKS[name].models(left_out=1) for name in others), default=0)
    if others:
        why = too_few_models(needed, models)
        yield from (never(why, sum(sides), metric) if why else Foretold(metric) for metric in OF_FLEET)
