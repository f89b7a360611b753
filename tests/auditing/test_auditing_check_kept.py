"""What `check` says of the memory of kept gradients, against the tensors that a run holds."""

from dataclasses import fields

import inference_case
import pytest
import torch
from audit_case import ONE_VIEW, write_spec

from ptaudit.auditing import check
from ptaudit.auditing import gradient_memory as kept
from ptaudit.auditing.gradient_memory import gradient_bytes
from ptaudit.auditing.opening import open_session
from ptaudit.context.counterfactual import counterfactual, counterfactual_gradients
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.observations import summed
from ptaudit.spec.load import load
from ptaudit.views import View


def opened(path):
    """The session of a spec, the reader of its model, and an epoch in which everything is still to be read."""
    session = open_session(load(path), torch.device("cpu"))
    model = session.model(0)
    reader = session.reader(model)
    tokens = reader.read(*session.batch(session.members))
    return session, reader, EpochContext(session, 0, 0, model, reader.layers, tokens, None, reader)


def tensors(layers):
    """By identity, so that what is shared is counted once."""
    parts = [one for layer in layers for one in layer]
    values = [getattr(one, f.name) for one in parts for f in fields(one)]
    return {id(value): value for value in values if isinstance(value, torch.Tensor)}


def size(*several):
    return sum(value.nbytes for value in {k: v for some in several for k, v in some.items()}.values())


def within(stated, actual, factor=1.5):
    return actual / factor <= stated <= actual * factor


@pytest.mark.parametrize("hidden", [16, 400])
def test_kept_gradients_take_what_check_says(tmp_path, hidden):
    """Wide layers as factors, small ones whole."""
    path = write_spec(tmp_path, model__args={"hidden": hidden}, audit__views=ONE_VIEW, audit__games=["identity"])
    report = check(path)
    session, reader, context = opened(path)
    own = tensors(context.gradients)
    assert within(report.gradient_bytes, size(own))
    assert within(gradient_bytes(session, reader)[0], size(own))


def test_the_peak_holds_a_copy_for_every_clip(tmp_path):
    """Of factors the left side is copied, of whole matrices everything."""
    noisy = [{"name": f"dp-{c}", "batch_size": 2, "defense": {"name": "dp", "clip": c, "noise_multiplier": 1.0}}
             for c in (0.5, 1.0, 2.0)]  # fmt: skip
    others = {"name": "identity", "knows": "others"}
    path = write_spec(tmp_path, model__args={"hidden": 400}, audit__views=noisy, audit__games=[others])
    session, reader, context = opened(path)
    own, copies = tensors(context.gradients), []
    for clip in (0.5, 1.0, 2.0):
        copies.append(tensors(summed(context, View("dp", 2, clip=clip, noise_std=1.0), [0, 1]).sums.layers))
    first, more = gradient_bytes(session, reader)
    assert within(first + more, size(own, *copies))
    assert not within(first, size(own, *copies), 1.2)


def test_the_peak_holds_the_gradients_of_every_value_that_is_tried(tmp_path):
    game = {"name": "attribute", "attribute": "colour"}
    session, reader, context = opened(inference_case.spec(tmp_path, audit={"games": [game]}))
    view = View("pair", 2)
    counterfactual(context, view, [0, 1], "colour", False)
    tried = tensors(counterfactual_gradients(context, view, [0, 1], "colour"))
    first, more = gradient_bytes(session, reader)
    assert within(first + more, size(tensors(context.gradients), tried))
    assert more > 1.5 * first


def test_inner_products_are_counted_where_they_are_made(tmp_path):
    """A layer of 64 units, whose span says nothing at 96 records of a batch: squares of the number of records."""
    changes = {
        "data__limit": None,
        "audit__views": [{"name": "large", "batch_size": 96}],
        "model__args": {"hidden": 64},
    }
    session, reader, _ = opened(write_spec(tmp_path, **changes))
    first, more = gradient_bytes(session, reader)
    wider = 899 + 768 - 449  # held-out records that are looked at beside half of the members
    copies = first / 899 * (2 * wider - 899)
    assert any(abs(more - copies - 4 * lines * (899**2 + wider**2)) < 2.0 for lines in (1, 2, 3))
    session, reader, _ = opened(write_spec(tmp_path, audit__games=["label"], **changes))
    assert gradient_bytes(session, reader)[1] == pytest.approx(first / 899 * (899 + 2 * 898), abs=2.0)


def test_twice_the_records_take_twice_the_memory(tmp_path):
    changes = {"model__args": {"hidden": 400}, "audit__views": ONE_VIEW, "audit__games": ["identity"]}
    few, many = (check(write_spec(tmp_path, data__limit=limit, **changes)) for limit in (320, 640))
    assert many.audited == 2 * few.audited
    assert many.gradient_bytes == pytest.approx(2 * few.gradient_bytes, rel=0.01)
    assert few.memory_bytes > few.gradient_bytes


def test_games_that_keep_no_gradients_take_none(tmp_path):
    assert check(write_spec(tmp_path, audit__games=["membership"])).gradient_bytes == 0
    encoder = [{"name": "mutual-information", "estimator": "gaussian"}]
    assert check(write_spec(tmp_path, audit__games=encoder)).gradient_bytes == 0


def test_it_looks_at_a_few_records_only(tmp_path, monkeypatch):
    session, reader, _ = opened(write_spec(tmp_path))
    seen = []
    honest = reader.gradients
    monkeypatch.setattr(reader, "gradients", lambda x, y: seen.append(len(y)) or honest(x, y))
    gradient_bytes(session, reader)
    assert seen == [kept.FEW]
