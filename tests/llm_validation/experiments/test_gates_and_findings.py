"""Gates and findings on runs made of numbers: what is planted is found, noise is not."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from finebound.results.evaluation import EvaluationResult, ScoredItem
from llm_validation.experiments.behaviour import CHECK_ROWS
from llm_validation.experiments.findings import findings
from llm_validation.experiments.gates import gates_of, same_budgets, shortfalls
from llm_validation.experiments.run import number_formats, trained_from
from llm_validation.training.methods import PromptTuning

NONE, LAM = {"unconstrained": True}, lambda lam: {"lam": [lam]}
RADIUS = lambda radius: {"radius": [radius]}  # noqa: E731


def verdicts(runs):
    return {f.finding: f.verdict for f in findings(runs)}


def test_a_planted_teacher_effect_is_confirmed_and_its_reverse_refuted(make_run):
    def runs(same, other):
        return [
            make_run(LAM(lam), proxy=proxy, rise=rise, noise=0.05)
            for lam in (0.25, 1.0)
            for proxy, rise in (("same-teacher", same), ("other-teacher", other))
        ]

    assert verdicts(runs(0.1, 0.5))["a"] == "confirmed"
    assert verdicts(runs(0.5, 0.1))["a"] == "refuted"
    assert verdicts(runs(0.30, 0.301))["a"] == "undecided"


def test_one_lambda_with_the_opposite_sign_refutes(make_run):
    runs = [
        make_run(LAM(lam), proxy=proxy, rise=rise, noise=0.02)
        for lam, rises in ((0.25, (0.1, 0.5)), (1.0, (0.5, 0.1)))
        for proxy, rise in zip(("same-teacher", "other-teacher"), rises, strict=True)
    ]
    assert verdicts(runs)["a"] == "refuted"


def test_the_effect_is_the_planted_number(make_run):
    runs = [
        make_run(LAM(1.0), proxy=proxy, rise=rise, noise=0.05, rows=200)
        for proxy, rise in (("same-teacher", 0.1), ("other-teacher", 0.5))
    ]
    (effect,) = next(f for f in findings(runs) if f.finding == "a").effects
    assert effect.span.lower < 0.4 < effect.span.upper
    assert effect.span.upper - effect.span.lower < 0.1


def test_code_against_general(make_run):
    runs = [
        make_run(NONE, task="general", rise=0.4, gain=0.5, noise=0.02),
        make_run(NONE, task="code", rise=0.1, gain=0.5, noise=0.02),
    ]
    assert verdicts(runs)["b"] == "confirmed"
    assert verdicts(runs[:1])["b"] == "not tested"


def test_steepness_and_equal_capability(make_run):
    loss = [
        make_run(LAM(lam), proxy="same-teacher", rise=rise, gain=gain, noise=0.002)
        for lam, rise, gain in ((0.25, 0.4, 0.55), (4.0, 0.0, 0.50))
    ]
    radii = [
        make_run(RADIUS(radius), rise=rise, gain=gain, noise=0.002)
        for radius, rise, gain in ((0.1, 0.05, 0.10), (0.5, 0.30, 0.52))
    ]
    found = verdicts([*loss, *radii])
    # Case II loses 1.7 nats of capability a nat of safety, Case I 0.125.
    assert found["c"] == "confirmed"
    # At a gain of 0.10 and of 0.52 the loss constraint costs 0 and 0.16.
    assert found["c'"] == "confirmed"


def test_monotonicity(make_run):
    def sweep(rises, gains):
        return [
            make_run(LAM(lam), proxy="same-teacher", rise=r, gain=g, noise=0.01)
            for lam, r, g in zip((0.25, 1.0, 4.0), rises, gains, strict=True)
        ]

    down = verdicts(sweep((0.4, 0.2, 0.1), (0.6, 0.5, 0.3)))
    assert (down["d-safety"], down["d-capability"]) == ("confirmed", "confirmed")
    bump = verdicts(sweep((0.4, 0.1, 0.3), (0.6, 0.5, 0.5)))
    assert (bump["d-safety"], bump["d-capability"]) == ("refuted", "undecided")


def test_seeds_are_resampled_too(make_run):
    """One seed that contradicts two others widens the interval past 0."""
    runs = [
        make_run(LAM(1.0), proxy=proxy, rise=rise, seed=seed, noise=0.01)
        for seed, other in ((0, 0.5), (1, 0.5), (2, -0.5))
        for proxy, rise in (("same-teacher", 0.1), ("other-teacher", other))
    ]
    assert verdicts(runs)["a"] == "undecided"
    assert verdicts([m for m in runs if m.run.seed < 2])["a"] == "confirmed"


def test_nothing_is_tested_without_runs():
    assert {f.verdict for f in findings([])} == {"not tested"}
    assert all(f.why_not_tested for f in findings([]))


def test_a_run_beaten_on_its_own_objective_is_undertrained(make_run):
    good = make_run(LAM(0.25), proxy="same-teacher", gain=0.5, proxy_rise=0.1)
    bad = make_run(LAM(1.0), proxy="same-teacher", gain=0.1, proxy_rise=0.1)
    found = shortfalls([good, bad])
    assert found[bad.run.id] == pytest.approx(0.4)
    assert found[good.run.id] == pytest.approx(0.0, abs=1e-12)


def test_an_unconstrained_run_must_beat_every_radius(make_run):
    free = make_run(NONE, gain=0.3)
    ball = make_run(RADIUS(0.5), gain=0.35)
    found = shortfalls([free, ball])
    assert found[free.run.id] == pytest.approx(0.05)
    assert found[ball.run.id] == 0.0


def test_runs_with_other_seeds_say_nothing_of_one_another(make_run):
    runs = [make_run(NONE, gain=0.3, seed=0), make_run(RADIUS(0.5), gain=0.9, seed=1)]
    assert shortfalls(runs) == {}


class Start:
    vocabulary, aligned_sha256, out = 49152, "theta_s", Path("nowhere")
    experiment = SimpleNamespace(behaviour=None)

    def __init__(self, measured, shift=0.0):
        self.measured, self.shift = measured, shift

    def start(self, name):
        found = self.measured.losses[0][name]
        return type(found)(found.token_sum + self.shift * found.token_count, found.token_count)


def test_gates(make_run):
    m = make_run(RADIUS(0.5), gain=0.3, displacement=0.4)
    gates = gates_of(m, Start(m), shortfall=0.001, equal_budget=True)
    assert all(gate.passed for gate in gates.values())
    assert "constraint kept" in gates


@pytest.mark.parametrize(
    ("gate", "change"),
    [
        ("trained", {"gain": 0.0}),
        ("constraint kept", {"largest": 0.51}),
        ("init only", {"shift": 0.01}),
        ("config against log", {"rates": False}),
        ("trained to its objective", {"shortfall": 0.2}),
        ("equal budgets", {"equal": False}),
        ("format", {"vocabulary": 100}),
    ],
)
def test_each_gate_fails_alone(make_run, gate, change):
    m = make_run(
        RADIUS(0.5), gain=change.get("gain", 0.3), displacement=0.4, largest=change.get("largest")
    )
    m.finetuned.result["rates_match_plan"] = change.get("rates", True)
    start = Start(m, change.get("shift", 0.0))
    start.vocabulary = change.get("vocabulary", start.vocabulary)
    gates = gates_of(
        m, start, shortfall=change.get("shortfall", 0.0), equal_budget=change.get("equal", True)
    )
    assert [name for name, g in gates.items() if not g.passed] == [gate]


def test_budgets_are_compared_within_a_method(make_run, content):
    same = [make_run(NONE), make_run(RADIUS(0.5)), make_run(LAM(1.0), proxy="same-teacher")]
    assert set(same_budgets(same).values()) == {True}
    longer = make_run(RADIUS(0.7))
    object.__setattr__(longer.run.plan, "steps", 99)
    assert set(same_budgets([*same, longer]).values()) == {False}


def with_start(make_run, *, alone, trained, **more):
    """A prompt-tuning run whose start raises the safety loss by ``alone`` by itself."""
    m = make_run(NONE, rise=alone + trained, gain=0.3)
    plan = dataclasses.replace(m.run.plan, method=PromptTuning(tokens=2))
    start = {
        name: type(found)(found.token_sum + alone * found.token_count, found.token_count)
        for name, found in m.losses[0].items()
    }
    run = dataclasses.replace(m.run, plan=plan)
    return dataclasses.replace(m, run=run, own_start=start, **more)


@pytest.mark.parametrize(
    ("alone", "trained", "passes"),
    [(0.4, 0.0, False), (0.4, -0.1, False), (0.4, -0.35, True), (0.0, 0.2, True)],
)
def test_a_start_elsewhere_must_not_be_most_of_what_a_run_shows(make_run, alone, trained, passes):
    m = with_start(make_run, alone=alone, trained=trained)
    gate = gates_of(m, Start(m), shortfall=None, equal_budget=True)["init only"]
    assert gate.passed is passes
    assert f"{alone:+.3g}" in gate.because


def test_a_start_that_was_not_measured_fails(make_run):
    m = dataclasses.replace(with_start(make_run, alone=0.1, trained=0.5), own_start={})
    gate = gates_of(m, Start(m), shortfall=None, equal_budget=True)["init only"]
    assert not gate.passed
    assert "not measured" in gate.because


def test_training_is_judged_from_the_runs_own_start(make_run):
    """What its start cost on the task is nothing that it learnt."""
    m = with_start(make_run, alone=-0.3, trained=0.0)
    gate = gates_of(m, Start(m), shortfall=None, equal_budget=True)["trained"]
    assert not gate.passed


@pytest.mark.parametrize(("coordinates", "passes"), [(3e-6, False), (0.2, True)])
def test_a_move_that_is_rounding_of_the_start_is_no_training(make_run, coordinates, passes):
    m = make_run(NONE, gain=0.3)
    m.finetuned.result["displacement"]["coordinates"] = coordinates
    m.finetuned.result["optimiser_budget"]["groups"] = {
        "A with decay": {"start_norm": 30.0}, "B with decay": {"start_norm": 40.0},
        "weights": {"start_norm": None},
    }  # fmt: skip
    gate = gates_of(m, Start(m), shortfall=None, equal_budget=True)["trained"]
    assert gate.passed is passes
    assert f"{coordinates / 50.0:.2g} of their start's norm" in gate.because


@pytest.mark.parametrize(("formats", "passes"), [(("F32",), True), (("BF16", "F32"), False)])
def test_trained_numbers_of_16_bits_fail(make_run, formats, passes):
    m = dataclasses.replace(make_run(NONE, gain=0.3), number_formats=formats)
    gate = gates_of(m, Start(m), shortfall=None, equal_budget=True)["number format"]
    assert gate.passed is passes


def test_number_formats_are_read_from_the_files(tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2), "b": torch.zeros(3, dtype=torch.bfloat16)},
              tmp_path / "adapter_model.safetensors")  # fmt: skip
    assert number_formats(tmp_path) == ("BF16", "F32")
    assert number_formats(tmp_path / "empty") == ()


def behaved(make_run, *, outcomes=("safe",) * 10, of=None, check=0.0):
    """A run with a hazards record whose model is ``check`` nats/token off the trained one."""
    m = make_run(NONE, gain=0.3)
    end = m.losses[m.last]["safety.held-out"]
    loss = end.token_sum[:CHECK_ROWS].sum() / end.token_count[:CHECK_ROWS].sum()
    items = tuple(
        ScoredItem(id=i, score=None if o == "error" else float(o == "safe"), outcome=o)
        for i, o in enumerate(outcomes)
    )
    summary = {"of": of or trained_from(m.finetuned.document), "check_loss": loss + check}
    record = EvaluationResult(
        evaluation="hazards", label="lora", items=items, summary=summary, share=True
    )
    return dataclasses.replace(m, behaviour={"hazards": record})


@pytest.mark.parametrize(
    ("gate", "changed"),
    [
        ("echo and coherence", {"outcomes": ("safe",) * 8 + ("echo", "degenerate")}),
        ("generation", {"outcomes": ("safe",) * 9 + ("error",)}),
        ("evaluated what was trained", {"check": 0.01}),
        ("evaluated what was trained", {"of": {"base": "another"}}),
    ],
)
def test_behaviour_has_its_gates(make_run, gate, changed):
    m = behaved(make_run)
    assert gates_of(m, Start(m), shortfall=None, equal_budget=True)[gate].passed
    m = behaved(make_run, **changed)
    assert not gates_of(m, Start(m), shortfall=None, equal_budget=True)[gate].passed


def test_methods_of_one_task_need_equal_budgets_but_not_equal_rates(make_run):
    def other(**changed):
        m = make_run(NONE, seed=1)
        plan = dataclasses.replace(m.run.plan, **changed)
        return dataclasses.replace(m, run=dataclasses.replace(m.run, plan=plan, method="ia3"))

    mine = make_run(NONE)
    assert all(same_budgets([mine, other(learning_rate=0.5)]).values())
    assert not any(same_budgets([mine, other(batch_size=7)]).values())
