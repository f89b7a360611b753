from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ptaudit.errors import SpecError
from ptaudit.spec.load import dump, load, restore
from ptaudit.spec.model import ScheduleSpec, Spec

Write = Callable[..., Path]

FULL = """\
version: 1
name: everything
model:
  entry: net.py:net
  args: {width: 8, rate: 1e-3, note: "1e-3", when: 2020-01-01, none: null, flags: [yes, 'yes']}
data:
  source: csv:${SPEC_TEST_DATA:-tables}/adult.csv
  held_out: 0.25
  seed: 5
  label: income
  attributes: [sex, race]
  user: id
  drop: [fnlwgt]
  limit: 1000
train:
  epochs: 10
  batch_size: 16
  optimizer: {name: adamw, lr: 1e-3, betas: [0.8, 0.99], weight_decay: 1e-2}
  schedule: {name: step, step_size: 3, gamma: 0.5, warmup_epochs: 1}
  loss: net.py:net
  seeds: [3, 4]
audit:
  records: 200
  epochs: {every: 4}
  layers: ["head.*"]
  tokens: {dim: 64}
  views:
    - {name: one, batch_size: 1}
    - {name: dp, batch_size: 8, rounds: 2, layers: ["*.weight"], defense: {name: dp, clip: 1, noise_multiplier: .5}}
  games: [{name: identity, candidates: 16}, membership]
  seed: 9
gates:
  - {id: a, metric: identity.bits, view: dp, over: "head.*", epoch: max, max: 1}
  - {id: b, metric: identity.bits, view: one, epoch: 4, adversary: exact, max_increase: 0.1, same_weights: true}
  - {id: c, metric: membership.tpr_at_fpr_0.01, view: model, adversary: loss, max: .2}
"""


@pytest.fixture
def full(write: Write, tmp_path: Path) -> Path:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "adult.csv").write_text("sex\n")
    return write(FULL)


def test_minimal_spec_gets_the_documented_defaults(write: Write, tmp_path: Path) -> None:
    spec = load(write())
    assert spec.model.entry == f"{tmp_path}/net.py:net"
    assert spec.data.held_out == 0.5
    assert (spec.train.batch_size, spec.train.optimizer.name, spec.train.optimizer.lr) == (64, "sgd", 0.1)
    assert (spec.train.schedule.name, spec.train.loss, spec.train.all_seeds) == ("constant", "cross_entropy", (0,))
    assert [(view.name, view.batch_size) for view in spec.audit.views] == [("record", 1), ("batch-32", 32)]
    assert [game.name for game in spec.audit.games] == ["identity", "label", "membership"]
    assert spec.audit.games[0].candidates == 256
    assert spec.audit.audited_epochs(3) == (0, 1, 2, 3)
    assert spec.gates == []


def test_every_value_of_a_full_spec_arrives(full: Path, tmp_path: Path) -> None:
    spec = load(full)
    assert spec.model.args == {
        "width": 8, "rate": 0.001, "note": "1e-3", "when": "2020-01-01", "none": None, "flags": [True, "yes"]
    }  # fmt: skip
    assert spec.data.source == f"csv:{tmp_path}/tables/adult.csv"
    assert (spec.data.label, spec.data.attributes, spec.data.user) == ("income", ["sex", "race"], "id")
    assert (spec.train.optimizer.lr, spec.train.optimizer.betas) == (0.001, (0.8, 0.99))
    assert spec.train.schedule == ScheduleSpec(name="step", step_size=3, gamma=0.5, warmup_epochs=1)
    assert spec.train.loss == f"{tmp_path}/net.py:net"
    assert spec.train.all_seeds == (3, 4)
    assert spec.audit.audited_epochs(10) == (0, 4, 8, 10)
    view = spec.audit.views[1]
    assert (view.rounds, view.layers, view.defense.noise_multiplier) == (2, ["*.weight"], 0.5)
    a, b, c = spec.gates
    assert (a.game, a.measure, a.over, a.epoch, a.max, a.max_increase) == ("identity", "bits", "head.*", "max", 1, None)
    assert (b.over, b.epoch, b.same_weights, b.max_increase) == ("layers", 4, True, 0.1)
    assert (c.game, c.measure, c.over) == ("membership", "tpr_at_fpr_0.01", "joint")


def test_default_rate_depends_on_the_optimizer(write: Write) -> None:
    assert load(write(), ["train.optimizer.name=adam"]).train.optimizer.lr == 0.001
    assert load(write(), ["train.optimizer.name=sgd"]).train.optimizer.lr == 0.1


