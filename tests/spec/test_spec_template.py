from __future__ import annotations

from pathlib import Path

import pytest

from ptaudit.cli.init import write_template
from ptaudit.errors import PtauditError
from ptaudit.spec.entry import parse_entry
from ptaudit.spec.load import load


def test_it_can_be_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert write_template(folder) == [folder / "spec.yaml", folder / "model.py"]
    spec = load(folder / "spec.yaml")
    assert spec.model.entry == f"{folder}/model.py:small_cnn"
    assert spec.gates[0].id == "dp-holds"


def test_the_gates_in_comments_can_be_used(tmp_path: Path) -> None:
    spec, _ = write_template(tmp_path)
    spec.write_text(spec.read_text().replace("  # - {", "  - {"))
    assert [gate.id for gate in load(spec).gates] == ["dp-holds", "no-members", "no-worse"]


def test_the_model_takes_digits(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    write_template(tmp_path)
    spec = load(tmp_path / "spec.yaml")
    model = parse_entry(spec.model.entry, tmp_path).load()(**spec.model.args)
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


@pytest.mark.parametrize("name", ["spec.yaml", "model.py"])
def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(PtauditError, match="is there already") as caught:
        write_template(tmp_path)
    assert caught.value.where == str(tmp_path / name)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PtauditError, match="cannot be written"):
        write_template(tmp_path / "file")
