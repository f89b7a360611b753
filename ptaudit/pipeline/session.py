"""What one audit works on: data, split, loss, audited records; and for each seed a model and its token reader."""

from __future__ import annotations

import hashlib
import hmac
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import ptaudit
from ptaudit.errors import DataError, ModelError, SpecError
from ptaudit.pipeline.about import check_secrets, with_whole_users
from ptaudit.pipeline.code import sources
from ptaudit.pipeline.planted import Planted, with_canaries
from ptaudit.pipeline.secret import attribute_secret
from ptaudit.pipeline.training import training_versions
from ptaudit.pipeline.view import make_view
from ptaudit.replay import (
    Inputs,
    PerRecordLoss,
    Records,
    Split,
    build_model,
    check_loss,
    make_loss,
    make_split,
    open_source,
)
from ptaudit.replay.augment import Augment, make_augment
from ptaudit.replay.data import Source
from ptaudit.replay.data.preprocess import HOW_TO_SAVE
from ptaudit.replay.data.table import TableSource
from ptaudit.replay.forward import with_codes
from ptaudit.replay.labels import with_ignored
from ptaudit.replay.layers import insert, penalised
from ptaudit.replay.saved import digest
from ptaudit.spec.document import parse
from ptaudit.spec.entry import parse_entry
from ptaudit.spec.inference import UserGame
from ptaudit.spec.model import Spec, UsableInformationGame
from ptaudit.tables.row import JOINT
from ptaudit.tables.run import LayerEntry
from ptaudit.tokens import LayerInfo, TokenReader, Tokens
from ptaudit.views import View

MIN_RECORDS = 8
"""Fewest members to audit: two for each quarter of a game."""


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
        planted: canaries that are trained on; they are among the records, and never audited otherwise.
        key: what is known to those alone who have the records: draws and names that come from it cannot be undone.
        kept: what a game found out about the records and needs at every epoch.
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
    planted: tuple[Planted, ...] = ()
    key: str = ""
    kept: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

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

    def name_of(self, record: int) -> str:
        """What a record is called in tables of single records: who has the data can tell which one it is."""
        return hmac.digest(self.key.encode(), f"record {record}".encode(), "sha256").hex()[:16]

    def model(self, seed: int) -> nn.Module:
        """The untrained model of a seed, on the device, found to fit the data and the loss."""
        model = build_model(self.spec.model, seed)
        insert(model, self.spec.train, self.batch(self.members[:4])[0], seed, self.loss)
        check_loss(model, self.records, self.loss)
        return model.to(self.device)

    def reader(self, model: nn.Module) -> TokenReader:
        """A token reader of the model, proven on the audited records."""
        audit = self.spec.audit
        reader = TokenReader(model, self.loss, audit.tokens.dim, audit.seed, audit.layers, self.device)
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


def open_session(spec: Spec, device: torch.device) -> Session:
    """Open the data of the spec and choose the audited records.

    Raises:
        DataError: too few records for the audit that the spec asks for.
        SpecError: a gate on the accuracy of a secret that is a number.
    """
    source = open_source(spec.data)
    _check_stated(spec, source)
    split = make_split(len(source), spec.data, source.columns)
    records = with_ignored(source.records(split.members), spec.train.ignore_index)
    inputs = with_codes(lambda: build_model(spec.model, spec.train.all_seeds[0]), records.inputs)
    records = replace(records, inputs=inputs)
    wanted = len(split.members) if spec.audit.records == "all" else spec.audit.records
    if wanted > len(split.members):
        raise DataError(f"{wanted} members to audit, {len(split.members)} there are", where="audit.records")
    if wanted < MIN_RECORDS:
        raise DataError(f"{wanted} members are too few", where="audit.records", remedy=f"audit at least {MIN_RECORDS}")
    generator = np.random.default_rng(spec.audit.seed)
    members = _members(spec, records, split, wanted, generator)
    others = generator.permutation(split.held_out)[:wanted]
    views = tuple(make_view(view) for view in spec.audit.views)
    loss = penalised(make_loss(spec.train.loss, spec.train.label_smoothing), spec.train)
    saved = {epoch: digest(path) for epoch, path in spec.replay.saved.items()} if spec.replay else {}
    augment = make_augment(spec.data.augment, records)
    key = records.digest("what is drawn from records")
    session = Session(spec, device, records, split, members, others, loss, views, saved, augment, key=key)
    _check_accuracies(session)
    check_secrets(session)
    return with_canaries(session)


def _check_stated(spec: Spec, source: Source) -> None:
    """Columns that are fitted anew are not the inputs of a training that is over."""
    if spec.replay is not None and spec.data.preprocess is None and isinstance(source, TableSource):
        raise DataError(
            "nothing says how the training turned these columns into inputs, and they are not fitted anew for its "
            "checkpoints",
            where="data.preprocess",
            remedy=f"`none` if it took them as they stand; a JSON file of its means, scales and levels, {HOW_TO_SAVE}; "
            "or `fit` if ptaudit fitted them on the very same members",
        )


