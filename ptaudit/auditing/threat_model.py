"""Who the adversary is, in words: what every report says of it."""

from __future__ import annotations

from collections.abc import Iterator

from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.spec.game import KNOWS_HALF, SEES_SUMS
from ptaudit.spec.model import Spec


def threat_model(spec: Spec) -> tuple[str, ...]:
    """A sentence for each thing that adversaries see or know."""
    return tuple(_sentences(spec))


def _sentences(spec: Spec) -> Iterator[str]:
    seen = {game.sees for game in spec.games}
    yield from [sees for sees in (KNOWS_HALF, SEES_SUMS) if sees in seen][:1]
    # Those who look at views, those who hold the model, and canaries.
    for game in [*sorted(spec.audit.games, key=lambda game: game.on_model), *spec.games[len(spec.audit.games) :]]:
        if sentence := game.threat(spec):
            yield sentence
    encoder = spec.audit.tokens.encoder
    if encoder != "sketch":
        yield f"Mutual and usable information: sees tokens of one {encoder} that half of the records trained."
    defended = any(view.defense is not None or spec.defenses for view in spec.audit.views)
    if defended and any(game.has_static for game in spec.games):
        yield "Adaptive adversaries were fitted on what a defense shows, static ones on undefended views."
    if promised := (spec.train.defense or UNDEFENDED).promise:
        yield promised
    for title, trained in spec.defended.items():
        if promised := (trained.train.defense or UNDEFENDED).promise:
            yield f"Defense {title}: {promised}"
