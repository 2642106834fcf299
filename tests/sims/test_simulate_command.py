"""``finebound simulate``: the contract of its output, its exit codes, its refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import theory.evaluation
from finebound.base.errors import InputError
from finebound.cli import main as command
from finebound.cli.simulate import main
from sims.families.registry import FAMILIES, FULL
from theory.bound import Direction
from theory.evaluation import STATEMENTS

KEYS = {"instances", "violations", "max_ratio", "mutants", "mutants_caught", "finetunes"}
ON_SETS = {"T13", "T15", "T17", "T18", "T19", "T21", "T22", "T23", "T24", "T25"}


def test_json_is_the_contract_and_nothing_else_is_on_stdout(capsys, tmp_path) -> None:
    out = tmp_path / "out"
    arguments = ["--audit", "--instances", "100", "--seed", "1", "--json", "--out", str(out)]
    assert main(arguments) == 0
    content = json.loads(capsys.readouterr().out)
    assert set(content) == {"statements", "violated_assumptions"}
    assert set(content["statements"]) == {f"T{k}" for k in range(1, 13)} | ON_SETS
    for row in content["statements"].values():
        assert set(row) >= KEYS
        assert row["instances"] >= 100
        assert row["violations"] == 0
        assert row["max_ratio"] <= 1 + 1e-9
        assert row["mutants_caught"] == row["mutants"] > 0
        assert {"family", "form", "q05", "q50", "q95"} <= set(row["tightness"][0])
    assert all(found["share"] > 0 for found in content["violated_assumptions"])
    record = json.loads((out / "audit.json").read_text())
    assert record["statements"] == content["statements"]
    assert record["sizes"]["tabular"] == 100
    assert record["manifest"]["seed"] == 1
    assert record["manifest"]["given"]["instances"] == 100
    caught = record["statements"]["T4"]["caught_by"]
    assert all("index" in instance for instance in caught.values())


def test_the_tables_can_be_read(capsys) -> None:
    assert main(["--audit", "--sizes", "tabular=2048,quadratic=2048,run-sets=600"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert not any("…" in line for line in lines)
    for name in {*STATEMENTS, "T17"} - {"T11", "T21", "T22"}:
        (row,) = [line for line in lines if line.split()[:1] == [name]]
        caught = row.split()[-1].split("/")
        assert caught[0] == caught[1]
    assert any(line.split()[:4] == ["T5:", "the", "proxy", "covers"] for line in lines)


def test_a_violation_gives_exit_code_1_and_the_instance(monkeypatch, capsys) -> None:
    honest = STATEMENTS["T4"]

    def wrong(problem, strategy):
        return [
            replace(b, value=0.9 * np.asarray(b.value)) if b.direction is Direction.UPPER else b
            for b in honest(problem, strategy)
        ]

    monkeypatch.setitem(theory.evaluation.STATEMENTS, "T4", wrong)
    assert main(["--audit", "--sizes", "tabular=5000", "--workers", "1"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "T4 is VIOLATED: family tabular" in printed
    assert "T5 is VIOLATED" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give either --audit"),
        (["--audit", "--instances", "0"], "--instances is 0"),
        (["--audit", "--seed", "-1"], "--seed is -1"),
        (["--audit", "--workers", "0"], "--workers is 0"),
        (["--audit", "--sizes", "trees=5"], "'trees', which is unknown.*tabular"),
        (["--audit", "--sizes", "tabular"], "the count ''"),
        (["--audit", "--sizes", "tabular=0"], "the count '0'"),
        (["--audit", "--sizes", "tabular=-3"], "the count '-3'"),
        (["--audit", "--sizes", "tabular=5,tabular=6"], "tabular twice"),
        (["--audit", "--sizes", "full", "--instances", "5"], "Give one of them"),
    ],
)
def test_wrong_input_is_refused_with_a_remedy(arguments, message, capsys) -> None:
    with pytest.raises(InputError, match=message):
        main(arguments)
    assert command(["simulate", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1


def test_a_full_audit_has_a_size_for_every_family() -> None:
    assert set(FULL) == set(FAMILIES)
    assert FULL["tabular"] == 10**6
    assert FULL["quadratic"] == 10**5


def test_a_file_in_place_of_the_folder_is_refused_before_any_work(tmp_path) -> None:
    file = tmp_path / "taken"
    file.write_text("")
    with pytest.raises(InputError, match="is a file"):
        main(["--audit", "--out", str(file)])


@pytest.mark.parametrize(("ratio", "code"), [(0.998, 0), (1.001, 1), (0.98, 1)])
def test_the_adversary_must_come_close_to_1_and_not_beyond(
    capsys, monkeypatch, ratio, code
) -> None:
    monkeypatch.setattr("sims.adversary.search", lambda *, seed, progress: {"T4/gap": ratio})
    arguments = ["--audit", "--sizes", "price=20", "--adversarial"]
    assert main([*arguments, "--json"]) == code
    assert json.loads(capsys.readouterr().out)["adversarial"] == {"T4/gap": ratio}
    assert main(arguments) == code
    assert f"{ratio:.6f} (T4/gap)" in capsys.readouterr().out
