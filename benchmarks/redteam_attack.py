"""A case from beginning to end: draw games as the package does, attack them, score the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import redteam_identity as identity
import redteam_known as known
import redteam_secrets as secrets
import redteam_users as users
from redteam_classify import fit as fit_classifiers
from redteam_gradients import Eye, blocks_of
from redteam_posterior import Evidence, fit_posterior
from redteam_score import Score, score
from redteam_world import Array, Index, World


@dataclass(frozen=True)
class Effort:
    """How many games are played.

    Attributes:
        identity: about candidates: to learn from; half as many to calibrate on, and as many that count.
        batches: about a secret of the batch: to learn from; half as many to calibrate on.
        played: about a secret of the batch: that count.
    """

    identity: int = 1500
    batches: int = 4096
    played: int = 4096


@dataclass(frozen=True)
class Attack:
    """What is attacked.

    Attributes:
        eye: reads the gradients of the view.
        view: the view of the spec.
        game: the game of the spec.
        effort: how many games.
        rng: draws them.
    """

    eye: Eye
    view: Mapping[str, Any]
    game: Mapping[str, Any]
    effort: Effort
    rng: np.random.Generator

    @property
    def m(self) -> int:
        """Records in a batch."""
        return int(self.view["batch_size"])


def attack(world: World, spec: Mapping[str, Any], game: str, view: str, how: tuple[Effort, int]) -> Score:
    """The attacker's bits in one game.

    Args:
        world: weights and records.
        spec: the spec, where game and view are found.
        game: its name or id.
        view: its name.
        how: number of games, and seed.
    """
    games = [{"name": one} if isinstance(one, str) else one for one in spec["audit"]["games"]]
    asked = next(one for one in games if one.get("id", one["name"]) == game)
    shown = next(one for one in spec["audit"]["views"] if one["name"] == view)
    defense = shown.get("defense", {})
    clip = defense.get("clip")
    noise = 0.0 if clip is None else clip * defense["noise_multiplier"]
    effort, seed = how
    eye = Eye(world, blocks_of(world.model), clip, noise, defense, shown.get("update", {}))
    made = Attack(eye, shown, asked, effort, np.random.default_rng(seed))
    if asked["name"] == "attribute" and asked.get("form") == "input":
        return _known(made)
    return {"identity": _identity, "user": _user}.get(asked["name"], _secret)(made)


def _identity(made: Attack) -> Score:
    """Which of K = min(candidates, N/4) records? Half of the records are the attacker's."""
    eye, rng, m, games = made.eye, made.rng, made.m, made.effort.identity
    order = rng.permutation(eye.world.members)
    quarter = len(order) // 4
    k = min(int(made.game.get("candidates", 256)), quarter)
    own, targets, others = order[: 2 * quarter], order[2 * quarter : 3 * quarter], order[3 * quarter : 4 * quarter]
    density = None
    if needs_density(eye):
        third = len(own) // 3
        density, own = identity.density_of(eye, own[:third], rng), own[third:]
    one, other = own[: len(own) // 2], own[len(own) // 2 :]
    size = min(k, len(one))

    def play(some: Index, rest: Index, k: int, games: int) -> Evidence:
        return identity.play(eye, identity.Table(some, rest, k), m, density, (games, rng))

    posterior = fit_posterior(play(one, other, size, games), play(other, one, size, games // 2))
    return _of_evidence(posterior, [play(targets, others, k, games // 2), play(others, targets, k, games // 2)])


def needs_density(eye: Eye) -> bool:
    """Noise, local steps, and layers with many positions leave more in the whole gradient than algebra sees."""
    return not eye.processed and (eye.noise > 0.0 or bool(eye.update) or len(eye.sides(eye.world.members[:2])) < 2)


def _known(made: Attack) -> Score:
    """The value of a field of a record whose rest is known."""
    eye, rng, effort = made.eye, made.rng, made.effort
    name, members = made.game["attribute"], eye.world.members
    prior = known.guess(eye.world, name, rng)
    versions = known.versions_of(eye, name, members)
    draw = secrets.of_record(eye.world.fields[name][0], made.m)
    fit, calibrate, played = (
        known.evidence(eye, draw(part, games, rng), versions, prior, rng)
        for part, games in _parts(members, effort, rng)
    )
    return _of_evidence(fit_posterior(fit, calibrate), [played])


def _user(made: Attack) -> Score:
    """Of which user? Half of the users are the attacker's."""
    eye, rng, games = made.eye, made.rng, made.effort.identity
    column = eye.world.columns[made.game.get("column", "patient")]
    size, clients = made.m, int(made.view.get("users", 1))
    all_users = users.users_of(column, eye.world.members, size, clients, int(made.game.get("candidates", 16)))
    facts, who = users.learn_all(eye), rng.permutation(len(all_users.records))
    half = len(who) // 2
    parts = ((who[: half // 2], games), (who[half // 2 : half], games // 2), (who[half:], games))
    fit, calibrate, played = (users.play(eye, all_users, some, facts, (count, rng)) for some, count in parts)
    return _of_evidence(fit_posterior(fit, calibrate), [played])


def _of_evidence(posterior: Callable[[Evidence], Array], parts: list[Evidence]) -> Score:
    q, prior, secret, unit = (
        np.concatenate(some) for some in zip(*((posterior(part), part.prior, part.secret, part.unit) for part in parts))
    )
    return score(q, prior, np.eye(prior.shape[1])[secret], unit)


def _secret(made: Attack) -> Score:
    """A secret of the batch, by classifiers."""
    eye, rng, members = made.eye, made.rng, made.eye.world.members
    draw, prior = drawing(made)
    fit, calibrate, played = (draw(part, games, rng) for part, games in _parts(members, made.effort, rng))
    answer, _ = fit_classifiers(*(secrets.seen(eye, games, prior, rng) for games in (fit, calibrate)))
    shown = secrets.seen(eye, played, prior, rng)
    truth = np.eye(len(prior))[played.secret]
    return score(answer(shown.x), np.broadcast_to(prior, truth.shape), truth, played.unit)


def drawing(made: Attack) -> tuple[secrets.Draw, Array]:
    """How the batches of a game are drawn, and the prior of its secret."""
    world, name, game = made.eye.world, made.game["name"], made.game
    column = world.targets.numpy() if game.get("secret") == "label" or name == "label" else None
    if column is None:
        column = world.columns[game["attribute"]]
    if name in ("label", "attribute"):
        codes = np.unique(column, return_inverse=True)[1]
        share = np.bincount(codes[world.members]).astype(np.float64)
        return secrets.of_record(codes, made.m), share / share.sum()
    has = np.isin(column.astype(str), [str(value) for value in game["values"]])
    if name == "property":
        return secrets.of_property(has, made.m), np.full(2, 0.5)
    ratios = tuple(game.get("ratios", (0.2, 0.8)))
    return secrets.of_distribution(has, made.m, ratios), np.full(len(ratios), 1.0 / len(ratios))


def _parts(members: Index, effort: Effort, rng: np.random.Generator) -> list[tuple[Index, int]]:
    """Records to learn from (a third), to calibrate on (a sixth) and that count (half), and how many games each."""
    order = rng.permutation(members)
    cuts = len(order) // 3, len(order) // 2
    learned, calibrated, played = np.split(order, cuts)
    return [(learned, effort.batches), (calibrated, effort.batches // 2), (played, effort.played)]