def _members(
    spec: Spec, records: Records, split: Split, wanted: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Audited members: a random sample; of whole users where a game is about users."""
    if spec.data.user is not None and any(isinstance(game, UserGame) for game in spec.audit.games):
        return with_whole_users(records.columns[spec.data.user], split.members, wanted, generator)
    return generator.permutation(split.members)[:wanted]


def _check_accuracies(session: Session) -> None:
    """A gate on the accuracy of a secret is about classes: with numbers it would match no row."""
    games = {game.title: game for game in session.spec.games}
    for gate in session.spec.gates:
        game = games[gate.game]
        if isinstance(game, UsableInformationGame) and gate.measure == "accuracy" and not _of_classes(session, game):
            raise SpecError(
                f"the secret of `{game.title}` is a number, which has no accuracy",
                where=f"gate {gate.id}",
                remedy=f"gate `{game.title}.bits`",
            )


def _of_classes(session: Session, game: UsableInformationGame) -> bool:
    if game.secret == "label":
        targets = session.records.targets
        return targets.dim() > 1 or not targets.is_floating_point()
    column = session.records.columns[game.attribute or session.spec.data.attributes[0]]
    return attribute_secret(column[session.members]).names is not None


def both_sides(session: Session, reader: TokenReader) -> tuple[Tokens, Tokens]:
    """Tokens of the audited members and of the held-out records, of the same layers: either may reach what is new."""
    inside, outside = (reader.read(*session.batch(side)) for side in (session.members, session.others))
    return inside.of(outside.layers), outside


def audited(spec: Spec, layer: str) -> bool:
    """Whether the layer is among `audit.layers`."""
    return spec.audit.layers == "all" or _matches(layer, spec.audit.layers)


def shared(view: View, layer: str) -> bool:
    """Whether the view shares the layer's gradient."""
    return not view.layers or _matches(layer, view.layers)


def _matches(layer: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(layer, pattern) for pattern in patterns)


def check_patterns(spec: Spec, layers: Sequence[LayerInfo]) -> None:
    """Every layer pattern of views and gates matches a layer, before anything is trained.

    Raises:
        SpecError: for one that does not.
    """
    names = [layer.name for layer in layers if audited(spec, layer.name)]
    for view in spec.audit.views:
        for pattern in view.layers or ():
            if not _any(names, [pattern]):
                raise SpecError(f"`{pattern}` matches no layer", where=f"view {view.name}", remedy=_there_are(names))
    by_name = {view.name: make_view(view) for view in spec.audit.views}
    for gate in spec.gates:
        seen = [n for n in names if gate.view not in by_name or shared(by_name[gate.view], n)]
        if gate.over not in ("layers", "joint", "all") and not _any(seen, [gate.over]):
            raise SpecError(f"`{gate.over}` matches no layer", where=f"gate {gate.id}", remedy=_there_are(seen))


def _any(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(_matches(name, patterns) for name in names)


def _there_are(names: Sequence[str]) -> str:
    return f"there are: {', '.join(names)}"


def layer_entries(layers: Sequence[LayerInfo]) -> tuple[LayerEntry, ...]:
    """The layers as the tables hold them."""
    return tuple(LayerEntry(i.name, i.index, i.type, i.parameters, i.capture, i.reason) for i in layers)


def key(session: Session, spec_text: str) -> dict[str, str]:
    """What the tables of a run depend on; a checkpoint with another key is refused with the difference named."""
    return {
        **settings(spec_text),
        **{f"code of {path}": sha for path, sha in sources(session.spec).items()},
        "data": session.records.digest(),
        "split": session.split.digest(),
        "device": session.device.type,
        **{f"checkpoint of epoch {epoch}": sha for epoch, sha in session.checkpoints.items()},
        **versions(),
        **training_versions(session.spec),
    }


def settings(spec_text: str) -> dict[str, str]:
    """A resolved spec as `a.b.0.c` and value, so that two can be told apart setting by setting."""
    return dict(_leaves(parse(spec_text, "spec").values, ""))


def _leaves(content: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(content, dict) and content:
        inside = content.items()
    elif isinstance(content, list) and content:
        inside = dict(enumerate(content)).items()
    else:
        yield path, str(content)
        return
    for name, value in inside:
        yield from _leaves(value, f"{path}.{name}" if path else str(name))


def versions() -> dict[str, str]:
    """Versions that decide the tables."""
    return {
        "ptaudit": ptaudit.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a class of its own, which a checkpoint may not hold
        "numpy": np.__version__,
    }


def model_digest(spec: Spec) -> str:
    """Hash of the model's source file; of its name where it is an installed module."""
    entry = parse_entry(spec.model.entry, Path())
    return _sha(Path(entry.target).read_bytes() if entry.kind == "file" else spec.model.entry.encode())


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
