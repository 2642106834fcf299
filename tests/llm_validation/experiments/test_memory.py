"""An experiment with little memory: what does not fit is left out by name, the rest is made."""

from __future__ import annotations

import json

import pytest

from llm_validation.experiments.config import experiment_of
from llm_validation.experiments.validation import validate
from llm_validation.forecast import gradient_rows
from llm_validation.models import loading, memory


@pytest.fixture
def one_run(content):
    return experiment_of(
        {
            **content,
            "alignment": None,
            "generations": None,
            "grid": [{"tasks": ["general"], "unconstrained": True}],
        }
    )


def allow(monkeypatch, size):
    """So many bytes, for everything but the model itself."""
    monkeypatch.setattr(loading, "_require_room", lambda weights, name, placement: None)
    for module in (memory, gradient_rows):
        monkeypatch.setattr(module, "allowed_bytes", lambda device="cpu": float(size))


def test_what_does_not_fit_is_left_out_by_name(one_run, tmp_path, monkeypatch, capsys):
    # Enough for the LoRA of rank 2 with its moments, not for rows of its gradients.
    allow(monkeypatch, 10_000)
    found = validate(one_run, tmp_path)
    (run,) = found.runs
    assert run.status == "done"
    written = json.loads((tmp_path / "validate.json").read_text())
    assert written["left_out"] == [
        sentence for sentence in written["left_out"] if "measuring the constants" in sentence
    ]
    assert len(written["left_out"]) == 1
    assert not any(c.statement in ("T6", "T7") for c in found.compared)
    said = json.loads((tmp_path / "forecasts" / f"{run.id}.json").read_text())["predictions"]
    left_out = {p["name"]: p["not_applicable"] for p in said if "not_applicable" in p}
    assert {"linearised (T16)", "gradient cosine", "Fisher overlap"} <= set(left_out)
    assert "MB may be used" in left_out["linearised (T16)"]
    assert any("not_applicable" not in p for p in said)
    told = " ".join(capsys.readouterr().err.split())
    assert f"No linearised (T16) for {run.id}: keeping 3 gradients of single rows" in told
    assert "No bounds from measured constants for general by lora" in told


def test_a_training_that_does_not_fit_is_not_begun(one_run, tmp_path, monkeypatch):
    without = one_run.model_copy(update={"landscape": None, "forecast": None})
    allow(monkeypatch, 100)
    (run,) = validate(without, tmp_path).runs
    assert run.status == "failed"
    assert "training lora beside the model" in run.error
    assert not (tmp_path / "runs" / run.id / "steps.json").exists()
    # With room the same folder is finished.
    allow(monkeypatch, 1e9)
    assert validate(without, tmp_path).runs[0].status == "done"
