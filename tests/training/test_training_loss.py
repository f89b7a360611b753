from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ptaudit.data import Records
from ptaudit.errors import DataError, ModelError, PtauditError
from ptaudit.training.loss import make_loss, with_ignored
from ptaudit.training.loss_check import check_loss


def records(inputs, targets, classes=None) -> Records:
    return Records(inputs, targets, classes)


def test_cross_entropy_of_one_record_is_what_torch_says():
    output, target = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    losses = make_loss("cross_entropy")(output, target)
    expected = [F.cross_entropy(o[None], t[None]) for o, t in zip(output, target, strict=True)]
    torch.testing.assert_close(losses, torch.stack(expected))


def test_cross_entropy_of_sequences_is_averaged_over_positions():
    output, target = torch.randn(4, 3, 6), torch.randint(3, (4, 6))
    losses = make_loss("cross_entropy")(output, target)
    assert losses.shape == (4,)
    torch.testing.assert_close(losses[1], F.cross_entropy(output[1].T, target[1]))


def test_positions_that_do_not_count_do_not_count():
    output, target = torch.randn(3, 4, 6), torch.randint(4, (3, 6))
    target[0, 2:], target[1] = -100, -100
    losses = make_loss("cross_entropy")(output, target)
    torch.testing.assert_close(losses[0], F.cross_entropy(output[0, :, :2].T, target[0, :2]))
    assert float(losses[1]) == 0
    torch.testing.assert_close(losses[2], F.cross_entropy(output[2].T, target[2]))


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_bce_takes_one_logit_a_record(shape):
    logits, target = torch.randn(6), torch.tensor([0, 1, 1, 0, 1, 0])
    losses = make_loss("bce")(logits.reshape(shape), target)
    expected = -torch.where(target == 1, torch.sigmoid(logits), 1 - torch.sigmoid(logits)).log()
    torch.testing.assert_close(losses, expected)


def test_bce_of_several_labels_is_averaged():
    logits, target = torch.randn(4, 5), torch.randint(2, (4, 5))
    losses = make_loss("bce")(logits, target)
    assert losses.shape == (4,)
    torch.testing.assert_close(losses[2], F.binary_cross_entropy_with_logits(logits[2], target[2].float()))


def test_mse_does_not_broadcast_a_column_against_a_row():
    output, target = torch.randn(5, 1), torch.randn(5)
    torch.testing.assert_close(make_loss("mse")(output, target), (output[:, 0] - target) ** 2)
    wide = torch.randn(5, 3)
    torch.testing.assert_close(make_loss("mse")(wide, torch.zeros(5, 3)), (wide**2).mean(1))


@pytest.fixture
def custom(tmp_path):
    path = tmp_path / "losses.py"
    path.write_text(
        "def hinge(output, target):\n    return (1 - output.gather(1, target[:, None])[:, 0]).relu()\n\n\n"
        "def averaged(output, target):\n    return output.mean()\n\n\n"
        "def number(output, target):\n    return 0.0\n"
    )
    return lambda name: make_loss(f"{path}:{name}")


def test_custom_loss_is_used_and_its_shape_checked(custom):
    output, target = torch.tensor([[0.25, 2.0], [0.5, 0.0]]), torch.tensor([0, 1])
    torch.testing.assert_close(custom("hinge")(output, target), torch.tensor([0.75, 1.0]))
    with pytest.raises(ModelError, match=r"losses\.py:averaged: the loss returned \(\) for 2 records, .*\(2,\)"):
        custom("averaged")(output, target)
    with pytest.raises(ModelError, match="returned float"):
        custom("number")(output, target)
    with pytest.raises(PtauditError, match=r"hing.*did you mean `hinge`"):
        custom("hing")


def test_check_passes_what_fits_and_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check_loss(model, records(torch.randn(9, 4), torch.arange(9) % 3, 3), make_loss("cross_entropy"))
    assert [module.training for module in model] == [True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_failed_check_leaves_the_model_as_it_was_too():
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout())
    with pytest.raises(ModelError):
        check_loss(model, records(torch.randn(9, 5), torch.zeros(9).long(), 1), make_loss("cross_entropy"))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


FLAT = torch.randn(9, 4)
CLASSES = torch.arange(9) % 3


