"""What a model says of records."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ptaudit.training.fleet.signals import observed_alone


def test_a_model_is_looked_at_in_eval_mode_and_left_as_it_was(fleet_context):
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    model[2].eval()
    context = fleet_context()
    index = context.pool[:7]
    before = [module.training for module in model.modules()], model[1].running_mean.clone()
    outputs, losses = observed_alone(model, context.loss, context.batch, index)
    assert [module.training for module in model.modules()] == before[0]
    assert torch.equal(model[1].running_mean, before[1])
    inputs, targets = context.batch(index)
    with torch.no_grad():
        expected = model.eval()(inputs)
    np.testing.assert_allclose(outputs, expected.numpy(), rtol=1e-6)
    np.testing.assert_allclose(losses, nn.functional.cross_entropy(expected, targets, reduction="none"), rtol=1e-5)
