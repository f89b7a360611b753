"""Views of the spec as the games see them."""

from __future__ import annotations

from dataclasses import replace

from ptaudit.defenses import DEFENSES, Defense
from ptaudit.spec.audit import ViewSpec
from ptaudit.spec.defenses import DefenseSpec, DpDefense, VibDefense
from ptaudit.views import View
from ptaudit.views.update import Update


def make_view(spec: ViewSpec) -> View:
    """The view of the spec; a perturbation has no probe yet."""
    dp = spec.defense if isinstance(spec.defense, DpDefense) else None
    clip, noise = (dp.clip, dp.noise_multiplier * dp.clip) if dp else (None, 0.0)
    seen = View(spec.name, spec.batch_size, spec.rounds, tuple(spec.layers or ()), clip, noise)
    update = Update(spec.update.local_steps, spec.update.lr) if spec.update else None
    defense = None if spec.defense is None or dp else make_defense(spec.defense)
    return replace(seen, users=spec.users, fixed_batch=spec.fixed_batch, defense=defense, update=update)


def make_defense(spec: DefenseSpec) -> Defense:
    """The defense of the spec; the strength of a bottleneck is a matter of its training."""
    alone = spec.strength is None or isinstance(spec, VibDefense)
    return DEFENSES[spec.name]() if alone else DEFENSES[spec.name](spec.strength)
