"""Views of the spec as the games see them."""

from __future__ import annotations

from dataclasses import replace

from ptaudit.spec.audit import ViewSpec
from ptaudit.views import View
from ptaudit.views.update import Update


def make_view(spec: ViewSpec) -> View:
    """The view of the spec; its defense is not prepared yet."""
    bare = View(spec.name, spec.batch_size, spec.rounds, tuple(spec.layers or ()))
    update = Update(spec.update.local_steps, spec.update.lr) if spec.update else None
    view = replace(bare, users=spec.users, fixed_batch=spec.fixed_batch, update=update)
    return view if spec.defense is None else spec.defense.on(view)
