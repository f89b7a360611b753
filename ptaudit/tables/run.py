"""A whole run: the leakage table and what is needed to read it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ptaudit.tables.spec import plain_spec
from ptaudit.tables.status import is_number
from ptaudit.tables.table import Table
from ptaudit.tables.verdict import Verdict


@dataclass(frozen=True)
class LayerEntry:
    """A layer with parameters of its own.

    Attributes:
        name: as the model has it.
        index: its place in the model.
        type: class of its module.
        parameters: how many of them are trainable.
        capture: how its gradients are read: `rule`, `vmap`, `loop` or `none`.
        reason: why they are not read, where `capture` is `none`.
    """

    name: str
    index: int
    type: str
    parameters: int
    capture: str
    reason: str


@dataclass(frozen=True)
class EpochEntry:
    """The training at one epoch; NaN where a number does not exist (accuracy of a regression, epsilon without DP).

    Attributes:
        epoch: the audited epoch.
        step: optimizer steps taken by then.
        train_loss: mean loss of the members, in evaluation mode.
        train_accuracy: of the members.
        held_out_loss: mean loss of the held-out records.
        held_out_accuracy: of the held-out records.
        epsilon: privacy spent so far, where the training is DP-SGD.
    """

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    held_out_loss: float
    held_out_accuracy: float
    epsilon: float


@dataclass(frozen=True)
class DefenseEntry:
    """A training with a defense, as it ended.

    Attributes:
        title: name and strength, e.g. `prune-0.9`: `trained_with` of its rows.
        name: the defense.
        parameter: the setting that says how strong it is; empty for some.
        strength: its value, NaN for some.
        train_accuracy: of the last epoch; NaN where there is none.
        held_out_accuracy: likewise.
        held_out_loss: likewise.
        epsilon: privacy spent; NaN without DP.
        status: `ok`, or `diverged: ...`.
    """

    title: str
    name: str
    parameter: str
    strength: float
    train_accuracy: float
    held_out_accuracy: float
    held_out_loss: float
    epsilon: float
    status: str


@dataclass(frozen=True)
class GroupEntry:
    """One number of a group of records, with an interval that holds for all groups of its grouping at once.

    Attributes:
        epoch: the audited epoch.
        seed: of the training.
        trained_with: `none`, or the defense of the training.
        game: name of the game.
        adversary: whose scores it is of.
        grouping: `class`, `attribute NAME` or `user`.
        group: name of the group, of users one that only who has the data can undo; empty where none is told.
        groups: how many groups it is of: 1; small ones together; the users of whom this is the worst.
        members: of the group, in the audit.
        others: held-out records of it.
        metric: which number; a TPR is at the threshold of all held-out records.
        value: the number.
        lo: lower end.
        hi: upper end.
        null: its value without signal.
        status: as of a row.
    """

    epoch: int
    seed: int
    trained_with: str
    game: str
    adversary: str
    grouping: str
    group: str
    groups: int
    members: int
    others: int
    metric: str
    value: float
    lo: float
    hi: float
    null: float
    status: str

    @property
    def measured(self) -> bool:
        """Whether there is a number that means what it says."""
        return is_number(self.status)


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes:
        name: name of the run.
        rows: the leakage table; with several seeds, the pooled one.
        layers: every layer with trainable parameters.
        epochs: the training, epoch by epoch.
        manifest: versions, device, seeds, hashes, status, threat model, warnings.
        timings: seconds per phase.
        spec_text: the resolved spec as YAML text.
        verdicts: what the gates decided.
        seeds: the leakage tables of the single seeds, in the order of `manifest["seeds"]`; empty with one seed.
        groups: what games found of groups of records.
    """

    name: str
    rows: Table
    layers: tuple[LayerEntry, ...]
    epochs: tuple[EpochEntry, ...]
    manifest: Mapping[str, Any]
    timings: Mapping[str, float]
    spec_text: str
    verdicts: tuple[Verdict, ...] = ()
    seeds: tuple[Table, ...] = field(default=(), repr=False)
    groups: tuple[GroupEntry, ...] = field(default=(), repr=False)

    @property
    def defenses(self) -> tuple[DefenseEntry, ...]:
        """The trainings with a defense, as the manifest has them."""
        wanted = [f.name for f in fields(DefenseEntry)]
        listed = self.manifest.get("defenses") or ()
        whole = [{**e, **{k: math.nan for k, v in e.items() if v is None}} for e in listed if set(wanted) <= set(e)]
        return tuple(DefenseEntry(**{name: entry[name] for name in wanted}) for entry in whole)

    @property
    def encoder(self) -> str:
        """`audit.tokens.encoder` of the resolved spec; `sketch` where there is none."""
        try:
            return str(plain_spec(self.spec_text)["audit"]["tokens"]["encoder"])
        except (KeyError, TypeError, ValueError):
            return "sketch"

    @property
    def token_dim(self) -> int | None:
        """`audit.tokens.dim` of the resolved spec; None for a folder without one."""
        try:
            return int(plain_spec(self.spec_text)["audit"]["tokens"]["dim"])
        except (KeyError, TypeError, ValueError):
            return None
