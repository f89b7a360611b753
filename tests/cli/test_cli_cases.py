"""Inputs on which ptaudit was once wrong, beside the checkout: `check` says of each what is right."""

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ptaudit.cli import app

REFUSED = {
    "a08b_sparse_adam": r"train\.optimizer: the optimizer does not take sparse gradients, of layer a:",
    "a29_aux_train_tuple": r"train\.loss: in training mode the model returns tuple, cross_entropy needs a tensor",
    "b02_seg255": r"labels are 0\.\.255, the model has 3 outputs .* set train\.ignore_index: 255",
    "b05_supcon": r"train\.loss: the loss depends on the batch",
    "b07c_div_by_n_small_heldout": r"train\.loss: the loss divides by the number of records",
    "c02_latin1": r"t\.csv: not text in utf-8: .*data\.encoding",
    "c03_unnamed0": r"column 'Unnamed: 0' has no name and counts the records \(add 'Unnamed: 0' to data\.drop\)",
    "c06_datecol": r"the model expects 152 features, the data have 2",
    "c08_int_regression": r"mse on the codes of 18 classes measures nothing .*data\.target: number",
    "c20_csv_label_recode": r"data\.preprocess: nothing says how the training turned these columns into inputs",
    "c22_replay_csv_scaler": r"data\.preprocess: nothing says how the training turned these columns into inputs",
    "d01_noniid_client": r"d\.npz: the labels are 3, 7; .*set data\.classes",
    "f05_split_folders": r"imgs: the folders test, train are parts of a data set, not classes",
    "n_duplicate_header": r"compas\.csv: more than one column is called 'decile_score', 'priors_count'",
    "r_star-layer": r"model: a layer is called `\*`, which stands for all layers in the tables",
    "r_sweep-product": r"s\.yaml:12: the lists make 16,000 entries of this one, 16,001 in all \(at most 200\)",
    "r_view-as-text-beside-sweep": r"s\.yaml:11: `audit\.views\.0`: expected a mapping, given the text 'record'",
    "r_yaml-scalar-tags": r"\.yaml:1: .* is no (int|bool) \(leave the tag out\)",
}
"""Case to what the error says."""

TOLD = {
    ("a22_fno_complex", ()): r"730 of 730 parameters captured|100 %",
    ("a35b_moe_later", ()): r"layer e\.0 \(196 of 200 records\)",
    ("b02_seg255", ("train.ignore_index=255",)): r"captured",
    ("b09_label_n1", ()): r"set data\.classes: 10",
    ("b21_sigmoid_bce", ()): r"The model ends in a sigmoid, and bce applies its own",
    ("c04_none_level", ()): r"A1C +category +4 ",
    ("c13_duplicates", ()): r"150 of 150 held-out records are equal to members",
    ("c20_csv_label_recode", ("data.preprocess=none", "data.classes=10")): r"(?s)^(?!.*hardly the inputs).*captured",
    ("c22_replay_csv_scaler", ("data.preprocess=none",)): r"(?s)^(?!.*hardly the inputs).*captured",
    ("d01_noniid_client", ("data.classes=10",)): r"captured",
    ("d02_tokens_uint8", ()): r"captured",
    ("h01_opacus_prefix", ()): r"captured",
    ("h02_lightning", ()): r"one more than the key `epoch` of the file, which counts from 0",
    ("h03_val_acc_name", ()): r"the epoch is the number called epoch in the file's name",
    ("h06_flower_npz", ()): r"captured",
    ("h08_old_weightnorm", ()): r"captured",
    ("r_escape-layer-name", ()): r"\\x1b",
}
"""Case and what is set in its spec, to what the report says."""


@pytest.fixture
def cases(real_data, tmp_path):
    """A copy of a case, which lie beside the real data; the test is skipped where they are absent."""
    folder = real_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no cases: {folder} is not there")
    return lambda name: Path(shutil.copytree(folder / name, tmp_path / name))


def checked(folder, *settings):
    """What `check` says of the specs of a case."""
    said = []
    for spec in sorted(folder.glob("*.yaml")):
        options = [part for one in settings for part in ("--set", one)]
        found = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "200"}).invoke(
            app, ["check", str(spec), "--format", "plain", *options]
        )
        said.append((found.exit_code, found.output))
    assert said
    return said


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_audited_is_refused_with_the_remedy(name, cases, monkeypatch):
    folder = cases(name)
    if name == "n_duplicate_header":  # whose file is not here
        (folder / "compas.csv").write_text("id,decile_score,priors_count,decile_score,priors_count\n1,3,0,3,0\n")
    monkeypatch.chdir(folder)
    for code, text in checked(folder):
        assert code == 2, text
        assert len(text.strip().splitlines()) == 1, text
        assert "internal error" not in text
        assert re.search(REFUSED[name], text), text


@pytest.mark.parametrize(("name", "settings"), TOLD)
def test_what_can_be_audited_is_told_what_to_know(name, settings, cases, monkeypatch):
    folder = cases(name)
    monkeypatch.chdir(folder)
    for code, text in checked(folder, *settings):
        assert code == 0, text
        assert "\x1b" not in text
        assert re.search(TOLD[name, settings], text), text