@pytest.mark.parametrize(
    ("model", "data", "loss", "error", "message"),
    [
        (
            nn.Sequential(nn.Linear(104, 3)),
            (torch.randn(9, 108), CLASSES, 3),
            "cross_entropy",
            ModelError,
            "layer 0: the model expects 104 features, the data have 108",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()),
            (torch.randn(9, 3, 8, 8), CLASSES, 3),
            "cross_entropy",
            ModelError,
            "layer 0: the model expects 1 channels, the data have 3",
        ),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(100, 3)),
            (torch.randn(9, 1, 8, 8), CLASSES, 3),
            "cross_entropy",
            ModelError,
            r"layer 1: the layer expects 100 features and gets 64 from records of shape \(1, 8, 8\)",
        ),
        (
            nn.Linear(4, 3),
            (torch.ones(9, 4).long(), CLASSES, 3),
            "cross_entropy",
            ModelError,
            "int64.*save them as float32",
        ),
        (
            nn.Linear(4, 2),
            (FLAT, CLASSES, 3),
            "cross_entropy",
            DataError,
            r"labels are 0\.\.2, the model has 2 outputs.*give the model 3 outputs",
        ),
        (nn.Linear(4, 3), (FLAT, CLASSES - 1, 3), "cross_entropy", DataError, r"labels are -1\.\.1.*count from 0"),
        (nn.Linear(4, 3), (FLAT, CLASSES.float(), None), "cross_entropy", DataError, "float32.*use bce or mse"),
        (
            nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)),
            (FLAT, CLASSES, 3),
            "cross_entropy",
            ModelError,
            r"output is \(n\); cross_entropy needs \(n, C\) for targets \(n\)",
        ),
        (nn.Linear(4, 2), (FLAT, CLASSES % 2, 2), "bce", ModelError, "2 a record, the data 1.*one output"),
        (nn.Linear(4, 1), (FLAT, CLASSES, 3), "bce", DataError, r"from 0 to 1; they are 0\.\.2"),
        (nn.Linear(4, 1), (FLAT, CLASSES, 3), "mse", DataError, "codes of 3 classes"),
        (nn.Linear(4, 2), (FLAT, torch.randn(9), None), "mse", ModelError, "2 a record, the data 1"),
        (nn.LSTM(4, 3), (FLAT, CLASSES, 3), "cross_entropy", ModelError, "returns tuple, cross_entropy needs a tensor"),
        (
            nn.Sequential(nn.Linear(4, 3), nn.Flatten(0)),
            (FLAT, CLASSES, 3),
            "bce",
            ModelError,
            r"returned the shape \(12,\) for 4 records",
        ),
        (
            nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3)),
            (FLAT, CLASSES, 3),
            "cross_entropy",
            ModelError,
            "changes its inputs in place.*no in-place ReLU on the input",
        ),
        (
            nn.Linear(4, 3).double(),
            (FLAT, CLASSES, 3),
            "cross_entropy",
            ModelError,
            r"got Float and Double \(keep the model in float32 \(train\.precision",
        ),
    ],
)
def test_what_does_not_fit_is_named(model, data, loss, error, message):
    with pytest.raises(error, match=message):
        check_loss(model, records(*data), make_loss(loss))


def test_labels_beyond_the_trial_records_are_checked_too():
    targets = torch.zeros(9, dtype=torch.int64)
    targets[8] = 5
    with pytest.raises(DataError, match=r"labels are 0\.\.5, the model has 3 outputs"):
        check_loss(nn.Linear(4, 3), records(FLAT, targets, 6), make_loss("cross_entropy"))


def test_sequence_output_fits_sequence_targets():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(7, 3)

        def forward(self, x):
            return self.table(x).transpose(1, 2)

    tokens = torch.randint(7, (9, 5))
    check_loss(Tagger(), records(tokens, torch.randint(3, (9, 5))), make_loss("cross_entropy"))
    with pytest.raises(ModelError, match=r"\(n, 3, 5\); cross_entropy needs \(n, C, 4\)"):
        check_loss(Tagger(), records(tokens, torch.randint(3, (9, 4))), make_loss("cross_entropy"))
    padded = torch.randint(3, (9, 5))
    padded[:, 3:] = -100
    check_loss(Tagger(), records(tokens, padded), make_loss("cross_entropy"))
    with pytest.raises(DataError, match="all targets are -100"):
        check_loss(Tagger(), records(tokens, torch.full((9, 5), -100)), make_loss("cross_entropy"))
    with pytest.raises(ModelError, match=r"\(n, 5, 3\); .*the classes come second: output\.movedim\(-1, 1\)"):
        check_loss(nn.Embedding(7, 3), records(tokens, padded), make_loss("cross_entropy"))


