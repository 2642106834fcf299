"""The contract of ``finebound validate`` and ``finetune``: JSON, resume after a kill, refusals."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from unsealed import unsealed

from finebound.cli import main


@pytest.fixture
def configuration(tiny_model_folder, tmp_path, monkeypatch):
    """A grid of three tiny runs, in a file; theta_s is cached in the test's folder."""
    monkeypatch.setenv("FINEBOUND_CACHE", str(tmp_path / "cache"))
    content = {
        "name": "tiny",
        "model": str(tiny_model_folder),
        "safety": "builtin:safety",
        "tasks": {"general": "builtin:task-general"},
        "proxies": {"same-teacher": "builtin:proxy-same-teacher"},
        "methods": {"lora": {"rank": 2, "targets": ["q_proj", "v_proj"]}},
        "rows": {"safety": 8, "task": 8, "proxy": 8, "held_out": 4},
        "alignment": {"steps": 3, "learning_rate": 0.01, "batch_size": 4},
        "training": {
            "steps": 3, "learning_rate": 0.01, "batch_size": 2, "evaluate_at": [0.0, 1.0]
        },
        "grid": [
            {"tasks": ["general"], "unconstrained": True, "radius": [0.05]},
            {"tasks": ["general"], "proxies": ["same-teacher"], "lam": [1.0]},
        ],
        "landscape": {"rows_for_curvature": 1, "lanczos_steps": 1, "tokens_a_curvature_row": 32},
    }  # fmt: skip
    return write(tmp_path / "tiny.json", content)


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def changed(configuration, **entries):
    content = json.loads(configuration.read_text()) | entries
    return write(configuration.with_name("changed.json"), content)


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


IDS = ["general_none_lora_s0", "general_parameter-r0.05_lora_s0",
       "general_loss-lam1_same-teacher_lora_s0"]  # fmt: skip


