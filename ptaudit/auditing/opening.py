"""Opens what a spec names: data, split, loss, audited records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ptaudit.context.session import Session
from ptaudit.context.training_canaries import with_canaries
from ptaudit.data import Records, Source, open_source
from ptaudit.data.preprocess import HOW_TO_SAVE
from ptaudit.data.split import Split, make_split
from ptaudit.data.table import TableSource
from ptaudit.errors import DataError
from ptaudit.games.game_play import play_of
from ptaudit.gradients.layers import LayerInfo
from ptaudit.spec.defenses import DefenseSpec
from ptaudit.spec.model import Spec
from ptaudit.tables.run import LayerEntry
from ptaudit.training.augment import make_augment
from ptaudit.training.forward import with_codes
from ptaudit.training.loss import train_loss, with_ignored
from ptaudit.training.model import build_model
from ptaudit.training.saved import digest
from ptaudit.views import View

MIN_RECORDS = 8
"""Fewest members to audit: two for each quarter of a game."""


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
    views = tuple(View.of(view) for view in spec.audit.views)
    loss = train_loss(spec.train)
    saved = {epoch: digest(path) for epoch, path in spec.replay.saved.items()} if spec.replay else {}
    augment = make_augment(spec.data.augment, records)
    key = records.digest("what is drawn from records")
    session = Session(spec, device, records, split, members, others, loss, views, saved, augment, key=key)
    check_secrets(session)
    return with_canaries(session)


def defended_sessions(session: Session) -> Iterator[Session]:
    """The sessions of all defenses."""
    return (defended_session(session, spec) for spec in session.spec.defended.values())


def defended_session(session: Session, spec: Spec) -> Session:
    """The session of a defense: the same records and split."""
    return replace(session, spec=spec, loss=train_loss(spec.train), views=tuple(map(View.of, spec.audit.views)))


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
    if spec.data.user is not None and any(game.needs_whole_users for game in spec.audit.games):
        return with_whole_users(records.columns[spec.data.user], split.members, wanted, generator)
    return generator.permutation(split.members)[:wanted]


def layer_entries(layers: Sequence[LayerInfo]) -> tuple[LayerEntry, ...]:
    """The layers as the tables hold them."""
    return tuple(LayerEntry(i.name, i.index, i.type, i.parameters, i.capture, i.reason) for i in layers)


def with_whole_users(
    user: NDArray[np.generic], members: NDArray[np.int64], wanted: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Members of random users, all their records, until there are enough: a user game needs several of each.

    Args:
        user: user of every record.
        members: records to choose from.
        wanted: how many.
        generator: of the order.
    """
    order = generator.permutation(members)
    _, place, count = np.unique(user[order], return_inverse=True, return_counts=True)
    rank = generator.permutation(len(count))
    chosen = order[np.argsort(rank[place], kind="stable")][:wanted]
    return np.asarray(generator.permutation(chosen))


def check_secrets(session: Session) -> None:
    """Refuses games and defenses that do not fit the records.

    Raises:
        DataError: a secret that is the same for all, or a number where classes are needed; users with few records.
        SpecError: values that no record has; settings or gates that these records leave without use.
    """
    for game in session.spec.audit.games:
        play_of(game).check(session, game)
    for view in session.spec.audit.views:
        if view.defense is not None:
            _check_defense(session, view.defense, f"view {view.name}", trained=False)
    for defense in session.spec.defenses:
        _check_defense(session, defense, f"defense {defense.title}", trained=True)


def _check_defense(session: Session, defense: DefenseSpec, where: str, trained: bool) -> None:
    """As for `train.defense`: a defense that is trained with too learns from members as well."""
    own = {"held-out records": session.others, **({"members": session.split.members} if trained else {})}
    try:
        defense.check_records(session.records, session.split, own)
    except DataError as error:
        raise DataError(error.what, where=where, remedy=error.remedy) from error
