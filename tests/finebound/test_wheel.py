"""An installed wheel does what a checkout does: every verb, without the checkout."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("finebound", "theory", "sims", "llm_validation", "paper_figures")
PROBLEM = {
    "kind": "quadratic",
    "H_s": [[1, 0], [0, 2]],
    "H_f": [[1, 0], [0, 1]],
    "theta_s": [0, 0],
    "theta_f": [1, 1],
}
GRID = {"family": "tabular", "overlap": [0.5], "lam": [1.0], "seeds": 1}


def files_under(folder: Path) -> set[str]:
    return {
        file.relative_to(folder).as_posix()
        for package in PACKAGES
        for file in (folder / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


class Installed:
    """An environment with the wheel; it sees this one's dependencies, not the checkout."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "environment" / "bin"
        self.cwd = folder / "empty"
        self.cwd.mkdir()
        source = folder / "source"
        for package in PACKAGES:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / package, source / package, ignore=ignored)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        self.files = files_under(source)
        offline = ("--no-deps", "--no-index", "--disable-pip-version-check", "-q")
        pip = (sys.executable, "-m", "pip")
        self._run(*pip, "wheel", "--no-build-isolation", *offline, "-w", folder, source)
        venv.create(self.bin.parent, with_pip=False)
        (wheel,) = folder.glob("*.whl")
        self._run(*pip, "--python", self.bin / "python", "install", *offline, wheel)
        code = "import finebound; print(finebound.__file__)"
        self.packages = Path(self.python(code)).parents[1]
        # A line of a .pth file is only a place to look: the .pth files in that place, which make
        # the checkout importable, are not read.
        lines = "\n".join(site.getsitepackages())
        (self.packages / "dependencies.pth").write_text(lines + "\n")

    def python(self, code: str) -> str:
        return self._run(self.bin / "python", "-I", "-c", code)

    def finebound(self, *arguments: object, codes: tuple[int, ...] = (0,)) -> str:
        return self._run(self.bin / "finebound", *arguments, codes=codes)

    def _run(self, *command: object, codes: tuple[int, ...] = (0,)) -> str:
        shown = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.cwd,
            env=shown,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode in codes, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(autouse=True)
def nothing_is_written_beside_the_code(installed):
    yield
    assert files_under(installed.packages) == installed.files


def test_the_installed_code_is_what_runs(installed):
    assert installed.packages.is_relative_to(installed.bin.parent)
    names = ", ".join(PACKAGES)
    code = f"import sys, {names}; print(*sys.path, *(p.__file__ for p in ({names})), sep='\\n')"
    places = [Path(line) for line in installed.python(code).splitlines()]
    assert ROOT not in places
    assert [file.parents[1] for file in places[-5:]] == [installed.packages] * 5


def test_every_file_of_the_packages_is_in_the_wheel(installed):
    assert files_under(installed.packages) == installed.files
    assert all((installed.packages / package / "py.typed").is_file() for package in PACKAGES)


def test_a_configuration_is_found_by_its_name(installed):
    runs = json.loads(installed.finebound("validate", "smoke", "--dry-run", "--json"))["runs"]
    assert runs
    assert {run["status"] for run in runs} == {"planned"}


def test_figures_are_drawn_into_the_folder_given(installed):
    installed.finebound("figures", "proxy_floor", "alignment_gap", "--out", "drawn")
    drawn = {file.stem for file in (installed.cwd / "drawn").glob("*.pdf")}
    assert drawn == {"proxy_floor", "alignment_gap"}


def test_an_estimate_of_built_in_data(installed):
    data = ("--safety", "builtin:safety", "--task", "builtin:task-general")
    installed.finebound("estimate", *data, "--out", "estimated")
    assert (installed.cwd / "estimated" / "report.html").is_file()
    assert json.loads((installed.cwd / "estimated" / "estimate.json").read_text())


def test_a_small_sweep(installed):
    (installed.cwd / "grid.json").write_text(json.dumps(GRID))
    installed.finebound("simulate", "--grid", "grid.json", "--out", "swept")
    assert list((installed.cwd / "swept").rglob("*.parquet"))


def test_the_bounds_of_a_problem(installed):
    (installed.cwd / "problem.json").write_text(json.dumps(PROBLEM))
    strategy = ("--strategy", "loss", "--lam", 0.5, "--json")
    assert json.loads(installed.finebound("bound", "problem.json", *strategy))["bounds"]


def test_the_machine_is_examined(installed):
    findings = json.loads(installed.finebound("doctor", "--json", codes=(0, 1)))["findings"]
    assert any("packaged model" in finding["what"] for finding in findings)
