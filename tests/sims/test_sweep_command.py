"""``finebound simulate --grid``: from a file to columns, and what it refuses."""

from __future__ import annotations

import json

import pyarrow.parquet as parquet
import pytest

from finebound.cli import main

GRID = {
    "family": "quadratic",
    "overlap": [0.0, 1.0],
    "lam": [0.1, 10.0],
    "radius": [0.1],
    "seeds": 2,
    "plan": {"steps": 100, "rate": 0.2},
}


def test_a_grid_becomes_columns_and_a_line_a_strategy(tmp_path, capsys) -> None:
    file, out = tmp_path / "grid.json", tmp_path / "out"
    file.write_text(json.dumps(GRID), encoding="utf-8")
    command = ["simulate", "--grid", str(file), "--out", str(out), "--json"]
    assert main(command) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["runs"] == 2 * 2 * 3
    by_name = {row["strategy"]: row for row in content["strategies"]}
    assert len(by_name) == 3
    assert all(row["runs"] == 4 for row in by_name.values())
    (radius,) = (row for name, row in by_name.items() if "radius" in name)
    assert radius["displacement"] <= 0.1 * (1 + 1e-9)
    rows = sum(parquet.read_metadata(f).num_rows for f in out.rglob("*.parquet"))
    assert rows == content["runs"]
    # A second start finds everything done and says the same.
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == content


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({**GRID, "overlaps": [1]}, "overlaps"),
        ({**GRID, "lam": ["inf"]}, "lam"),
        ({**GRID, "radius": [-1.0]}, "radius"),
        ({**GRID, "seeds": 0}, "seeds"),
        ({"family": "tabular", "sizes": {"contexts": 0}, "lam": [1.0]}, "contexts"),
        ({"family": "tabular", "sizes": {"responses": 1}, "lam": [1.0]}, "responses"),
    ],
)
def test_a_wrong_grid_is_one_paragraph(tmp_path, capsys, grid: dict, words: str) -> None:
    file = tmp_path / "grid.json"
    file.write_text(json.dumps(grid), encoding="utf-8")
    assert main(["simulate", "--grid", str(file), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [[], ["--audit", "--grid", "x.json"], ["--grid", "x.json"]])
def test_what_to_do_and_where_must_be_clear(arguments, capsys) -> None:
    assert main(["simulate", *arguments]) == 2
    assert "Give" in capsys.readouterr().err