def test_a_class_that_the_first_records_do_not_have(tmp_path):
    """The loss was tried on others; what it stumbles over later is an error of the user's, not of ptaudit."""
    code = "from torch.nn.functional import cross_entropy\ndef loss(o, t): return cross_entropy(o, t, reduction='none')"
    (tmp_path / "plain.py").write_text(code)
    loss = make_loss(f"{tmp_path}/plain.py:loss")
    with pytest.raises(ModelError, match=r"the loss failed: Target 3 is out of bounds.*\(the output is \(2, 3\)"):
        loss(torch.zeros(2, 3), torch.tensor([0, 3]))


def test_loss_cut_off_from_the_weights(custom, tmp_path):
    path = tmp_path / "cut.py"
    path.write_text("def cut(output, target):\n    return output.detach()[:, 0]\n")
    with pytest.raises(ModelError, match="does not depend on the weights"):
        check_loss(nn.Linear(4, 3), records(FLAT, CLASSES, 3), make_loss(f"{path}:cut"))


@pytest.mark.parametrize("kind", [float, int])
def test_one_hot_targets_of_cross_entropy_are_told_from_positions(kind):
    one_hot = torch.eye(3)[CLASSES].to(torch.float32 if kind is float else torch.int64)
    with pytest.raises(PtauditError, match=r"they are one-hot: give the classes, y\.argmax\(1\)"):
        check_loss(nn.Linear(4, 3), records(FLAT, one_hot), make_loss("cross_entropy"))
    with pytest.raises(DataError, match=r"give them as integers, y\.astype\('int64'\)"):
        check_loss(nn.Linear(4, 3), records(FLAT, CLASSES.float()), make_loss("cross_entropy"))


def test_positions_of_ignore_index_do_not_count_and_no_label_at_all_is_a_loss_of_0():
    targets = torch.randint(3, (9, 4, 4))
    targets[:, 0], targets[2] = 255, 255
    model = nn.Conv2d(1, 3, 1)
    maps = torch.randn(9, 1, 4, 4)
    with pytest.raises(DataError, match=r"labels are 0\.\.255, .* or set train\.ignore_index: 255"):
        check_loss(model, records(maps, targets), make_loss("cross_entropy"))
    counted = with_ignored(records(maps, targets), 255)
    check_loss(model, counted, make_loss("cross_entropy"))
    losses = make_loss("cross_entropy")(model(maps), counted.targets)
    torch.testing.assert_close(losses[0], F.cross_entropy(model(maps)[:1], targets[:1], ignore_index=255))
    assert losses[2].item() == 0.0
    losses.sum().backward()
    assert model.weight.grad.isfinite().all()
    with pytest.raises(DataError, match=r"train\.ignore_index: .* one target each"):
        with_ignored(records(FLAT, CLASSES, 3), 2)


def test_a_dictionary_of_outputs_is_named_by_its_parts():
    with pytest.raises(ModelError, match=r"returns dict, bce needs a tensor \(parts: out, aux\)"):
        make_loss("bce")({"out": torch.zeros(2), "aux": torch.zeros(2)}, torch.zeros(2))


def test_a_loss_that_is_a_class_or_learns_is_refused(tmp_path):
    file = tmp_path / "own_losses.py"
    file.write_text(
        "from torch import nn\n"
        "class Late(nn.Module):\n"
        "    def forward(self, output, target): return output.sum(1)\n"
        "class Learned(nn.Module):\n"
        "    def __init__(self): super().__init__(); self.scale = nn.Linear(3, 3)\n"
        "    def forward(self, output, target): return self.scale(output).sum(1)\n"
        "late, learned, frozen = Late(), Learned(), Learned().requires_grad_(False)\n"
    )
    with pytest.raises(ModelError, match=r"Late is a class, not a function.*loss = Late\(\)"):
        make_loss(f"{file}:Late")
    with pytest.raises(ModelError, match=r"parameters of its own \(scale.weight, scale.bias\), which are neither"):
        make_loss(f"{file}:learned")
    assert make_loss(f"{file}:late")(torch.ones(2, 3), torch.zeros(2)).tolist() == [3, 3]
    assert make_loss(f"{file}:frozen")(torch.ones(2, 3), torch.zeros(2)).shape == (2,)