def test_dump_is_complete_and_loads_anywhere(full: Path, tmp_path: Path) -> None:
    spec = load(full)
    text = dump(spec)
    assert "${" not in text
    elsewhere = tmp_path / "runs" / "x"
    elsewhere.mkdir(parents=True)
    (elsewhere / "spec.resolved.yaml").write_text(text, encoding="utf-8")
    again = load(elsewhere / "spec.resolved.yaml")
    assert again == spec
    assert dump(again) == text


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=8)
    | st.sampled_from(
        [
            "1e-3",
            "yes",
            "2020-01-01",
            "1:30",
            "~",
            "<<",
            "=",
            "0x1f",
            "1_000",
            ".5",
            "*a",
            "!!int 1",
            "\x85",
            "a\u2028 b",
            "\r\n",
            " x ",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "on", "1", "~"]), inner, max_size=3)
    ),
    max_leaves=6,
)
numbers = st.floats(min_value=1e-12, max_value=1e6)
optimizers = st.one_of(
    st.fixed_dictionaries({"name": st.just("sgd")}, optional={"lr": numbers, "weight_decay": numbers}),
    st.fixed_dictionaries({"name": st.sampled_from(["adam", "adamw"])}, optional={"lr": numbers}),
)
epochs = st.one_of(
    st.just("all"),
    st.fixed_dictionaries({"every": st.integers(1, 9)}),
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
)
specs = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "name": st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.\-]{0,8}\Z") | st.just("é-1"),
        "model": st.fixed_dictionaries(
            {"entry": st.just("torchvision:resnet18")},
            optional={"args": st.dictionaries(st.text("abc_"), values, max_size=3)},
        ),
        "data": st.fixed_dictionaries(
            {"source": st.sampled_from(["sklearn:iris", "sklearn:wine"])}, optional={"held_out": st.floats(0.01, 0.99)}
        ),
        "train": st.fixed_dictionaries({"epochs": st.just(5)}, optional={"optimizer": optimizers}),
    },
    optional={"audit": st.fixed_dictionaries({}, optional={"epochs": epochs, "records": st.integers(1, 99)})},
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=specs)
def test_load_undoes_dump(values: dict[str, object], tmp_path: Path) -> None:
    spec = Spec.model_validate(values)
    path = tmp_path / "spec.yaml"
    path.write_text(dump(spec), encoding="utf-8")
    assert load(path) == restore(dump(spec)) == spec


def test_spec_is_frozen(write: Write) -> None:
    spec = load(write())
    with pytest.raises(ValidationError, match="frozen"):
        spec.train.epochs = 9  # type: ignore[misc]


def test_specs_that_differ_are_not_equal(write: Write) -> None:
    assert load(write()) != load(write(), ["train.seed=1"])


def test_anchors_and_merge_keys_work(write: Write) -> None:
    extra = "audit:\n  views:\n    - &one {name: one, batch_size: 4, rounds: 2}\n    - {<<: *one, name: two}\n"
    views = load(write(extra=extra)).audit.views
    assert [(view.name, view.batch_size, view.rounds) for view in views] == [("one", 4, 2), ("two", 4, 2)]


def test_an_override_of_an_aliased_part_leaves_the_other_alone(write: Write) -> None:
    extra = "audit:\n  views:\n    - {name: a, batch_size: 4, defense: &dp {name: dp, clip: 1, noise_multiplier: 1}}\n"
    extra += "    - {name: b, batch_size: 4, defense: *dp}\n"
    views = load(write(extra=extra), ["audit.views.0.defense.clip=7"]).audit.views
    assert [view.defense.clip for view in views if view.defense] == [7, 1]


def test_import_needs_no_torch() -> None:
    code = "import sys, ptaudit.spec; sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_loading_runs_no_user_code_and_no_torch(write: Write, tmp_path: Path) -> None:
    path = write()
    (tmp_path / "net.py").write_text("raise SystemExit('was run')\n")
    code = "import sys, ptaudit.spec.load as s; s.dump(s.load(sys.argv[1])); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0


def test_a_moved_spec_finds_its_files_beside_it(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write()
    shutil.copytree(tmp_path, tmp_path / "copy", ignore=shutil.ignore_patterns("copy"))
    monkeypatch.chdir(tmp_path / "copy")
    assert load(path).model.entry == f"{tmp_path}/net.py:net"
    assert load("spec.yaml").model.entry == f"{tmp_path}/copy/net.py:net"


def test_listed_epoch_beyond_the_run_is_refused_by_the_method_too(write: Write) -> None:
    audit = load(write(), ["audit.epochs=[2, 0, 2]"]).audit
    assert audit.audited_epochs(3) == (0, 2)
    with pytest.raises(SpecError, match="epoch 2 is beyond the last, 1"):
        audit.audited_epochs(1)


@pytest.mark.parametrize(("every", "expected"), [(1, (0, 1, 2, 3)), (2, (0, 2, 3)), (3, (0, 3)), (9, (0, 3))])
def test_every_nth_epoch_includes_the_last(write: Write, every: int, expected: tuple[int, ...]) -> None:
    assert load(write(), [f"audit.epochs.every={every}"]).audit.audited_epochs(3) == expected
