"""``finebound simulate``: the contract of its output, its exit codes, its refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import theory.evaluation
from finebound.cli.simulate import main
from finebound.errors import InputError
from theory.bound import Direction
from theory.evaluation import STATEMENTS

KEYS = {"instances", "violations", "max_ratio", "mutants", "mutants_caught"}


def test_json_is_the_contract_and_nothing_else_is_on_stdout(capsys, tmp_path) -> None:
    out = tmp_path / "out"
    arguments = ["--audit", "--instances", "100", "--seed", "1", "--json", "--out", str(out)]
    assert main(arguments) == 0
    content = json.loads(capsys.readouterr().out)
    assert set(content) == {"statements"}
    assert set(content["statements"]) == {f"T{k}" for k in range(1, 13)}
    for row in content["statements"].values():
        assert set(row) >= KEYS
        assert row["instances"] >= 100
        assert row["violations"] == 0
        assert row["max_ratio"] <= 1 + 1e-9
        assert row["mutants_caught"] == row["mutants"] > 0
    record = json.loads((out / "audit.json").read_text())
    assert record["statements"] == content["statements"]
    assert record["manifest"]["seed"] == 1
    assert record["manifest"]["given"]["instances"] == 100


def test_the_table_has_one_row_a_statement(capsys) -> None:
    assert main(["--audit", "--instances", "100"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in STATEMENTS:
        assert sum(f" {name} " in line for line in lines) == 1, name


def test_a_violation_gives_exit_code_1_and_the_instance(monkeypatch, capsys) -> None:
    honest = STATEMENTS["T4"]

    def wrong(problem, strategy):
        return [
            replace(b, value=0.9 * np.asarray(b.value)) if b.direction is Direction.UPPER else b
            for b in honest(problem, strategy)
        ]

    monkeypatch.setitem(theory.evaluation.STATEMENTS, "T4", wrong)
    assert main(["--audit", "--instances", "5000"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "T4 is VIOLATED: family tabular" in printed
    assert "T5 is VIOLATED" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give --audit"),
        (["--audit", "--instances", "0"], "--instances is 0"),
        (["--audit", "--seed", "-1"], "--seed is -1"),
    ],
)
def test_wrong_input_is_refused_with_a_remedy(arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        main(arguments)


def test_a_file_in_place_of_the_folder_is_refused_before_any_work(tmp_path) -> None:
    file = tmp_path / "taken"
    file.write_text("")
    with pytest.raises(InputError, match="is a file"):
        main(["--audit", "--out", str(file)])


def test_the_adversary_is_reported(capsys) -> None:
    assert main(["--audit", "--instances", "20", "--json", "--adversarial"]) == 0
    found = json.loads(capsys.readouterr().out)["adversarial"]
    assert min(found.values()) > 0.99
    assert max(found.values()) <= 1 + 1e-9
