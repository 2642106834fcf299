"""T20: the loop is the trainer's, K = T is the fine-tune, and few large steps forecast it."""

from __future__ import annotations

import numpy as np
import pytest

from finebound.base.errors import InputError
from llm_validation.forecast.optimiser import train
from llm_validation.forecast.unroll import CoarseUnroll
from llm_validation.forecast.world import prepared
from llm_validation.training.finetune import finetune
from llm_validation.training.plan import FullWeights, SoftParameterConstraint
from llm_validation.training.streams import PROXY, TASK, Stream, Streams
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

SGD = {"method": FullWeights(), "optimizer": "sgd", "learning_rate": 0.1}
PLANS = {
    "unconstrained, decayed, cosine": {"weight_decay": 0.1, "schedule": "cosine", "warmup": 2},
    "loss constraint": {"strategy": LossConstraint(lam=0.5), "proxy_batch_size": 3},
    "epsilon": {"strategy": LossConstraint(epsilon=0.01), "dual_rate": 5.0},
    "hybrid, accumulated": {"strategy": Hybrid(lam=0.5, radius=0.05), "gradient_accumulation": 2},
    "full, SGD, momentum": {**SGD, "momentum": 0.5, "clip": 0.5},
    "full, radius, decayed": {
        "method": FullWeights(),
        "strategy": ParameterConstraint(radius=0.1),
        "weight_decay": 0.1,
    },
    "soft": {"strategy": SoftParameterConstraint(strength=3.0)},
}


@pytest.mark.parametrize("name", PLANS)
def test_the_loop_is_the_trainers(name, world_of, small_plan, theta, tmp_path):
    plan = small_plan(steps=5, **PLANS[name])
    world = world_of("other" if plan.needs_proxy_rows else None)
    task = Stream(TASK, tuple(world.encoded("task")), plan.batch_size, plan.seed)
    proxy = None
    if plan.needs_proxy_rows:
        rows = tuple(world.encoded("proxy"))
        proxy = Stream(PROXY, rows, plan.proxy_rows_per_step, plan.seed)
    with prepared(theta, plan) as (model, coordinates):
        path = train(model, plan, Streams(task, proxy), plan.learning_rates(), pad_id=world.pad_id)
        mine = {
            n: p.detach().clone()
            for n, p in zip(coordinates.names, coordinates.parameters, strict=True)
        }
    run = finetune(theta, world.task, world.proxy, plan, out=tmp_path / "run")
    np.testing.assert_allclose(path.displacements, run.steps["displacement"], rtol=2e-5)
    if plan.strategy is None or plan.needs_proxy_rows:
        expected = run.steps["task_loss"]
        if proxy is not None:
            expected = expected + run.steps["lam"] * run.steps["proxy_loss"]
        # Float32, and lambda rises with what came before: a CPU's kernels move the sixth digit.
        np.testing.assert_allclose(path.objective, expected, rtol=5e-6)
    theirs = dict(run.model.model.named_parameters())
    for key, value in mine.items():
        np.testing.assert_allclose(theirs[key].detach(), value, atol=2e-6)


@pytest.mark.parametrize("strategy", [None, ParameterConstraint(radius=0.1)])
def test_as_many_steps_as_the_fine_tune_are_the_fine_tune(
    strategy, world_of, small_plan, theta, datasets, tmp_path
):
    plan = small_plan(strategy=strategy, steps=6, batch_size=len(datasets["task"]))
    world = world_of(task_measured=datasets["other"])
    unroll = CoarseUnroll(steps=6, safety_rows=1000, task_rows=1000)
    said = unroll.predict(world, plan)
    coarse = CoarseUnroll(steps=3, safety_rows=1000).predict(world, plan)
    run = finetune(
        theta,
        world.task,
        None,
        plan,
        out=tmp_path / "run",
        monitors={"safety": world.safety, "task": world.task_measured},
    )
    for name in ("safety", "task"):
        change = run.end[name].per_token - run.start[name].per_token
        assert abs(change) > 1e-4
        assert getattr(said, f"{name}_change") == pytest.approx(change, abs=1e-6)
    assert said.details["displacement"] == pytest.approx(run.result["displacement"]["end"])
    narrow = np.diff(said.interval_90.safety)[0]
    assert np.diff(coarse.interval_90.safety)[0] > narrow


@pytest.mark.parametrize("settings", [{}, {"rows_per_step": 2}], ids=str)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_model_is_left_bit_for_bit(settings, method, world_of, small_plan, theta, imprint):
    chosen = {} if method == "lora" else {"method": FullWeights()}
    plan = small_plan(strategy=Hybrid(lam=0.5, radius=5.0), **chosen)
    theta.model.lm_head.weight.grad = None
    before = imprint(theta)
    said = CoarseUnroll(steps=2, safety_rows=4, task_rows=4, **settings).predict(
        world_of("other"), plan
    )
    assert imprint(theta) == before
    assert said.interval_90.safety[0] < said.safety_change < said.interval_90.safety[1]


