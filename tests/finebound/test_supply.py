"""Licences of what is needed, hashes of what is installed, and nobody told about it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from finebound.base.telemetry import OFF
from finebound.cli import main
from finebound.cli.licences import judge, licences

ROOT = Path(__file__).parents[2]


def test_every_dependency_has_a_licence_on_the_list(capsys):
    assert main(["doctor", "--licences", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    listed = {entry["package"]: entry for entry in found["licences"]}
    assert found["accepted"]
    assert {"finebound", "numpy", "torch", "transformers", "certifi"} <= set(listed)
    assert listed["certifi"]["verdict"] == "copyleft per file"
    assert listed["torch"]["version"] == metadata.version("torch")


@pytest.mark.parametrize(
    ("licence", "verdict"),
    [
        ("MIT", "permissive"),
        ("BSD 3-Clause License", "permissive"),
        ("Apache-2.0 WITH LLVM-exception AND 0BSD", "permissive"),
        ("MPL-2.0 AND MIT", "copyleft per file"),
        ("GPL-3.0-only OR MIT", "permissive"),
        ("GPL-3.0-only AND MIT", "copyleft"),
        ("GNU Lesser General Public License v3 (LGPLv3)", "copyleft"),
        ("AGPL-3.0", "copyleft"),
        ("Mitigated Source License", "unknown"),
        ("Apache-2.0 AND Commons Clause", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_licence_is_judged_by_its_parts(licence, verdict):
    assert judge(licence) == verdict


def test_a_copyleft_dependency_fails(monkeypatch, capsys, tmp_path):
    package = tmp_path / "evil-1.0.dist-info"
    package.mkdir()
    lines = ("Metadata-Version: 2.4", "Name: evil", "Version: 1.0", "License-Expression: AGPL-3.0")
    (package / "METADATA").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [one.verdict for one in licences("evil")] == ["copyleft"]
    monkeypatch.setattr("finebound.cli.licences.licences", lambda: licences("evil"))
    assert main(["doctor", "--licences"]) == 1
    assert "evil" in capsys.readouterr().out


def telling(script: str, **environment: str) -> dict:
    clean = {name: value for name, value in os.environ.items() if name not in OFF}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=clean | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


SCRIPT = """
import json, os
from finebound.base.telemetry import OFF
from finebound.cli import main
assert main(["doctor", "--json"]) in (0, 1)
from huggingface_hub import constants
print(json.dumps({**{n: os.environ[n] for n in OFF}, "hub": constants.HF_HUB_DISABLE_TELEMETRY}))
"""


def test_the_command_switches_reports_of_others_off():
    assert telling(SCRIPT) == {**OFF, "hub": True}


def test_a_users_own_setting_wins():
    found = telling(SCRIPT, HF_HUB_DISABLE_TELEMETRY="0", DO_NOT_TRACK="0")
    assert not found["hub"]
    assert found["DO_NOT_TRACK"] == "0"


def test_the_lock_has_a_hash_for_every_pinned_package_and_names_no_host():
    text = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index-url" not in text
    assert "--extra-index-url" not in text
    locked = dict(
        re.findall(r"^([A-Za-z0-9._-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}", text, re.M)
    )
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned.pop("torch")  # its build, and so its hash, is the machine's

    def named(found: dict[str, str]) -> dict[str, str]:
        return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found.items()}

    assert named(locked) == named(pinned)
