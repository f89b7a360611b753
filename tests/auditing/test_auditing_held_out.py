"""Held-out records as a view shows them to the adversary."""

from dataclasses import replace

import torch
from audit_case import ONE_VIEW, write_spec

from ptaudit.auditing.opening import open_session
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.observations import held_out
from ptaudit.spec.load import load
from ptaudit.views import View


def context(tmp_path):
    session = open_session(
        load(write_spec(tmp_path, audit__views=ONE_VIEW, audit__games=["identity"])), torch.device("cpu")
    )
    model = session.model(0)
    reader = session.reader(model)
    inside, outside = (reader.read(*session.batch(side)) for side in (session.members, session.others))
    return EpochContext(session, 0, 0, model, reader.layers, inside.beside(outside), outside, reader)


def test_a_norm_that_is_no_number_spoils_what_is_clipped_by_it(tmp_path):
    """Of a layer that the view does not share: its own gradients are numbers, and their clipped ones are not."""
    whole = context(tmp_path)
    norms = whole.outside.total_norm_sq.clone()
    norms[3] = torch.nan
    spoiled = replace(whole, outside=replace(whole.outside, total_norm_sq=norms))
    clipping = View("clipped", 2, clip=1.0, noise_std=1.0)
    assert held_out(spoiled, clipping, [1]) is None
    assert held_out(whole, clipping, [1]) is not None
    assert held_out(spoiled, View("plain", 2), [1]) is not None
