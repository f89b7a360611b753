"""No verb but run, check and selftest may need torch, not even indirectly."""

from __future__ import annotations

import subprocess
import sys

import pytest

BAN = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{name} was imported")
sys.meta_path.insert(0, NoTorch())
"""
MAIN = """
sys.argv = ["ptaudit", *sys.argv[1:]]
from ptaudit.cli import main
main()
"""


def call(*words, program=BAN + MAIN):
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, timeout=600, check=False
    )


VERBS = ("init", "check", "run", "show", "compare", "gate", "evidence", "verify", "selftest", "schema")


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_needs_no_torch(verb):
    result = call(*([verb] if verb else []), "--help")
    assert result.returncode == 0, result.stderr
    assert "Usage:" in result.stdout


def test_verbs_on_tables_need_no_torch(run_folder, tmp_path):
    for words in (
        ("init", tmp_path / "new"),
        ("schema",),
        *(("show", run_folder, "--format", name) for name in ("rich", "plain", "md", "json")),
        ("compare", run_folder, run_folder),
        ("gate", run_folder),
        ("evidence", run_folder, "--out", tmp_path / "evidence"),
    ):
        result = call(*words)
        assert result.returncode == 0, (words, result.stderr)
        assert result.stdout


def test_the_ban_on_torch_works():
    result = call(program=BAN + "import torch.nn")
    assert result.returncode == 1
    assert "torch was imported" in result.stderr


def test_the_help_loads_neither_pandas_nor_scipy_nor_rich():
    code = (
        "import sys; from ptaudit.cli import app; from typer.testing import CliRunner; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "print(sorted({'torch', 'pandas', 'scipy', 'sklearn', 'rich', 'pydantic'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    assert result.stdout == "[]\n"
