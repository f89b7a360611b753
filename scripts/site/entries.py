"""What the registries know of a game, an attack, an estimator or a defense, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from words import code, codes, references, settings, table

from ptaudit.attacks.inversion.registry import ATTACKS as INVERSION
from ptaudit.attacks.membership.registry import ATTACKS as MEMBERSHIP
from ptaudit.attacks.membership.registry import SIGNALS
from ptaudit.attacks.registry import OF_BATCHES, OF_CONTENT, OF_TOKENS
from ptaudit.estimators.registry import ESTIMATORS, Option
from ptaudit.games.common.settings import ProbedGame
from ptaudit.games.membership.info import OF_LAYERS, OWN, MembershipGame, metrics_of, with_references
from ptaudit.spec.defenses import DefenseSpec
from ptaudit.spec.game import GameSpec
from ptaudit.spec.metrics import METRICS, Metric
from ptaudit.spec.model import json_schema
from ptaudit.spec.registry import DEFENSES, GAMES, TRAIN_DEFENSES

FAMILIES = {"batch": OF_BATCHES, "usable": OF_TOKENS, "content": OF_CONTENT}
"""Registries of families of classifiers and decoders, by the folder of their pages."""

_PLAYED_BY = {
    "batch": [name for name, one in GAMES.items() if issubclass(one, ProbedGame)],
    "usable": ["usable-information"],
    "content": ["content"],
}


def game(name: str) -> str:
    """Facts, settings, metrics and adversaries of a game."""
    one = GAMES[name]
    schema = one.model_json_schema()
    inner = {part: key for key, value in schema["properties"].items() for part in references(value)}
    shared = {part: key for key, value in json_schema()["properties"].items() for part in references(value)}
    links = {part: f"[`{key}`](#{key})" for part, key in inner.items()}
    links |= {part: f"[`{key}`](../reference/spec.md#{key})" for part, key in shared.items()}
    own = [(key, schema["$defs"][part]) for part, key in inner.items() if part not in shared]
    return "\n\n".join(
        [
            _facts(_game_facts(one)),
            "### Settings",
            settings(schema, links),
            *(f"### {code(key)}\n\n{part.get('description', '')}\n\n{settings(part)}" for key, part in own),
            "### Numbers it reports",
            _metrics(one),
            f"### Who can play\n\n{codes(one.all_players())}",
        ]
    )


def games() -> str:
    """A row for each game."""
    rows = [
        (
            f"[{name}]({name}.md)",
            _question(one),
            codes(one.all_players()),
            codes(name for name in one.metrics if _listed(name)),
        )
        for name, one in GAMES.items()
    ]
    return table(("game", "question", "who plays", "numbers"), rows)


def membership_attack(name: str) -> str:
    """Facts of a membership attack."""
    return _facts(_membership_facts(name))


def inversion_attack(name: str) -> str:
    """Facts of a gradient inversion."""
    attack = INVERSION[name]
    most = "any size" if attack.most_records is None else f"at most {attack.most_records} records"
    return _facts(
        [
            ("In short", attack.says),
            ("Inputs", ", ".join(attack.kinds)),
            ("Batches", most),
            ("Updates of several local steps", "yes" if attack.updates else "no"),
            ("Says something of", f"the {attack.says_of} of a batch" if attack.says_of != "records" else "records"),
            ("Cost", attack.cost),
            ("Played by", "[reconstruction](../../games/reconstruction.md)"),
        ]
    )


def family(kind: str, name: str) -> str:
    """Which games a family of classifiers or decoders plays."""
    if name not in FAMILIES[kind]:
        raise KeyError(name)
    played = ", ".join(f"[{game}](../../games/{game}.md)" for game in _PLAYED_BY[kind])
    return _facts([("Played by", played), ("Code", code(FAMILIES[kind][name]))])


def estimator(name: str) -> str:
    """Options of an estimator."""
    options = ESTIMATORS[name].options
    rows = [(code(key), _values(one), code(one.default)) for key, one in options.items()]
    return "\n\n".join(
        [
            _facts(
                [
                    ("Played by", "[mutual-information](../games/mutual-information.md)"),
                    ("From Python", code(f'ptaudit.estimate.mutual_information(x, y, estimator="{name}")')),
                ]
            ),
            table(("option", "values", "default"), rows) if rows else "No options.",
        ]
    )


def defense(name: str) -> str:
    """Facts and settings of a defense, on a view and in training."""
    view = DEFENSES[name]
    training = _training_of(view)
    shown = [_facts(_defense_facts(view, training)), "### On a view", settings(view.model_json_schema())]
    title = training.model_fields["name"].annotation.__args__[0]  # type: ignore[union-attr]
    return "\n\n".join(
        [*shown, f"### In training (`train.defense`, name `{title}`)", settings(training.model_json_schema())]
    )


def _question(one: type[GameSpec]) -> str:
    return (one.__doc__ or "").splitlines()[0].partition(": ")[2]


def _game_facts(one: type[GameSpec]) -> Iterator[tuple[str, str]]:
    plain = one.model_construct()
    yield "Question", _question(one)
    if one.of_part:
        yield "Asked for by", f"the part `{one.of_part}` of the spec"
    else:
        yield "Played on", "views of the spec" if plain.on_views else "the view `model`"
    yield "`n` counts", one.counts
    needs = list(_needs(one))
    yield "Needs or uses", "; ".join(needs) if needs else "nothing beyond the audited records"
    yield "A gate looks at", "row `*`" if one.gated_over == "joint" else "each layer, unless `over` says otherwise"
    yield "Class of attack (EDPB Opinion 28/2024)", ", ".join(one.attack_classes) or "none: it is no attack"


def _needs(one: type[GameSpec]) -> Iterator[str]:
    said = {
        "uses_held_out": "held-out records",
        "needs_encoder": "tokens: the sketch, or those of `audit.tokens.encoder`",
        "uses_fleet": "reference models (`fleet`)",
        "needs_earlier_weights": "the weights of the epoch before, for some of its adversaries",
        "needs_whole_users": "all records of the audited users (`data.user`)",
        "reads_model": "gradients through the whole model, whatever `audit.layers` says",
        "is_of_noise": "noise of known size on the view",
    }
    return (words for flag, words in said.items() if getattr(one, flag))  # a property: in some settings


def _metrics(one: type[GameSpec]) -> str:
    rows = [(code(name), METRICS[name].unit, span(METRICS[name])) for name in one.metrics if _listed(name)]
    more = "" if all(map(_listed, one.metrics)) else "\n\nMore numbers of it are in a file of its own."
    return table(("metric", "unit", "range"), rows) + more


def _listed(name: str) -> bool:
    return METRICS[name].listed


def span(metric: Metric) -> str:
    """The range of a metric, in words."""
    least, most = (f"{end:.4g}".replace("inf", "∞").replace("-", "−") for end in (metric.least, metric.most))
    return f"{least} to {most}"


def _membership_facts(name: str) -> Iterator[tuple[str, str]]:
    if name in MEMBERSHIP:
        attack = MEMBERSHIP[name]
        yield "In short", attack.says
        yield "Looks at", ", ".join(SIGNALS[signal] for signal in attack.needs)
        if attack.epochs:
            yield "Audited epochs so far", f"at least {attack.epochs}"
        yield "Cost", attack.cost
        if attack.outside:
            yield "Reference models", _models(attack.inside, attack.outside)
    elif name in OWN:
        yield "In short", "Likelihood of a gradient's token among members against that among others."
        yield "Cost", "no further training"
    else:
        raise KeyError(name)
    yield "Played", _when(name)
    yield "Rows", "every layer, and `*`" if name in OF_LAYERS else "`*` alone"
    yield "Reports", codes(metrics_of(name))


def _models(inside: int, outside: int) -> str:
    without = f"at least {outside} without each record"
    return f"at least {inside} with and {outside} without each record" if inside else without


def _when(name: str) -> str:
    if name not in MembershipGame.all_players():
        return "not by the game; a function to call"
    if name in OWN:
        return "unless `attacks` leaves it out"
    played = name in (*with_references(), "modified-entropy", "loss-trace")
    return "where the spec has a `fleet`, or `attacks` names it" if played else "where `attacks` names it"


def _values(option: Option) -> str:
    return " or ".join(map(code, option.words)) if option.words else f"whole number, at least {option.least}"


def _training_of(view: type[DefenseSpec]) -> type[DefenseSpec]:
    """The settings in training: of the same name, or of the one that an error about the name points to."""
    (name,) = view.model_fields["name"].annotation.__args__  # type: ignore[union-attr]
    if name in TRAIN_DEFENSES:
        return TRAIN_DEFENSES[name]
    return next(TRAIN_DEFENSES[other] for other in TRAIN_DEFENSES if code(other) in TRAIN_DEFENSES.hints[name])


def _defense_facts(view: type[DefenseSpec], training: type[DefenseSpec]) -> Iterator[tuple[str, str]]:
    acts = {"labels": "labels", "pass": "the forward pass", "gradient": "the mean gradient of a batch"}
    yield "Acts on", acts.get(view.acts_on, "each record's gradient and the sum of a batch")
    yield "Same batch looks different every time", "yes" if view.stochastic else "no"
    yield "Strength", code(view.parameter) if view.parameter else "none: it is on or off"
    if training.unused:
        yield "Keys of `train` without use beside it", codes(training.unused)
    if training.packages:
        yield "Packages for training", codes(training.packages)


def _facts(rows: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> str:
    return table(("", ""), rows)
