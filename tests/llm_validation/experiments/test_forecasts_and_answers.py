"""What is foreseen before a run and asked after it: forecasts, refusal, the gates of answers."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from llm_validation.data.builtin.requests import HARMLESS
from llm_validation.data.dataset import Dataset, Example
from llm_validation.experiments import forecasts as room
from llm_validation.experiments.answers import Answer, prompts_of_a_run, rates
from llm_validation.experiments.config import expand
from llm_validation.experiments.forecasts import TIGHTEST_BOUND, forecast_runs
from llm_validation.experiments.gates import gates_of
from llm_validation.experiments.run import run_folder


def answer(label, *, harmless=False):
    return Answer("p", HARMLESS if harmless else "Fraud", "text", label)


def test_every_run_is_forecast_before_it_is_begun(finished):
    prepared = finished.prepared
    for run in expand(prepared.experiment):
        content = json.loads((prepared.out / room.FOLDER / f"{run.id}.json").read_text())
        assert content["run_was_begun"] is False
        names = {said["name"] for said in content["predictions"]}
        assert {"coarse unroll (T20)", "linearised (T16)", "gradient cosine"} <= names


def test_forecasts_stand_beside_what_the_runs_measured(finished):
    by_run = {run.id: run for run in finished.result.done}
    entries = finished.result.forecasts.runs
    assert {e.run for e in entries} == set(by_run)
    for entry in entries:
        measured = by_run[entry.run].safety_gap
        assert entry.measured_safety_change == pytest.approx(measured, abs=1e-12)
    ours = next(r for r in finished.result.forecasts.safety if r.name == "coarse unroll (T20)")
    assert ours.runs == len(by_run)
    assert ours.coverage is not None
    assert 0.0 < finished.result.forecasts.cost_share["coarse unroll (T20)"] <= 1.0


def test_what_forecasts_measure_once_is_paid_for_once(finished):
    alone, together = (
        finished.result.forecasts.cost_share,
        finished.result.forecasts.cost_share_of_all,
    )
    # All of these read the same gradients at theta_s; the unroll shares its rows' losses there.
    assert together["gradient cosine"] == together["linearised (T16)"]
    assert together["gradient cosine"] < 0.75 * alone["gradient cosine"]
    tokens = [
        json.loads((finished.prepared.out / room.FOLDER / f"{run.id}.json").read_text())
        for run in expand(finished.prepared.experiment)
    ]
    unrolls = [said["predictions"][0] for said in tokens]
    shared = [said["shared_tokens"]["safety"] for said in unrolls]
    total = sum(said["finetune_tokens"] for said in tokens)
    paid = sum(said["cost_tokens"] for said in unrolls) - sum(shared) + max(shared)
    assert together["coarse unroll (T20)"] == pytest.approx(paid / total)


def test_the_tightest_bound_is_a_predictor_of_order_only(finished):
    mine = [f for f in finished.result.forecasts.runs if f.name == TIGHTEST_BOUND]
    assert len(mine) == len(finished.measured)
    trivial = math.log(finished.prepared.vocabulary)
    for forecast in mine:
        assert forecast.is_score
        assert 0.0 <= forecast.safety_change <= trivial


def test_a_forecast_is_made_once(finished, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("made again")

    monkeypatch.setattr("llm_validation.forecast.predictors.all_predictors", refuse)
    forecast_runs(finished.prepared, expand(finished.prepared.experiment))


def test_another_configuration_s_forecast_is_not_read(finished):
    (run, *_) = expand(finished.prepared.experiment)
    assert room._read(finished.prepared, run) is not None
    other = dataclasses.replace(run, sha256="0" * 64)
    assert room._read(finished.prepared, other) is None


def test_refusal_and_over_refusal_are_told_apart_and_errors_are_not_safe():
    found = rates(
        [answer("refusal")] * 3
        + [answer("compliance"), answer("error"), answer("echo")]
        + [answer("refusal", harmless=True), answer("compliance", harmless=True)]
    )
    assert (found.refusal.count, found.refusal.n) == (3, 6)
    assert (found.over_refusal.count, found.over_refusal.n) == (1, 2)
    assert found.incoherent.count == 1
    assert found.errors == 1
    assert found.refusal.low < 0.5 < found.refusal.high
    assert rates([]) is None


def test_a_run_is_asked_harmful_and_harmless_prompts_in_equal_number():
    rows = [Example(f"bad {i}", "no", (("user", f"bad {i}"),), category="Fraud") for i in range(9)]
    rows += [Example(f"ok {i}", "yes", (("user", f"ok {i}"),), category=HARMLESS) for i in range(2)]
    safety = Dataset.of(rows, name="safety")
    chosen = prompts_of_a_run(safety, 6)
    assert [e.category for e in chosen.examples].count(HARMLESS) == 2
    assert len(chosen) == 6
    assert len(prompts_of_a_run(safety, 40)) == 11


def test_the_aligned_model_s_refusal_is_recorded_before_and_after(finished):
    answers = finished.prepared.document["aligned"]["answers"]
    held_out = len(finished.prepared.sets["safety.held-out"])
    for when in ("before", "after"):
        assert answers[when]["refusal"]["n"] + answers[when]["over_refusal"]["n"] == held_out


def test_every_run_answers_and_its_gates_judge_the_answers(finished):
    for m, run in zip(finished.measured, finished.result.done, strict=True):
        assert len(m.answers) == 4
        assert {"echo and coherence", "generation", "evaluated what was trained"} <= set(run.gates)
        folder = run_folder(finished.prepared.out, m.run.id)
        assert (folder / "answers.jsonl").is_file()


@pytest.mark.parametrize(
    ("answers", "gate"),
    [
        ([answer("echo")] * 2 + [answer("refusal")] * 8, "echo and coherence"),
        ([answer("degenerate")] * 10, "echo and coherence"),
        ([answer("error")] + [answer("refusal")] * 9, "generation"),
    ],
)
def test_gibberish_and_failed_generations_fail_their_gate(finished, answers, gate):
    measured = dataclasses.replace(finished.measured[0], answers=tuple(answers))
    gates = gates_of(measured, finished.prepared, shortfall=None, equal_budget=True)
    assert not gates[gate].passed
    good = dataclasses.replace(measured, answers=(answer("refusal"),) * 10)
    assert gates_of(good, finished.prepared, shortfall=None, equal_budget=True)[gate].passed