def test_a_diverging_unroll_is_an_error_and_leaves_the_model(world_of, small_plan, theta, imprint):
    before = imprint(theta)
    plan = small_plan(method=FullWeights(), optimizer="sgd", learning_rate=1e30, clip=None)
    with pytest.raises(InputError, match="diverged"):
        CoarseUnroll(steps=3).predict(world_of(), plan)
    assert imprint(theta) == before


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_sgd_goes_as_far_as_the_fine_tune_on_a_straight_path(momentum, world_of, small_plan):
    settings = {**SGD, "learning_rate": 2e-4 * (1 - momentum), "momentum": momentum}
    plan = small_plan(**settings, batch_size=48, clip=None)
    world = world_of()
    full = CoarseUnroll(steps=12, safety_rows=36).predict(world, plan)
    coarse = CoarseUnroll(steps=3, safety_rows=36).predict(world, plan)

    def distance(steps: int) -> float:
        # Of a constant gradient; momentum still gathers in the first steps.
        forgets = momentum ** (12 / steps)
        return 12 / steps * sum(1 - forgets**step for step in range(1, steps + 1))

    further = distance(3) / distance(12)
    found = coarse.details["displacement"] / full.details["displacement"]
    assert found == pytest.approx(further, rel=0.05)
    assert coarse.task_change == pytest.approx(further * full.task_change, rel=0.1)


def test_rates_stand_for_the_steps_and_rows_left_out(small_plan):
    schedule = {"steps": 96, "schedule": "cosine", "warmup": 2}
    plan = small_plan(**schedule)
    rates = plan.learning_rates()
    np.testing.assert_array_equal(CoarseUnroll(steps=96).rates(plan), rates)
    # A third of the steps: three times the mean rate of each three.
    expected = 3.0 * rates.reshape(32, 3).mean(axis=1)
    np.testing.assert_allclose(CoarseUnroll(steps=32).rates(plan), expected)
    # One row for four: half of the direction in an AdamW step, and all of it in one of SGD.
    narrow = CoarseUnroll(steps=32, rows_per_step=1)
    np.testing.assert_allclose(narrow.rates(plan), 2.0 * expected)
    plain = small_plan(optimizer="sgd", **schedule)
    np.testing.assert_allclose(narrow.rates(plain), expected)
    proxied = small_plan(strategy=LossConstraint(lam=1.0), proxy_batch_size=2, **schedule)
    one_each = CoarseUnroll(steps=96, rows_per_step=2)
    np.testing.assert_allclose(one_each.rates(proxied), 3.0**0.5 * rates)
    # Four steps: 24 times the rate is the straight line, 12 of it where noise may lead.
    few = CoarseUnroll(steps=4, rows_per_step=1).rates(plan)
    np.testing.assert_allclose(few, 24.0 * rates.reshape(4, 24).mean(axis=1))


@pytest.mark.parametrize("steps", [40, 100, 400])
@pytest.mark.parametrize("proxied", [False, True])
def test_within_keeps_to_its_share(steps, proxied, world_of, small_plan):
    strategy = LossConstraint(lam=1.0) if proxied else None
    plan = small_plan(steps=steps, strategy=strategy)
    world = world_of("other" if proxied else None)
    unroll = CoarseUnroll.within(world, plan)
    cost = unroll.predict(world, plan).cost_tokens
    assert cost <= 0.105 * world.finetune_tokens(plan)
    if 0.07 * plan.rows_per_step <= 1 + proxied:
        assert unroll.rows_per_step == 1 + proxied


def test_within_refuses_a_fine_tune_that_pays_for_nothing(world_of, small_plan):
    with pytest.raises(InputError, match="pay for no forecast"):
        CoarseUnroll.within(world_of(), small_plan(steps=4, batch_size=1))


def test_constraints_hold_back_what_they_should(world_of, small_plan):
    world = world_of("safety")

    def forecast(strategy):
        plan = small_plan(steps=60, learning_rate=4e-3, strategy=strategy)
        return CoarseUnroll.within(world, plan, share=0.3).predict(world, plan)

    free, held, near = map(
        forecast, (None, LossConstraint(lam=1.0), ParameterConstraint(radius=0.05))
    )
    assert held.safety_change < free.safety_change
    assert near.details["displacement"] <= 0.05 < free.details["displacement"]
    assert free.task_change < near.task_change < 0
    plan = small_plan(steps=60, strategy=LossConstraint(lam=1.0))
    with pytest.raises(InputError, match="needs proxy data"):
        CoarseUnroll.within(world_of(), plan, share=0.3)


def test_epsilon_and_the_fisher_constraint_hold_the_weights(world_of, small_plan):
    world = world_of("safety")
    free = CoarseUnroll(safety_rows=36).predict(world, small_plan(learning_rate=1e-2))
    held = CoarseUnroll(safety_rows=36).predict(
        world,
        small_plan(
            learning_rate=1e-2, strategy=LossConstraint(epsilon=0.0), dual_start=1.0, dual_rate=5.0
        ),
    )
    assert held.safety_change < 0.5 * free.safety_change
    soft = small_plan(
        learning_rate=1e-2, strategy=SoftParameterConstraint(strength=1e4, fisher=True)
    )
    stiff = CoarseUnroll(safety_rows=36).predict(world, soft)
    assert stiff.details["displacement"] < free.details["displacement"]


@pytest.mark.parametrize("steps", [0, 13])
def test_steps_out_of_range_are_refused(steps, world_of, small_plan):
    with pytest.raises(ValueError, match="steps"):
        CoarseUnroll(steps=steps).predict(world_of(), small_plan())
