"""The reusable workflow of gates: its actions are pinned, its commands are the command's own."""

from __future__ import annotations

import json
import re
import shlex

import pytest
import yaml
from code_blocks import ROOT, parse

from finebound.cli import main

FILE = ROOT / ".github" / "workflows" / "finebound-gate.yml"
CALL = yaml.safe_load(FILE.read_text(encoding="utf-8"))
STEPS = CALL["jobs"]["gate"]["steps"]
ACTIONS = {"actions/checkout", "actions/setup-python", "actions/upload-artifact"}


def command_of(program):
    """The words of the one step that runs a program, its variables replaced by defaults."""
    [step] = [one for one in STEPS if one.get("run", "").startswith(program)]
    inputs = CALL[True]["workflow_call"]["inputs"]  # YAML 1.1 reads `on` as true
    words = shlex.split(step["run"])
    for name, value in step.get("env", {}).items():
        [of] = re.findall(r"^\$\{\{ inputs\.([\w-]+) \}\}$", value)
        words = [word.replace(f"${name}", inputs[of]["default"]) for word in words]
    return words


def test_its_inputs_are_used_and_reach_no_shell_as_text():
    inputs = CALL[True]["workflow_call"]["inputs"]
    assert {"gate-file", "python-version"} <= set(inputs)
    used = set(re.findall(r"inputs\.([\w-]+)", json.dumps(CALL["jobs"])))
    assert used == set(inputs)
    assert not any("${{" in step.get("run", "") for step in STEPS)
    assert CALL["permissions"] == {"contents": "read"}


def test_its_actions_are_known_and_pinned():
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert {one.partition("@")[0] for one in used} == ACTIONS
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one) for one in used)


def test_pip_installs_this_project():
    assert command_of("python")[1:4] == ["-m", "pip", "install"]
    name = re.search(r'^name = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert name is not None
    assert command_of("python")[-1] == name[1]


def test_the_gates_write_what_later_steps_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": n, "safe": True} for n in range(60)]
    for name in ("before", "after"):
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    gate = {"reference": "before.json", "candidate": "after.json", "budget": 0.05}
    words = command_of("finebound")
    options = parse(words[1:])
    (tmp_path / str(options.file)).write_text(json.dumps({"gates": [{"certify": gate}]}))
    assert main(words[1:]) == 0
    [summary] = [step for step in STEPS if "GITHUB_STEP_SUMMARY" in step.get("run", "")]
    [upload] = [step for step in STEPS if "upload-artifact" in step.get("uses", "")]
    read = [shlex.split(summary["run"])[1], upload["with"]["path"]]
    read += re.findall(r"hashFiles\('(.*?)'\)", summary["if"] + upload["if"])
    assert len(read) == 4
    for path in read:
        assert (tmp_path / path).exists(), path


@pytest.mark.parametrize("step", [one for one in STEPS if "if" in one], ids=str)
def test_a_broken_gate_still_reports(step):
    assert "!cancelled()" in step["if"]
