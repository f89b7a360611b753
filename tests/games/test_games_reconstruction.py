"""The reconstruction game: what is shown, what is granted, and what rebuilt records are worth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from audit_case import write_spec
from PIL import Image

import ptaudit
from ptaudit.attacks.inversion.messages import Reconstruction
from ptaudit.auditing import check
from ptaudit.auditing.cost_probe import CostProbe
from ptaudit.auditing.opening import open_session
from ptaudit.context.observations import prepared
from ptaudit.data.contents import content_of
from ptaudit.data.records import Records
from ptaudit.errors import SpecError
from ptaudit.games.reconstruction.granted import granted, reference_of, unaware
from ptaudit.games.reconstruction.info import ReconstructionGame
from ptaudit.games.reconstruction.measure import Truth, measure
from ptaudit.games.reconstruction.shown import draw, shown, too_few
from ptaudit.spec.load import load
from ptaudit.stats.fidelity import MOST_PSNR
from ptaudit.tables.samples import read_samples
from ptaudit.views import View
from ptaudit.views.view import Update

DP = {"name": "dp", "clip": 1.0, "noise_multiplier": 1.0}
VIEWS = [
    {"name": "record", "batch_size": 1},
    {"name": "dp", "batch_size": 1, "defense": DP},
    {"name": "prune", "batch_size": 1, "defense": {"name": "prune", "ratio": 0.5}},
]
GAME = {"name": "reconstruction", "attacks": ["labels", "analytic"], "records": 8}
QUICK = {"audit__views": VIEWS, "audit__games": [GAME], "audit__epochs": [1], "train__epochs": 1}


def context_of(folder, view, **changes):
    """The untrained model as an epoch, and the game."""
    path = write_spec(folder, **{**QUICK, **changes})
    session = open_session(load(path), torch.device("cpu"))
    model = session.model(0)
    probe = CostProbe.of(session, model, session.reader(model))
    return probe.context(session, view, 2), session.spec.audit.games[0]


def rows(found, **wanted):
    table = found.leakage
    for name, value in wanted.items():
        table = table[table[name] == value]
    return table.set_index("metric")


def test_records_are_rebuilt_exactly_and_noise_hides_them(tmp_path):
    gate = {"id": "told", "metric": "reconstruction.identified", "view": "record", "max": 0.2}
    spec, out = write_spec(tmp_path, **QUICK, gates=[gate]), tmp_path / "run"
    found = ptaudit.audit(spec, out=out, keep_records=True)
    exact = rows(found, view="record", adversary="analytic")
    assert exact.value["explained_variance"] == pytest.approx(1.0)
    assert exact.value["psnr_db"] == pytest.approx(MOST_PSNR)
    assert exact.value["identified"] == exact.value["rebuilt"] == exact.value["labels_found"] == 1.0
    assert exact.value["worst_ssim"] == pytest.approx(1.0)
    assert (exact.layer == "*").all()
    assert (exact.n == 8).all()
    # What the gradient of another record says is worse than the prior.
    assert exact.null["explained_variance"] < 0.0
    assert exact.null["identified"] < 0.2
    assert rows(found, view="record", adversary="labels").value.to_dict() == {"labels_found": 1.0}
    for knowledge in ("adaptive", "static"):
        hidden = rows(found, view="dp", adversary="analytic", knowledge=knowledge)
        assert hidden.value["identified"] < 0.5
    known, unknown = (rows(found, view="dp", adversary="analytic", knowledge=k) for k in ("adaptive", "static"))
    assert known.value["explained_variance"] > unknown.value["explained_variance"]
    assert rows(found, view="prune", adversary="analytic", knowledge="static").value["identified"] > 0.5
    assert found.run.verdicts[0].outcome == "fail"
    assert "sees the gradient of one batch" in " ".join(found.run.manifest["threat_model"])
    kept = read_samples(out)
    assert set(kept.metric) == {f"{view['name']}/analytic/ssim" for view in VIEWS}
    assert kept[kept.metric == "record/analytic/ssim"].value.min() == pytest.approx(1.0)
    assert kept.groupby("metric").record.nunique().eq(8).all()
    names = [f"seed-0-epoch-1-reconstruction-{view['name']}-analytic.png" for view in VIEWS]
    assert sorted(path.name for path in (out / "rebuilt").iterdir()) == sorted(names)
    assert set(json.loads((out / "manifest.json").read_text())["files"]) >= {f"rebuilt/{name}" for name in names}
    picture = np.asarray(Image.open(out / "rebuilt" / names[0]))
    width = picture.shape[1] // 3
    true, rebuilt, prior = (picture[:, i * width : (i + 1) * width].astype(int) for i in range(3))
    assert np.abs(true - rebuilt).max() <= 1
    assert np.abs(true - prior).max() > 50


def test_a_budget_that_runs_out_and_an_attack_that_does_not_apply_are_inconclusive(tmp_path):
    game = {"name": "reconstruction", "attacks": ["dlg", "analytic"], "records": 2, "budget": {"seconds": 1e-9}}
    views = [{"name": "fedavg", "batch_size": 2, "update": {"local_steps": 2, "lr": 0.1}}]
    found = ptaudit.audit(write_spec(tmp_path, **QUICK | {"audit__games": [game], "audit__views": views}),
                          out=tmp_path / "run")  # fmt: skip
    assert found.leakage.value.isna().all()
    assert found.leakage.status.str.startswith("inconclusive: ").all()
    assert rows(found, adversary="dlg").status.str.contains("seconds of the budget were over").all()
    lost = rows(found, adversary="analytic")
    assert lost.status.str.contains("not from updates").all()
    # All that they would have told, so that no gate is decided on the others alone.
    every = {
        "explained_variance",
        "psnr_db",
        "psnr_gain_db",
        "ssim",
        "ssim_gain",
        "identified",
        "rebuilt",
        "worst_ssim",
    }
    assert set(lost.index) == set(rows(found, adversary="dlg").index) == every | {"labels_found"}


def test_what_is_shown_is_the_mean_gradient_of_each_batch(tmp_path):
    view = View("three", 3, rounds=2)
    context, _ = context_of(tmp_path, view)
    batches = draw(context, view, 4)
    assert batches.index.shape == (4, 5)
    assert not set(batches.index[:, 0].tolist()) & set(batches.index[:, 1:].flatten().tolist())
    seen = shown(context, view, batches)
    model, loss = context.reader.source.model.eval(), context.reader.source.loss
    for target, index in enumerate(batches.index):
        for turn, places in enumerate(([0, 1, 2], [0, 3, 4])):
            some = index[places]
            mean = loss(model(batches.inputs[some]), batches.targets[some]).mean()
            for path, true in zip(seen.gradients, torch.autograd.grad(mean, list(model.parameters()))):
                assert torch.allclose(seen.gradients[path][target, turn], true, atol=1e-6)


def test_clipping_noise_and_the_layers_that_are_shared(tmp_path):
    clipped = View("dp", 2, clip=0.1)
    context, game = context_of(tmp_path, clipped)
    batches = draw(context, clipped, 6)
    quiet = shown(context, clipped, batches)
    whole = torch.cat([g[:, 0].flatten(1) for g in quiet.gradients.values()], 1)
    assert whole.norm(dim=1).max() <= 0.1 + 1e-6
    noisy = shown(context, replace(clipped, noise_std=0.4), batches)
    assert noisy.noise_std == 0.2
    gap = torch.cat([(noisy.gradients[path] - g).flatten() for path, g in quiet.gradients.items()])
    assert float(gap.std()) == pytest.approx(0.2, rel=0.05)
    assert list(shown(context, replace(clipped, layers=("3",)), batches).gradients) == ["3.weight", "3.bias"]
    known = granted(context, game, clipped, batches, reference_of(context, content_of(context.session.records)))
    assert (known.clip, unaware(known, batches, game).clip) == (0.1, None)
    assert known.labels is None


def test_updates_and_defenses_are_those_of_other_games(tmp_path):
    view = View("fedavg", 2, update=Update(2, 0.1))
    context, _ = context_of(tmp_path, view, audit__games=[{**GAME, "labels": "known", "attacks": "analytic"}])
    batches = draw(context, view, 3)
    one = shown(context, replace(view, update=None), batches).gradients["3.bias"]
    seen = shown(context, view, batches)
    assert seen.update == view.update
    assert not torch.allclose(seen.gradients["3.bias"], one, rtol=1e-3)
    from ptaudit.defenses import LabelDpDefense, SignDefense

    signs = View("sign", 2, defense=SignDefense(name="sign"))
    assert set(shown(context, signs, batches).gradients["3.bias"].flatten().tolist()) <= {-1.0, 0.0, 1.0}
    swapped = View("labels", 2, defense=LabelDpDefense(name="label_dp", epsilon=0.1))
    ready = prepared(context, swapped)
    assert not torch.equal(shown(context, ready, batches).gradients["3.bias"], one)
    game = context.session.spec.audit.games[0]
    reference = reference_of(context, content_of(context.session.records))
    # Labels that a defense has changed are not those that are known.
    aware = granted(context, game, ready, batches, reference)
    assert aware.labels is None
    assert torch.equal(unaware(aware, batches, game).labels, batches.targets[batches.index])


def truth(n=12, m=2):
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(60, 1, 8, 8, generator=generator)
    content = content_of(Records(pictures, torch.zeros(60, dtype=torch.long), 4))
    flat = content.targets(pictures)
    labels = torch.randint(4, (n, m), generator=generator)
    own = flat[: n * m].view(n, m, 64)
    return Truth(content, content.prior(flat[n * m :]), own, labels, own[:, 0], 0.5)


def said(known, records, labels=None):
    labels = known.labels if labels is None else labels
    return Reconstruction(records.view(*records.shape[:2], 1, 8, 8), labels, torch.zeros(len(records)), 1, 1.0, False)


def test_exact_records_in_any_order_are_at_the_ceiling_and_others_at_the_null():
    known = truth()
    found = measure(known, said(known, known.records.flip(1), known.labels.flip(1)), True, 0)
    assert found["explained_variance"].value == pytest.approx(1.0)
    assert found["explained_variance"].lo < 1.0
    assert found["identified"].value == found["labels_found"].value == found["rebuilt"].value == 1.0
    other = measure(known, said(known, known.records.roll(3, 0)), False, 0)
    assert "labels_found" not in other
    assert other["identified"].value < 0.4
    assert other["explained_variance"].value < 0.0
    prior = measure(known, said(known, torch.from_numpy(known.prior.mean).float().expand_as(known.records)), True, 0)
    assert prior["psnr_gain_db"].value == pytest.approx(0.0, abs=1e-3)
    assert prior["explained_variance"].value == pytest.approx(0.0, abs=1e-5)
    assert prior["identified"].value == pytest.approx(prior["identified"].null, abs=0.1)


def test_one_record_among_many_is_the_worst():
    known = truth(m=1)
    records = torch.from_numpy(known.prior.mean).float().repeat(12, 1, 1)
    records[5] = known.records[5]
    found = measure(known, said(known, records), False, 0)
    assert found["worst_ssim"].value == found["worst_ssim"].hi == pytest.approx(1.0)
    assert found["worst_ssim"].lo < 0.9
    assert found["rebuilt"].value == pytest.approx(1 / 12)


def test_none_of_few_records_is_not_none_at_all():
    known = truth(m=1)
    found = measure(known, said(known, torch.rand(12, 1, 64, generator=torch.Generator().manual_seed(1))), False, 0)
    none = found["rebuilt"]
    assert none.value == none.lo == 0.0
    assert none.hi == pytest.approx(1.0 - 0.025 ** (1 / 12))
    assert none.detectable > 0.2


def test_labels_are_counted_in_whatever_order():
    known = truth(m=4)
    wrong = known.labels.clone()
    wrong[:, 0] = (wrong[:, 0] + 1) % 4
    value = measure(known, said(known, known.records, wrong), True, 0)["labels_found"].value
    slow = np.mean(
        [sum(min(t.count(c), s.count(c)) for c in range(4)) / 4 for t, s in zip(known.labels.tolist(), wrong.tolist())]
    )
    assert value == pytest.approx(slow)


def test_members_that_are_too_few_are_told():
    assert too_few(15, View("batch", 4), 16).startswith("needs 19 records")
    assert too_few(19, View("batch", 4), 16) == ""
    assert too_few(30, View("rounds", 4, rounds=5), 16).startswith("needs 31")


@pytest.mark.parametrize(
    ("game", "gate", "line"),
    [
        ({"attacks": ["dlgg"]}, {}, "'dlg'"),
        ({"attacks": ["dlg", "dlg"]}, {}, "attack `dlg` is used twice"),
        ({"attacks": ["labels"], "labels": "known"}, {}, "reads labels, which `labels: known` grants"),
        ({"budget": {"iterations": 0}}, {}, "budget.iterations"),
        ({"records": 1}, {}, "records"),
        ({"batch_norm": True}, {}, "no attack makes use of batch_norm but `grad-inversion`"),
        ({}, {"over": "layers"}, "from all layers jointly"),
        ({}, {"adversary": "dlg"}, "is not asked in its game"),
        ({"attacks": ["dlg"], "labels": "known"}, {"metric": "reconstruction.labels_found"}, "knows the labels"),
    ],
)
def test_mistakes_are_told(tmp_path, game, gate, line):
    gates = [{"id": "it", "metric": "reconstruction.rebuilt", "view": "record", "max": 0.5, **gate}] if gate else None
    path = write_spec(tmp_path, **{**QUICK, "audit__games": [{"name": "reconstruction", **game}], "gates": gates})
    with pytest.raises(SpecError) as error:
        load(path)
    assert line in str(error.value)


@pytest.mark.parametrize(
    ("game", "gate", "line"),
    [
        ({"attacks": ["grad-inversion"], "batch_norm": True}, {}, "BatchNorm layers, and the model has none"),
        ({}, {"metric": "reconstruction.fields"}, "does not report `fields`"),
        ({}, {"adversary": "labels"}, "labels report labels_found"),
    ],
)
def test_what_these_records_and_this_model_do_not_have_is_told_before_training(tmp_path, game, gate, line):
    gates = [{"id": "it", "metric": "reconstruction.rebuilt", "view": "record", "max": 0.5, **gate}]
    path = write_spec(tmp_path, **{**QUICK, "audit__games": [{"name": "reconstruction", **game}], "gates": gates})
    with pytest.raises(SpecError) as error:
        open_session(load(path), torch.device("cpu"))
    assert line in str(error.value)


def test_trials_lie_on_a_line():
    game = ReconstructionGame(name="reconstruction", budget={"iterations": 300})
    seconds = sum(times * (7.0 + 0.25 * trial.budget.iterations) for trial, times in game.trials())
    assert seconds == pytest.approx(7.0 + 0.25 * 300)
    short = ReconstructionGame(name="reconstruction", budget={"iterations": 4})
    assert short.trials() == [(short, 1.0)]


@pytest.mark.slow
def test_check_foretells_what_it_takes(tmp_path):
    views = [{"name": "record", "batch_size": 1}, {"name": "batch", "batch_size": 4}]
    game = {"name": "reconstruction", "attacks": ["dlg", "inverting-gradients"], "budget": {"iterations": 150}}
    path = write_spec(tmp_path, **{**QUICK, "audit__games": [game], "audit__views": views})
    report = check(path)
    took = ptaudit.audit(path, out=tmp_path / "run").run.timings["games"]
    assert took / 2 < report.estimate_seconds["games"] < 2 * took
