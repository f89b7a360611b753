"""Who the adversary is, in words: what every report says of it."""

from __future__ import annotations

from collections.abc import Iterator

from ptaudit.spec.catalog import INFERENCE_GAMES, TOKEN_GAMES
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.spec.inference import (
    AttributeGame,
    DistributionGame,
    InferenceGame,
    ProbedGame,
    PropertyGame,
    UserGame,
)
from ptaudit.spec.model import Spec
from ptaudit.spec.secrets import about_attribute, attribute_of


def threat_model(spec: Spec) -> tuple[str, ...]:
    """A sentence for each thing that adversaries see or know."""
    return tuple(_sentences(spec))


def _sentences(spec: Spec) -> Iterator[str]:
    names = {game.name for game in spec.games}
    encoder = spec.audit.tokens.encoder
    if names & TOKEN_GAMES - INFERENCE_GAMES - {"canary"}:
        yield "Sees the summed gradients of a view; knows the weights, half of the audited records and held-out ones."
    elif names & INFERENCE_GAMES:
        yield "Sees the summed gradients of a view."
    for game in spec.audit.games:
        if isinstance(game, InferenceGame):
            yield f"{game.title.capitalize()}: {_wants(game, spec)}; {_knows(game)}."
    if "membership" in names:
        yield "Membership: holds the model and labelled members and non-members of the other half."
    if spec.canaries is not None:
        yield "Canary: the worst case of differential privacy, who knows every other record of the batch."
    if encoder != "sketch":
        yield f"Mutual and usable information: sees tokens of one {encoder} that half of the records trained."
    if any(view.defense is not None or spec.defenses for view in spec.audit.views) and names & INFERENCE_GAMES:
        yield "Adaptive adversaries were fitted on what a defense shows, static ones on undefended views."
    if promised := (spec.train.defense or UNDEFENDED).promise:
        yield promised
    for title, arm in spec.arms.items():
        if promised := (arm.train.defense or UNDEFENDED).promise:
            yield f"Defense {title}: {promised}"


def _wants(game: InferenceGame, spec: Spec) -> str:
    """The secret."""
    if isinstance(game, UserGame):
        return f"names the user of a batch among {game.candidates}, of each of whom it has other records"
    column = attribute_of(game, spec) if about_attribute(game) else "the label"
    if isinstance(game, AttributeGame):
        form = {
            "input": ", knowing the rest of the record",
            "latent": "",
            "auto": ", knowing the rest of the record where it is an input column",
        }
        return f"guesses {column} of one record{form[game.form]}"
    assert isinstance(game, PropertyGame | DistributionGame)
    having = f"{column} {', '.join(map(str, game.values))}"
    if isinstance(game, DistributionGame):
        return f"guesses which share of the batch has {having} ({', '.join(f'{ratio:g}' for ratio in game.ratios)})"
    return f"guesses whether one record of the batch has {having}"


def _knows(game: InferenceGame) -> str:
    """Records and weights of its own."""
    own = game.own_records if isinstance(game, ProbedGame) else None
    both = isinstance(game, ProbedGame) and game.weights == "exact"
    records = "half of the audited records" if own is None else f"{own} records of its own"
    records += ", held-out ones" if own is None and both else ""
    if isinstance(game, UserGame):
        records = "half of the users"
    return f"knows {records} and the weights{' of the epoch before' if game.weights == 'late' else ''}"
