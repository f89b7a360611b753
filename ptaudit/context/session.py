"""What one audit works on: data, split, loss, audited records; and for each seed a model and its token reader."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ptaudit.context.layer_patterns import check_patterns
from ptaudit.context.memo import Key, Memo
from ptaudit.context.reference import ReferenceModels
from ptaudit.context.training_canaries import TrainingCanaries
from ptaudit.data import Records
from ptaudit.data.contents import Content, content_of
from ptaudit.data.split import Split
from ptaudit.errors import ModelError
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.model_input import Inputs
from ptaudit.sketches.reader import TokenReader
from ptaudit.spec.catalog import JOINT
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.spec.model import Spec
from ptaudit.training.augment import Augment
from ptaudit.training.loss_check import check_loss
from ptaudit.training.model import build_model
from ptaudit.views import View

_CONTENT: Key[Content] = Key("what the records hold")


@dataclass(frozen=True)
class Session:
    """What all seeds of a run share.

    Attributes:
        spec: the resolved spec.
        device: where to train and read.
        records: all records.
        split: members and held-out records.
        members: audited members, a random sample of the members.
        others: as many held-out records, or all there are.
        loss: per-record loss.
        views: the views of the spec.
        checkpoints: SHA-256 of the checkpoints that are walked over, by epoch; empty where the spec trains.
        augment: what changes the inputs of a training batch, if anything.
        training_canaries: canaries that are trained on; they are among the records, and never audited otherwise.
        reference: reference models, once they are trained, where the spec asks for them.
        key: what is known to those alone who have the records: draws and names that come from it cannot be undone.
        memo: what a game found out about the records and needs at every epoch.
    """

    spec: Spec
    device: torch.device
    records: Records
    split: Split
    members: NDArray[np.int64]
    others: NDArray[np.int64]
    loss: PerRecordLoss
    views: tuple[View, ...]
    checkpoints: Mapping[int, str] = field(default_factory=dict)
    augment: Augment | None = None
    training_canaries: tuple[TrainingCanaries, ...] = ()
    key: str = ""
    reference: ReferenceModels | None = None
    memo: Memo = field(default_factory=Memo, init=False, repr=False, compare=False)

    @property
    def reads_held_out(self) -> bool:
        """Whether a game has a use for the tokens of held-out records, and there are some."""
        return len(self.others) > 0 and any(game.uses_held_out for game in self.spec.audit.games)

    @property
    def seed(self) -> int:
        """Seed of games and resamples: from the audit's seed and the records.

        From a seed in the folder anyone could draw the resamples again, and solve for the scores of single records.
        """
        return int(hmac.digest(self.key.encode(), f"seed {self.spec.audit.seed}".encode(), "sha256").hex()[:15], 16)

    @property
    def why_no_classes(self) -> str:
        """What the targets are, where they are no classes."""
        targets = self.records.targets
        return (
            f"a record has a label of shape {tuple(targets.shape[1:])}"
            if targets.dim() > 1
            else "the targets are numbers"
        )

    @property
    def content(self) -> Content:
        """What the records hold, see `data.contents`.

        Raises:
            DataError: nobody knows.
        """
        return self.memo.once(_CONTENT, (), lambda: content_of(self.records))

    def name_of(self, who: int | str, kind: str = "record") -> str:
        """What a record, or a user, is called in tables: who has the data can tell which one it is."""
        return hmac.digest(self.key.encode(), f"{kind} {who}".encode(), "sha256").hex()[:16]

    def model(self, seed: int) -> nn.Module:
        """The untrained model of a seed, on the device, found to fit the data and the loss."""
        model = build_model(self.spec.model, seed)
        (self.spec.train.defense or UNDEFENDED).insert(model, self.batch(self.members[:4])[0], self.loss, seed)
        check_loss(model, self.records, self.loss)
        return model.to(self.device)

    def reader(self, model: nn.Module) -> TokenReader:
        """A token reader of the model, proven on the audited records."""
        audit = self.spec.audit
        reader = TokenReader(model, self.loss, audit.tokens.dim, audit.seed, audit.layers)
        reader.prepare(*self.batch(self.members[:64]))
        if any(layer.name == JOINT for layer in reader.layers):
            raise ModelError(
                f"a layer is called `{JOINT}`, which stands for all layers in the tables",
                where="model",
                remedy="give the module another name",
            )
        check_patterns(self.spec, reader.layers)
        return reader

    def batch(self, index: NDArray[np.int64]) -> tuple[Inputs, Tensor]:
        """Inputs and targets of some records."""
        return self.records.batch(torch.from_numpy(index))
