from __future__ import annotations

import pytest
import torch

from ptaudit.errors import PtauditError
from ptaudit.training.device import pick_device


def cuda(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_auto_takes_cuda_where_it_is(monkeypatch):
    cuda(monkeypatch, 2)
    assert pick_device("auto") == torch.device("cuda", 0)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    assert pick_device("cpu") == torch.device("cpu")
    cuda(monkeypatch, 0)
    assert pick_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("cuda", 0, "no CUDA device"),
        ("cuda:0", 0, "no CUDA device"),
        ("cuda:2", 2, r"0\.\.1"),
        ("gpu", 1, "unknown device 'gpu'"),
        ("cuda:", 1, "unknown device"),
        ("cuda:-1", 1, "unknown device"),
        ("cpu:0", 1, "unknown device"),
    ],
)
def test_wrong_devices(monkeypatch, name, count, message):
    cuda(monkeypatch, count)
    with pytest.raises(PtauditError, match=message):
        pick_device(name)
