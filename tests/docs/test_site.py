"""The site builds without a warning, and the committed reference is what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from docs.write_reference import main

ROOT = Path(__file__).parents[2]


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E"]
    return subprocess.run([*command, str(source), str(out)], capture_output=True, text=True)


def test_the_site_builds_without_a_warning_and_draws_formulas(tmp_path):
    done = build(ROOT / "docs", tmp_path)
    assert done.returncode == 0, done.stderr
    theorems = (tmp_path / "theorems.html").read_text(encoding="utf-8")
    assert theorems.count("<math") > 300
    assert theorems.count("<mtable") > 10  # of aligned lines and cases
    assert "$" not in theorems
    assert "https://cdn" not in theorems  # it is read without a network


def test_broken_links_and_formulas_fail_the_build(tmp_path):
    source = tmp_path / "docs"
    source.mkdir()
    (source / "conf.py").write_text((ROOT / "docs" / "conf.py").read_text(encoding="utf-8"))
    wrong = ("[there](nowhere.md)", "[there](#nowhere)", r"$\nomacro x$")
    (source / "index.md").write_text("# A page\n\n" + "\n\n".join(wrong) + "\n")
    done = build(source, tmp_path / "out")
    assert done.returncode != 0
    assert done.stderr.count("WARNING") == len(wrong), done.stderr


def test_the_committed_reference_is_what_the_code_says(tmp_path):
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "gone.json").write_text("{}")
    main(tmp_path)
    committed = ROOT / "docs" / "reference"
    names = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.*")}
    assert names == {str(file.relative_to(committed)) for file in committed.rglob("*.*")}
    for name in names:
        written = (tmp_path / name).read_text(encoding="utf-8")
        assert (committed / name).read_text(encoding="utf-8") == written, (
            f"{name}: run python -m docs.write_reference"
        )
