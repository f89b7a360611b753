"""The `canaries` part of the spec: records made to be found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ptaudit.spec.base import Flag, Number, Part, Text, Whole, fault, unique

if TYPE_CHECKING:
    from ptaudit.spec.model import Spec

Kind = Literal["natural", "mislabelled", "crafted"]
About = Literal["attribute", "membership"]

KINDS: tuple[Kind, ...] = ("natural", "mislabelled", "crafted")
ADJACENCY: dict[About, str] = {"attribute": "replace-one", "membership": "add-remove"}
"""What neighbouring data sets differ in, where this is the secret."""

STEP_TESTS = ("gaussian-dp", "clopper-pearson")
"""How the games of one step become a bound on epsilon, the stronger one first."""
RunTest = Literal["one-run", "one-run-gaussian"]
RUN_TESTS: tuple[RunTest, ...] = ("one-run", "one-run-gaussian")
"""How the canaries of one training become a bound on epsilon: one for all mechanisms, one for Gaussian ones alone."""
ATTACK = "likelihood-ratio"
"""Who plays for `auc` and `bits`."""

REPORTS = {**dict.fromkeys(STEP_TESTS, ("epsilon_lo",)), ATTACK: ("auc", "bits")}
REPORTS |= dict.fromkeys(RUN_TESTS, ("epsilon_lo", "auc"))
"""What each of them reports."""

_WITH_FIELDS = ("csv", "parquet", "function")


def adversary(kind: str, test: str, about: About) -> str:
    """Name of an adversary in the tables, e.g. `crafted/gaussian-dp/replace-one`."""
    return f"{kind}/{test}/{ADJACENCY[about]}"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class CanarySpec(Part):
    """Records that are as exposed as can be, and bounds on epsilon from how well they are found."""

    kinds: Annotated[
        list[Kind], BeforeValidator(_listed, json_schema_input_type=Kind | list[Kind]), Field(min_length=1)
    ] = list(KINDS)  # noqa: RUF012 - pydantic copies defaults
    """One kind or several: `natural` held-out records, the same `mislabelled`, or `crafted` from them."""
    about: Annotated[
        list[About], BeforeValidator(_listed, json_schema_input_type=About | list[About]), Field(min_length=1)
    ] = ["membership"]  # noqa: RUF012 - pydantic copies defaults
    """What is secret about a canary: whether it is there (`membership`), or which of two values one of its inputs has
    (`attribute`)."""
    attribute: Text | None = None
    """Input column of a table that is secret."""
    values: Annotated[list[Any], Field(min_length=2, max_length=2)] | None = None
    """The two values of the attribute; may be left out where it has no others."""
    count: Annotated[Whole, Field(ge=8, le=100_000)] = 64
    """Canaries of each kind, for each secret."""
    games: Annotated[Whole, Field(ge=32, le=10_000_000)] = 1000
    """Games a step is audited with, on every view, for each kind and secret."""
    delta: Annotated[Number, Field(gt=0, lt=1)] = 1e-5
    """Delta that epsilon is stated at."""
    train: Flag = False
    """Also plant canaries in the training, half of them chosen at random, and audit the trained model in one run."""

    run_test: RunTest = "one-run"
    """How the canaries of a training become a bound: `one-run` holds for every mechanism, `one-run-gaussian` shows more
    and holds for DP-SGD whose every step takes all members."""

    @property
    def step_adversaries(self) -> Mapping[str, str]:
        """Those that play on views, in the order of the tables, with their tests."""
        return self._adversaries(*STEP_TESTS, ATTACK)

    @property
    def run_adversaries(self) -> Mapping[str, str]:
        """Those that play on the trained model, with their tests."""
        return self._adversaries(self.run_test) if self.train else {}

    def _adversaries(self, *tests: str) -> Mapping[str, str]:
        return {adversary(kind, t, about): t for kind in self.kinds for about in self.about for t in tests}

    def idle(self) -> Mapping[str, str]:
        """The attribute, where it is not the secret."""
        return {} if "attribute" in self.about else dict.fromkeys(("attribute", "values"), "`about: membership`")

    @model_validator(mode="after")
    def _parts_fit(self) -> CanarySpec:
        unique(self.kinds, "kind", lambda index: ("kinds", index))
        unique(self.about, "secret", lambda index: ("about", index))
        if "attribute" in self.about and self.attribute is None:
            what = "`about: attribute` does not say which attribute is secret"
            raise fault(what, at=("about",), remedy="add attribute: an input column")
        for index, value in enumerate(self.values or ()):
            if not isinstance(value, str | int | float) or isinstance(value, bool):
                raise fault(f"{value!r} is no value of a column", at=("values", index), remedy="give text or a number")
        unique(map(level_name, self.values or ()), "value", lambda index: ("values", index))
        return self


def level_name(value: str | float) -> str:
    """A value as the fields of tables name it: numbers without needless zeros."""
    return value if isinstance(value, str) else f"{value:g}"


def check_canaries(spec: Spec) -> None:
    """Refuses canaries that the data cannot have, as far as the spec alone tells, and keys that nothing uses."""
    canaries = spec.canaries
    if canaries is None:
        return
    if canaries.train and spec.replay is not None:
        what = "canaries cannot be planted in a training that already happened"
        raise fault(what, at=("canaries", "train"), remedy="remove `train: true` or `replay`")
    if "attribute" in canaries.about:
        _check_attribute(canaries, spec)
    if canaries.run_test != RUN_TESTS[0]:
        _check_gaussian(canaries, spec)
    noisy = any(view.defense is not None and view.defense.acts_on == "sum" for view in spec.audit.views)
    if not spec.audit.views and not canaries.train:
        raise fault("canaries need a view, or `train: true`", at=("canaries",), remedy="name one in audit.views")
    for key, used in (("games", bool(spec.audit.views)), ("delta", noisy or canaries.train)):
        if getattr(canaries, key) != CanarySpec.model_fields[key].default and not used:
            user = "a spec without views" if key == "games" else "canaries without a view of defense `dp`"
            raise fault(f"`{key}` is not used by {user}", at=("canaries", key), remedy="remove it")


def _check_gaussian(canaries: CanarySpec, spec: Spec) -> None:
    """Refuses the bound for Gaussian mechanisms where the training is none; `plant` looks at the number of members."""
    at, defense = ("canaries", "run_test"), spec.train.defense
    if not canaries.train:
        raise fault(f"`{canaries.run_test}` is of a training", at=at, remedy="add `train: true`, or remove it")
    if defense is None or defense.acts_on != "sum" or not defense.noisy:
        what = f"`{canaries.run_test}` holds for a training with Gaussian noise on clipped sums alone"
        raise fault(what, at=at, remedy="add train.defense: dp_sgd, or use one-run")


def _check_attribute(canaries: CanarySpec, spec: Spec) -> None:
    name, data, at = canaries.attribute, spec.data, ("canaries", "attribute")
    if data.kind not in _WITH_FIELDS:
        what = f"source `{data.source}` has no input columns with names"
        raise fault(what, at=at, remedy="use a table, or `about: membership`")
    if name == data.label:
        raise fault(f"`{name}` is the label, not an input", at=at, remedy="name an input column")
    others = {"data.user": data.user, "data.split_by": data.split_by}
    outside = {"data.drop": data.drop, **{key: [other] for key, other in others.items() if other is not None}}
    for key, names in outside.items():
        if name in names:
            raise fault(f"`{name}` is no input: {key} names it", at=at, remedy="name an input column")
