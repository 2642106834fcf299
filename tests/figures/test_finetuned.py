"""Figures of real fine-tunes: taken from a finished experiment, and told as it came out."""

from __future__ import annotations

import json

import pytest
from made_runs import experiment_entry, run_entry

from finebound.base.errors import InputError
from finebound.base.records import file_sha256
from paper_figures import paths, predicted_measured
from paper_figures.finetuned import (
    gates_note,
    main_task,
    of_findings,
    read_finetuned,
    run_of,
    words,
)

RUN = run_entry("original", rate=2e-4, safety=0.2, gain=0.5) | {
    "id": "general_loss-lam1",
    "proxy": "original",
    "strategy": {"kind": "loss", "lam": 1.0},
    "capability_gain_interval": [0.4, 0.7],
    "training_sets": {"safety_gap": 0.25, "capability_gain": 0.6},
    "gates": {"trained": True},
}
OPEN = {
    "id": "general_none",
    "status": "failed",
    "safety_gap": None,
    "capability_gap": None,
    "gates": {},
    "error": "out of memory",
    "attempts": ["failed"],
}
BOUND = {
    "run": RUN["id"],
    "step": 16,
    "fraction": 1.0,
    "when": "a posteriori",
    "what": "safety loss rise",
    "quantity": "safety_gap",
    "direction": "upper",
    "statement": "T1",
    "form": "total variation",
    "status": "CERTIFIED",
    "value": 0.5,
    "unit": "nats",
    "failure_probability": 0.0,
    "terms": {},
    "assumptions": [],
    "failed": "",
    "measured": 0.25,
    "ratio": 2.0,
    "verdict": "held",
    "premise": "",
}


@pytest.fixture
def validated(tmp_path, monkeypatch):
    """Writes an experiment's files into a folder in place of the real one."""
    monkeypatch.setitem(paths.FINETUNED, "small", tmp_path)

    def write(runs=(RUN,), compared=(BOUND,)):
        files = {
            "validate.json": experiment_entry([RUN]) | {"runs": list(runs)},
            "comparison.json": compared,
            "prepared.json": {"model": {"name": "tiny"}, "vocabulary": 100},
        }
        for name, content in files.items():
            (tmp_path / name).write_text(json.dumps(content))
        return tmp_path

    return write


def t1(data):
    return next(claim for claim in predicted_measured.claims(data) if claim.statement == "T1")


def test_an_unfinished_experiment_names_the_command_that_makes_it(validated):
    folder = validated()
    (folder / "validate.json").unlink()
    with pytest.raises(InputError, match=r"validate\.json.*finebound validate small"):
        read_finetuned()


def test_a_broken_file_is_named(validated):
    (validated() / "comparison.json").write_text("{")
    with pytest.raises(InputError, match=r"comparison\.json.*finebound validate small"):
        read_finetuned()


def test_the_record_keeps_the_experiments_manifest_and_the_hashes_of_its_files(validated):
    folder = validated(runs=[RUN, OPEN])
    data = predicted_measured.record(0)
    about = data["experiment"]
    assert about["manifest"] == experiment_entry([RUN])["manifest"]
    assert about["files"]["validate.json"] == file_sha256(folder / "validate.json")
    assert (about["runs_done"], about["runs_planned"]) == (1, 2)
    assert [run["id"] for run in data["runs"]] == [RUN["id"]]


def test_a_gain_is_a_fall_of_the_task_loss_with_its_interval_turned(validated):
    validated()
    (run,) = predicted_measured.record(0)["runs"]
    assert run["task_change"] == [-0.5, -0.7, -0.4]
    assert run["training_task"] == -0.6


def test_only_upper_bounds_on_the_safety_loss_are_kept(validated):
    validated(compared=[BOUND, BOUND | {"what": "task loss"}, BOUND | {"direction": "lower"}])
    assert len(predicted_measured.record(0)["bounds"]) == 1


@pytest.mark.parametrize(
    ("verdict", "holds"), [("held", True), ("vacuous", True), ("violated", False)]
)
def test_one_violated_bound_is_told(validated, verdict, holds):
    validated(compared=[BOUND, BOUND | {"verdict": verdict}])
    assert t1(predicted_measured.record(0)).holds is holds


@pytest.mark.parametrize(
    ("verdict", "holds"), [("confirmed", True), ("undecided", False), ("refuted", False)]
)
def test_only_a_confirmed_finding_holds(verdict, holds):
    effect = {"where": "lam 1", "estimate": 0.2, "interval": ["-inf", 0.3], "unit": "nats"}
    finding = {"finding": "a", "claim": "it is so", "verdict": verdict, "effects": [effect]}
    (claim,) = of_findings([finding, finding | {"finding": "b"}], {"a": "That"})
    assert claim.holds is holds
    assert verdict in claim.evidence
    assert "+0.2 (-inf to 0.3) nats at lam 1" in claim.evidence


def test_a_label_names_the_task_only_if_it_is_not_the_main_one():
    run = {"task": "code", "lam": 1.0, "radius": 0.5, "proxy": "original", "failed": []}
    free = {"task": "general", "lam": None, "radius": None, "proxy": None, "failed": []}
    assert main_task([run, free, free]) == "general"
    assert words(run, main="general") == r"code: $\lambda$ 1 radius 0.5 original"
    assert words(free, main="general") == "unconstrained"


def test_a_run_behind_a_failed_gate_is_marked_in_labels_and_captions(validated):
    broken = RUN | {"gates": {"trained": True, "echo and coherence": False}}
    validated([RUN, broken | {"id": "broken"}])
    passed, failed = (run_of(run) for run in read_finetuned()[0].done)
    assert [words(run, main="general").endswith("†") for run in (passed, failed)] == [False, True]
    assert gates_note([passed], "†") == ""
    assert (
        gates_note([passed, failed], "†")
        == " †: behind a failed gate, broken (echo and coherence)."
    )