def test_a_grid_gives_the_contract_and_a_second_start_runs_nothing(
    capsys, configuration, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    code, printed, _ = run(capsys, "validate", configuration, "--out", out, "--json")
    found = json.loads(printed)
    assert code == 0
    assert [r["id"] for r in found["runs"]] == IDS
    for entry in found["runs"]:
        assert entry["status"] == "done"
        assert isinstance(entry["safety_gap"], float)
        assert entry["capability_gap"] >= 0.0
        assert set(entry["gates"]) >= {"trained", "init only", "format", "config against log"}
        low, high = entry["safety_interval"]
        assert low <= entry["safety_gap"] <= high
    assert min(r["capability_gap"] for r in found["runs"]) == 0.0
    assert found["bounds"]["held"] > 0
    assert found["bounds"]["violated_certain"] == 0
    verdicts = [f["verdict"] for f in found["findings"]]
    assert set(verdicts) <= {"confirmed", "refuted", "undecided", "not tested"}
    written = json.loads((out / "validate.json").read_text())
    assert written["manifest"]["code"]["commit"]
    compared = json.loads((out / "comparison.json").read_text())
    assert {c["verdict"] for c in compared} <= {"held", "violated", "vacuous", "premise failed"}
    assert {"T1", "T6", "T12", "T13"} <= {c["statement"] for c in compared}

    from llm_validation.training import finetune

    monkeypatch.setattr(finetune, "finetune", lambda *_, **__: pytest.fail("ran again"))
    code, again, _ = run(capsys, "validate", configuration, "--out", out)
    assert code == 0
    for words in ("The paper's findings", "Bounds at all checkpoints", IDS[0]):
        assert words in again

    code, _, _ = run(capsys, "report", out / "runs" / IDS[2])
    assert code == 0
    page = (out / "runs" / IDS[2] / "report.html").read_text()
    assert "<h1>" + IDS[2] + "</h1>" in page
    assert "init only" in page
    assert page.count("data:image/svg+xml") == 3
    assert "http" not in page.replace("http://www.w3.org", "")
    code, printed, _ = run(capsys, "report", out)
    assert code == 0
    assert "pass every gate" in printed or "fail a gate" in printed
    assert "What these runs support" in (out / "report.html").read_text()
    assert run(capsys, "report", tmp_path)[0] == 2


def test_one_run_alone_and_then_the_grid(capsys, configuration, tmp_path):
    out = tmp_path / "out"
    code, _, told = run(capsys, "finetune", configuration, "--out", out)
    assert code == 2
    assert "--run general_none_lora_s0" in " ".join(told.split())
    assert not out.exists()
    code, printed, _ = run(
        capsys, "finetune", configuration, "--run", IDS[1], "--out", out, "--json"
    )
    assert code == 0
    status = {r["id"]: r["status"] for r in json.loads(printed)["runs"]}
    assert status == {IDS[0]: "pending", IDS[1]: "done", IDS[2]: "pending"}
    record = out / "runs" / IDS[1] / "record.json"
    before = record.read_bytes()
    code, printed, _ = run(capsys, "validate", configuration, "--out", out, "--json")
    assert code == 0
    assert {r["status"] for r in json.loads(printed)["runs"]} == {"done"}
    assert record.read_bytes() == before


def test_a_killed_grid_finishes_at_the_next_start(capsys, configuration, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "finebound", "validate", str(configuration), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    first, second = (out / "runs" / name for name in IDS[:2])
    limit = time.monotonic() + 300
    while not (second / "attempts.json").exists():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < limit
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "validate.json").exists()
    record = (first / "record.json").read_bytes()
    code, printed, _ = run(capsys, "validate", configuration, "--out", out, "--json")
    assert code == 0
    entries = {r["id"]: r for r in json.loads(printed)["runs"]}
    assert {r["status"] for r in entries.values()} == {"done"}
    assert entries[IDS[1]]["attempts"] == ["killed", "done"]
    assert (first / "record.json").read_bytes() == record


def test_a_folder_of_another_configuration_is_refused(capsys, configuration, tmp_path):
    out = tmp_path / "out"
    one = changed(configuration, grid=[{"tasks": ["general"], "unconstrained": True}])
    assert run(capsys, "validate", one, "--out", out)[0] == 0
    training = {"steps": 4, "learning_rate": 0.01, "batch_size": 2}
    other = changed(one, training=training)
    code, printed, told = run(capsys, "validate", other, "--out", out)
    assert (code, printed) == (2, "")
    assert "another configuration" in told
    assert "--out" in told
    rows = {"safety": 8, "task": 6, "proxy": 8, "held_out": 4}
    code, _, told = run(capsys, "validate", changed(configuration, rows=rows), "--out", out)
    assert code == 2
    assert "rows of task.general" in told


def test_a_violated_bound_fails_the_command(capsys, configuration, tmp_path):
    """A record whose weights lie outside of the ball refutes the projection."""
    out = tmp_path / "out"
    one = changed(configuration, grid=[{"tasks": ["general"], "radius": [0.05]}])
    assert run(capsys, "validate", one, "--out", out)[0] == 0
    steps = unsealed(out) / "runs" / IDS[1] / "steps.json"
    columns = json.loads(steps.read_text())
    columns["displacement"][-1] = 0.06
    steps.write_text(json.dumps(columns))
    code, printed, _ = run(capsys, "validate", one, "--out", out)
    assert code == 1
    assert "VIOLATED" in printed


def test_a_run_that_diverges_fails_the_command_and_keeps_the_others(
    capsys, configuration, tmp_path
):
    grid = [{"tasks": ["general"], "methods": ["lora", "wild"], "unconstrained": True}]
    methods = {"wild": {"rank": 2, "learning_rate": 1e30}, "lora": {"rank": 2}}
    wild = changed(configuration, grid=grid, methods=methods, landscape=None)
    code, printed, _ = run(capsys, "validate", wild, "--out", tmp_path / "out", "--json")
    assert code == 1
    found = {r["id"]: r for r in json.loads(printed)["runs"]}
    assert found["general_none_wild_s0"]["status"] == "failed"
    assert "diverged" in found["general_none_wild_s0"]["error"]
    assert found["general_none_lora_s0"]["status"] == "done"


def test_a_dry_run_of_the_study_needs_no_network_and_writes_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, printed, _ = run(capsys, "validate", "paper_orca", "--dry-run", "--json")
    assert code == 0
    planned = json.loads(printed)
    assert planned["bounds"] == {"held": 0, "violated": 0, "vacuous": 0}
    assert {r["task"] for r in planned["runs"]} >= {"general", "code", "reasoning"}
    assert len({r["id"] for r in planned["runs"]}) == len(planned["runs"]) > 100
    code, printed, _ = run(capsys, "validate", "small", "--dry-run")
    assert code == 0
    assert "same-teacher" in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["smoke"], "--out"),
        (["smoke", "--out", "o", "--workers", "2"], "--executor process"),
        (["smoke", "--out", "o", "--address", "auto"], "--executor ray"),
        (["smoke", "--out", "o", "--executor", "process", "--workers", "0"], "--workers"),
        (["no-such-thing", "--out", "o"], "no-such-thing"),
    ],
)
def test_wrong_options(capsys, arguments, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, printed, told = run(capsys, "validate", *arguments)
    assert (code, printed) == (2, "")
    assert word in told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"tasks": {"../x": "builtin:task-general"}}, "tasks"),
        ({"lamda": 1}, "unknown entry lamda"),
        ({"tasks": {"general": "missing.jsonl"}}, "missing.jsonl"),
        ({"methods": {"lora": {"targets": ["no_such_module"]}}}, "no_such_module"),
    ],
)
def test_wrong_configurations(capsys, configuration, entries, word, tmp_path):
    code, printed, told = run(
        capsys, "validate", changed(configuration, **entries), "--out", tmp_path / "out"
    )
    assert (code, printed) == (2, "")
    assert word in told
