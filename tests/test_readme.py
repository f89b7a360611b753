"""What the README and the pages beside it show is what the package does."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import typer
import yaml
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ptaudit
from ptaudit.cli import app
from ptaudit.spec.load import load

ROOT = Path(__file__).parents[1]
USAGE_ERROR = typer.BadParameter.__mro__[1]  # of click, or of the copy that newer releases of typer bring along
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
"""Guides by their names; pages of games, attacks and the like are in folders."""
COMMANDS = ("pip install . && ptaudit run configs/quickstart.yaml", "pip install '.[test]' && pytest")
TINY = """\
version: 1
name: tiny
model: {entry: ../sample_models/mlp.py:mlp, args: {features: 30, hidden: [8]}}
data: {source: sklearn:breast_cancer}
train: {epochs: 1, optimizer: {lr: 0.001}}
audit: {epochs: [1], tokens: {dim: 16}, views: [{name: batch-32, batch_size: 8}], games: [identity]}
"""


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shown_commands() -> list[str]:
    """Every `ptaudit ...` that is shown: in shell blocks, workflow steps and inline code with a known verb."""
    verbs = "|".join(typer.main.get_command(app).commands)
    shown = [README, *PAGES.values()]
    lines = [
        re.sub(r"^ *(?:- (?:run: )?|entry: )", "", line)
        for text in shown
        for block in blocks("bash", text) + blocks("yaml", text)
        for line in block.splitlines()
    ]
    inline = [
        found
        for text in shown
        for found in re.findall(
            rf"`(ptaudit (?:{verbs})\b[^`]*)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
        )
    ]
    parts = [part.strip() for line in [*lines, *inline] for part in line.split("&&")]
    return list(dict.fromkeys(part for part in parts if part.startswith("ptaudit ")))


def audit_spec(text: str) -> str:
    (block,) = (block for block in blocks("yaml", text) if block.startswith("version:"))
    return block


@pytest.mark.parametrize("command", COMMANDS)
def test_the_two_commands_stand_alone_in_shell_blocks(command):
    assert command in [block.strip() for block in blocks("bash")]


def test_ci_runs_those_two_and_no_other():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pattern = re.search(r'grep -E "(.*)" README\.md', script)
    assert pattern
    assert tuple(line for line in README.splitlines() if re.match(pattern[1], line)) == COMMANDS


def test_ci_script_is_executable_bash():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


def test_commands_of_every_verb_are_shown():
    assert {command.split()[1] for command in shown_commands()} == set(typer.main.get_command(app).commands)


@pytest.mark.parametrize("command", shown_commands())
def test_every_command_shown_parses(command):
    _, verb, *words = shlex.split(command, comments=True)
    if not words and verb in ("run", "gate", "compare", "show", "check"):
        return  # named in a sentence
    try:
        typer.main.get_command(app).commands[verb].make_context(verb, words)
    except USAGE_ERROR as error:
        pytest.fail(f"{command}: {error.format_message()}")


def test_the_parser_would_notice_a_wrong_option():
    with pytest.raises(USAGE_ERROR):
        typer.main.get_command(app).commands["run"].make_context("run", ["spec.yaml", "--frsh"])


@pytest.mark.parametrize(("text", "gates", "seeds"), [(README, 2, (0,)), (PAGES["spec"], 3, (0, 1, 2))])
def test_the_spec_shown_loads(text, gates, seeds, tmp_path):
    shutil.copytree(ROOT / "sample_models", tmp_path / "sample_models")
    path = tmp_path / "configs" / "shown.yaml"
    path.parent.mkdir()
    path.write_text(audit_spec(text), encoding="utf-8")
    spec = load(path)
    assert len(spec.gates) == gates
    assert spec.train.all_seeds == seeds


@pytest.mark.parametrize("start", ["train:", "replay:"])
def test_the_parts_shown_load_in_a_spec(start, tmp_path):
    (part,) = (block for block in blocks("yaml", PAGES["spec"]) if block.startswith(start))
    (tmp_path / "ckpts").mkdir()
    (tmp_path / "ckpts" / "epoch-1.pt").touch()
    rest = {
        "version": 1,
        "name": "part",
        "model": {"entry": "torchvision:resnet18"},
        "data": {"source": "sklearn:digits"},
    }
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(rest | yaml.safe_load(part)), encoding="utf-8")
    assert (load(path).replay is not None) == (start == "replay:")


SOME = ("threats", "defenses", "localisation", "groups", "dynamics")
"""Tables that are there where their games are played."""


def test_the_workflow_is_yaml():
    (workflow,) = (yaml.safe_load(block) for block in blocks("yaml", PAGES["ci"]) if block.startswith("name:"))
    assert any("ptaudit run" in step.get("run", "") for step in workflow["jobs"]["audit"]["steps"])


def test_the_recipes_for_other_servers_are_yaml_and_name_the_files_that_they_write():
    (gitlab,) = (yaml.safe_load(block) for block in blocks("yaml", PAGES["ci"]) if block.startswith("privacy-audit:"))
    (hooks,) = (yaml.safe_load(block) for block in blocks("yaml", PAGES["ci"]) if block.startswith("repos:"))
    script = " ".join(gitlab["privacy-audit"]["script"])
    assert f"--output junit={gitlab['privacy-audit']['artifacts']['reports']['junit']}" in script
    assert {"report.md", "runs/new"} == set(gitlab["privacy-audit"]["artifacts"]["paths"])
    (hook,) = hooks["repos"][0]["hooks"]
    assert hook["entry"].split()[-1] == "audit/spec.yaml"
    assert re.search(hook["files"], "audit/spec.yaml")
    (workflow,) = (yaml.safe_load(block) for block in blocks("yaml", PAGES["ci"]) if block.startswith("name:"))
    (upload,) = (step for step in workflow["jobs"]["audit"]["steps"] if "upload-sarif" in step.get("uses", ""))
    written = [step["run"] for step in workflow["jobs"]["audit"]["steps"] if "run" in step]
    assert any(f"--output sarif={upload['with']['sarif_file']}" in command for command in written)


def test_the_python_example_runs_and_its_folder_is_as_the_table_says(tmp_path, monkeypatch, capsys):
    code, _ = blocks("python", PAGES["python"])
    shutil.copytree(ROOT / "sample_models", tmp_path / "sample_models")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.yaml").write_text(TINY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "python.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "Estimate(value=" in printed
    assert re.search(r"^0 runs/from-python$", printed, re.MULTILINE)
    assert re.search(r"1 +\* +\d", printed)  # a row of the table: epoch, layer, value
    files = {path.name for path in (tmp_path / "runs" / "from-python").iterdir()}
    page = PAGES["run-folder"]
    table = page[page.index("| file | content |") : page.index("Without `--keep-records`")]
    listed = set(re.findall(r"`([\w.]+)`(?=[^|]*\|[^|]*\|$)", table, re.MULTILINE))
    there_for_some = {"samples.csv", "preprocess.json"} | {f"{name}.csv" for name in SOME}
    assert listed - there_for_some == files


def test_the_training_loop_of_ones_own_runs(capsys):
    _, code = blocks("python", PAGES["python"])
    inputs = torch.randn(256, 64, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(inputs, (inputs[:, 0] > 0).long()), batch_size=64)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    exec(compile(code, "python.md", "exec"), {"ptaudit": ptaudit, **locals(), "nn": nn})
    assert re.match(r"32 steps: ", capsys.readouterr().out)


def test_the_data_function_gives_users_and_attributes_to_the_games(tmp_path):
    """The function and its part of a spec, in an audit about both columns that it returns beside inputs and labels."""
    (code,), yamls = blocks("python", PAGES["spec"]), blocks("yaml", PAGES["spec"])
    (data,) = (block for block in yamls if "records.py" in block)
    (tmp_path / "records.py").write_text(code, encoding="utf-8")
    spec = yaml.safe_load(TINY.replace("../sample_models", str(ROOT / "sample_models")).replace("30", "6"))
    views = [{"name": "batch", "batch_size": 4}]
    games = ["user", {"name": "usable-information", "secret": "attribute", "attribute": "sex", "family": "linear"}]
    spec |= yaml.safe_load(data) | {"audit": {"epochs": [1], "tokens": {"dim": 16}, "views": views, "games": games}}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    run = ptaudit.audit(tmp_path / "spec.yaml", out=tmp_path / "run")
    bits = run.leakage.query("metric == 'bits' and layer == '*'").set_index("game")
    assert {"user", "usable-information"} == set(bits.index)
    assert bits.loc["usable-information", "lo"].max() > 0.0
    assert repr(run) == f"<AuditResult tiny: {len(run.leakage)} rows in {tmp_path / 'run'}, no gate failed>"
    assert str(run).startswith("ptaudit tiny")
    assert "usable-information.bits" in str(run)


def test_the_output_shown_is_of_the_quickstart():
    match = re.search(r"<!-- output:quickstart -->\n```text\n(.*?)```\n<!-- /output -->", README, re.DOTALL)
    assert match, "the output of the quickstart is not shown"
    spec = load(ROOT / "configs" / "quickstart.yaml")
    shown = match[1]
    assert f"ptaudit {spec.name}" in shown
    for gate in spec.gates:
        assert re.search(rf"PASS +{gate.id} +{re.escape(gate.metric)} <= {gate.max:g}\b", shown), gate.id
    for view in spec.audit.views:
        assert re.search(rf"^{view.name} +identity\.bits +\d", shown, re.MULTILINE), view.name
    assert re.search(r"^model +membership\.auc +0\.\d", shown, re.MULTILINE)
    layers = ("conv1", "conv2", "fc1", "fc2", "fc3")
    assert sum(bool(re.search(rf"^{layer} ", shown, re.MULTILINE)) for layer in layers) >= 3
