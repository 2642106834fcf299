"""Fine-tunes of a tiny model of one's own: each forecast first, resumed, and checked."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from finebound.base.errors import InputError
from finebound.base.records import manifest
from finebound.cli import main
from finebound.results.registry import load
from finebound.results.result import Manifest
from llm_validation.estimation import evidence
from llm_validation.experiments.evidence import run_registry
from llm_validation.experiments.own_evidence import FINE_TUNES, RATES, SHARES, checked, entries_of
from llm_validation.forecast.calibrated import Calibration
from llm_validation.training.plan import TrainingPlan


def test_the_first_is_the_plan_and_more_runs_only_add() -> None:
    plan = TrainingPlan(learning_rate=1e-3).as_dict()
    few, many = (entries_of(["a.jsonl"], plan, n, seed=3) for n in (4, 20))
    assert many[:4] == few
    assert (few[0]["harmful_share"], few[0]["plan"]) == (0.0, {"learning_rate": 1e-3})
    kinds = {(e["harmful_share"], e["plan"]["learning_rate"]) for e in many[:9]}
    assert kinds == {(share, rate * 1e-3) for share in SHARES for rate in RATES}
    assert len({e["id"] for e in many}) == len({e["seed"] for e in many}) == 20


@pytest.fixture(scope="module")
def files(datasets, theta_folder, tmp_path_factory) -> dict[str, Path]:
    """A task, probes and a short plan for the tiny model."""
    folder = tmp_path_factory.mktemp("own")
    task, probes, plan = folder / "task.jsonl", folder / "probes.csv", folder / "plan.json"
    rows = [{"prompt": e.prompt, "response": e.response} for e in datasets["task"].examples]
    task.write_text("\n".join(map(json.dumps, rows)))
    prompts = list(dict.fromkeys([*datasets["safety"].prompts, *datasets["other"].prompts]))
    with probes.open("w", newline="") as text:
        table = csv.writer(text)
        table.writerow(["prompt", "category", "harmful"])
        table.writerows([p, "c", "true" if i % 2 else "false"] for i, p in enumerate(prompts))
    settings = {"steps": 24, "batch_size": 8, "learning_rate": 1e-2, "method": {"kind": "lora"}}
    plan.write_text(json.dumps(settings))
    return {"task": task, "probes": probes, "training": plan, "model": theta_folder}


@pytest.fixture
def calibrated(monkeypatch):
    """A shipped calibration, of nothing like the tiny model."""
    trust = evidence.Trust(Calibration(0.9, 1.0, 4.0, 12, 12), ("another model",))
    monkeypatch.setattr("llm_validation.experiments.own_evidence.trust_in", lambda asked: trust)


def command(files, out, *more: str) -> list[str]:
    given = [f"--{name}={file}" for name, file in files.items()]
    return ["forecast-skill", *given, "--out", str(out), *more]


def test_new_fine_tunes_are_forecast_run_and_checked(files, calibrated, tmp_path, capsys) -> None:
    assert main(command(files, tmp_path, "--runs", "1", "--json")) == 0
    said = json.loads(capsys.readouterr().out)
    (run,) = said["runs"]
    assert run["held"] == (run["interval"][0] <= run["measured"] <= run["interval"][1])
    assert run["outside"] == ["another model"]
    (record,) = (tmp_path / FINE_TUNES).glob("*.json")
    first = record.read_bytes()
    # A second call makes nothing again.
    assert main(command(files, tmp_path, "--runs", "1")) == 0
    shown = capsys.readouterr().out
    assert "1 of 1 intervals of 90% held" in shown
    assert "Unlike these: another model" in shown
    assert record.read_bytes() == first
    found = load(tmp_path)
    assert found.plot().axes
    assert len(found.table().rows) == 1
    # The folder's own records are evidence; a changed row, task or model is told.
    (one,) = evidence.records_in(tmp_path / FINE_TUNES)
    # It was looked at on its way, with short answers as well.
    assert [point.step for point in one.checkpoints] == [2, 6, 12, 18]
    ends = [point.delta for point in one.checkpoints] + [one.measured.delta]
    assert ends[0] == min(ends)
    assert all(0.0 <= point.refusal <= 1.0 for point in one.checkpoints)
    for found in (one.short, *(point.short for point in one.checkpoints)):
        assert [short.tokens for short in found] == [2, 4, 8]
        assert all(short.at_least <= short.before for short in found)
    registry = json.loads((tmp_path / "registry.json").read_text())
    rows = {**registry, "fine_tunes": [one.entry]}
    assert run_registry(rows, tmp_path / FINE_TUNES) == [one]
    changed = {**one.entry, "seed": 5}
    with pytest.raises(InputError, match="changed after its forecast"):
        run_registry({**rows, "fine_tunes": [changed]}, tmp_path / FINE_TUNES)
    slower = {**registry["plan"], "steps": 25}
    with pytest.raises(InputError, match="changed after its forecast"):
        run_registry({**rows, "plan": slower}, tmp_path / FINE_TUNES)
    assert main(command({**files, "task": "builtin:task-code"}, tmp_path, "--runs", "1")) == 2
    assert "made for another tasks" in capsys.readouterr().err


def test_too_few_that_held_are_told(files, tmp_path, monkeypatch) -> None:
    narrow = evidence.Trust(Calibration(0.9, 1.0, 0.0, 12, 12))
    monkeypatch.setattr("llm_validation.experiments.own_evidence.trust_in", lambda asked: narrow)
    made = Manifest(**manifest(given={}, inputs={}, seed=0))
    some = [
        one.model_copy(update={"measured": one.measured.model_copy(update={"refusal": 0.123})})
        for one in evidence.shipped()[:3]
    ]
    found = checked(some, made)
    assert found.fails
    assert "0 of 3 intervals of 90% held" in found.summary()
    assert "does not hold here" in found.summary()
    monkeypatch.setattr("llm_validation.experiments.own_evidence.trust_in", lambda asked: None)
    with pytest.raises(InputError, match="too few fine-tunes"):
        checked(some, made)
    idle = some[0].model_copy(update={"gates": {"trained": False}})
    with pytest.raises(InputError, match="no fine-tune trained"):
        checked([idle], made)


def test_runs_need_a_folder(files, tmp_path, capsys) -> None:
    assert main(["forecast-skill", "--runs", "2"]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(command(files, tmp_path, "--runs", "0")) == 2
    assert "Give 1 or more" in capsys.readouterr().err
