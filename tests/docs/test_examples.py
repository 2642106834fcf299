"""The scripts and the notebook of examples/ run as they are."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
# What each leaves behind, and what it says.
SCRIPTS = {
    "estimate_pair.py": ("estimate-out/report.html", "rows"),
    "compare_refusals.py": ("refusal-after/refusal.json", "after"),
    "bounds_and_frontier.py": ("frontier.png", "safety gap"),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_runs(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    left, said = SCRIPTS[script]
    assert (tmp_path / left).stat().st_size > 1000
    assert said in capsys.readouterr().out


def test_every_script_is_run():
    assert {file.name for file in EXAMPLES.glob("*.py")} == set(SCRIPTS)


def test_the_cells_of_the_notebook_run_and_none_has_an_output(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "estimate.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            exec("".join(cell["source"]), names)
    assert capsys.readouterr().out.count("\n") > 1
    assert (tmp_path / "estimate-out" / "estimate.json").is_file()
