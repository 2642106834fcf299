"""A plan says everything that decides the weights, and refuses what would be ignored."""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from transformers import SchedulerType
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION

from finebound.base.errors import InputError
from llm_validation.training.plan import (
    SCHEDULES,
    Dpo,
    EarlyStopping,
    FullWeights,
    Lora,
    TrainingPlan,
    plan_from_dict,
)
from llm_validation.training.record import sha256_of
from llm_validation.training.strategies import (
    BiState,
    SoftParameterConstraint,
    SubspacePenalty,
    TokenConstraint,
    make_strategy,
)
from llm_validation.training.trainer import training_arguments
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

PLANS = [
    TrainingPlan(),
    TrainingPlan(strategy=LossConstraint(lam=0.5), proxy_batch_size=3, method=FullWeights()),
    TrainingPlan(strategy=LossConstraint(epsilon=0.0), optimizer="sgd", momentum=0.5, clip=None),
    TrainingPlan(strategy=Hybrid(lam=2.0, radius=0.1), method=Lora(4, 8, ("k_proj",))),
    TrainingPlan(strategy=SoftParameterConstraint(3.0, fisher=True), weight_decay=0.1),
    TrainingPlan(
        strategy=ParameterConstraint(0.3),
        early_stopping=EarlyStopping("safety", 5, max_rise=0.1),
        evaluate_at=(0.5,),
    ),
    TrainingPlan(strategy=TokenConstraint(0.2)),
    TrainingPlan(strategy=BiState(2, 8, 0.5), proxy_batch_size=3, method=FullWeights()),
    TrainingPlan(strategy=SubspacePenalty(3.0, "exact")),
    TrainingPlan(truncate=True),
    TrainingPlan(schedule="cosine_with_min_lr", schedule_options={"min_lr_rate": 0.1}),
]


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_survives_json(plan):
    again = plan_from_dict(plan.as_dict())
    assert again.as_dict() == plan.as_dict()
    assert type(again.strategy) is type(plan.strategy)
    assert again.method == plan.method


# What finished runs are found by: of plans that were there before the later strategies.
SHA256 = {
    "0fcbf364a34e276f": TrainingPlan(),
    "36557f7dadf220b2": PLANS[1],
    "ff976216a615e5b4": PLANS[2],
    "f2339a37e6041dc0": PLANS[3],
    "ee4888d3a7c850c2": PLANS[4],
    "aca3fc34427e8fa9": TrainingPlan(strategy=ParameterConstraint(0.3), objective=Dpo(0.2)),
}


@pytest.mark.parametrize("digest", SHA256)
def test_a_plan_keeps_its_identity(digest):
    assert sha256_of({"plan": SHA256[digest].as_dict()}).startswith(digest)


def test_what_was_given_is_told_from_the_defaults():
    assert TrainingPlan().given() == {}
    assert TrainingPlan(steps=7, seed=3).given() == {"steps": 7, "seed": 3}


@pytest.mark.parametrize(
    ("kind", "options", "names"),
    [
        ("parameter", {"radius": 1.0, "lam": 0.5}, "lam is given.*'hybrid'"),
        ("parameter", {"radius": 1.0, "epsilon": 0.5}, "epsilon is given.*'loss'"),
        ("loss", {"lam": 1.0, "radius": 0.5}, "radius is given"),
        ("none", {"lam": 1.0}, "lam is given with the strategy 'none'"),
        ("soft", {"strength": 1.0, "lam": 1.0}, "lam is given"),
        ("loss", {}, "exactly one of lam and epsilon"),
        ("loss", {"lam": 1.0, "epsilon": 1.0}, "exactly one of lam and epsilon"),
        ("loss", {"lam": -1.0}, "lam is -1"),
        ("hybrid", {"lam": 1.0}, "radius"),
        ("soft", {"strength": 0.0}, "strength is 0"),
        ("penalty", {}, "there is no strategy 'penalty'"),
        ("constrained-sft", {"beta": 0.0}, "beta is 0"),
        ("constrained-sft", {"strength": 1.0}, "strength is given.*'soft' or 'asft'"),
        ("lisa", {"alignment_steps": 2}, "task_steps"),
        ("lisa", {"alignment_steps": 0, "task_steps": 3}, "alignment_steps is 0"),
        ("lisa", {"alignment_steps": 1, "task_steps": 3, "rho": -1.0}, "rho is -1"),
        ("asft", {"strength": float("inf")}, "strength is inf"),
        ("asft", {"strength": 1.0, "projector": "dense"}, "projector is 'dense'"),
    ],
)
def test_a_strategy_takes_its_own_options_only(kind, options, names):
    with pytest.raises(InputError, match=names):
        make_strategy(kind, **options)


def test_the_strategies_by_name():
    assert make_strategy() is None
    assert make_strategy("loss", lam=2).lam == 2.0
    assert make_strategy("loss", epsilon=0.1).epsilon == 0.1
    assert make_strategy("parameter", radius=0.5).radius == 0.5
    assert make_strategy("soft", strength=2.0, fisher=True) == SoftParameterConstraint(2.0, True)
    assert make_strategy("constrained-sft") == TokenConstraint(0.1, 5.0, 20.0)
    assert make_strategy("lisa", alignment_steps=1, task_steps=9) == BiState(1, 9, 1.0)
    assert make_strategy("asft", strength=2.0) == SubspacePenalty(2.0, "fast")


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"clip": 0.0}, "clip is 0"),
        ({"warmup": 100}, "warmup takes 100 of 100"),
        ({"schedule": "square"}, "schedule is 'square'"),
        ({"schedule_options": {"power": 2}}, "schedule constant.*It takes none"),
        ({"schedule": "polynomial", "schedule_options": {"min_lr": 0}}, "takes lr_end, power"),
        ({"precision": "fp16"}, "precision is 'fp16'"),
        ({"betas": (0.9, 1.0)}, "betas are"),
        ({"momentum": 0.9}, "momentum is given with the optimizer adamw"),
        ({"optimizer": "sgd", "weight_decay": 0.1}, "weight decay with sgd"),
        ({"evaluate_at": (0.5, 1.5)}, "evaluate_at"),
        ({"gradient_accumulation": 9}, "cuts 8 rows into 9"),
        ({"proxy_batch_size": 4}, "no loss constraint"),
        ({"strategy": LossConstraint(lam=1.0), "dual_rate": 0.5}, "not moved by dual ascent"),
        ({"strategy": ParameterConstraint(np.array([0.1, 0.2]))}, "radius is a list"),
        ({"strategy": SubspacePenalty(1.0), "method": FullWeights()}, "the method is full"),
        ({"strategy": TokenConstraint(), "proxy_batch_size": 4}, "no loss constraint"),
    ],
)
def test_contradictions_are_refused(settings, names):
    with pytest.raises(InputError, match=names):
        TrainingPlan(**settings)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"epochs": 3}, "epochs"),
        ({"strategy": {"kind": "loss", "lambda": 1}}, "lambda"),
        ({"strategy": {"kind": "parameter", "radius": 1, "lam": 1}}, "lam is given"),
        ({"method": {"kind": "prefix"}}, "no method 'prefix'"),
        ({"method": {"kind": "lora", "r": 8}}, "'r'"),
        ({"method": {"kind": "lora", "rank": 0}}, "rank is 0"),
        ({"early_stopping": {"monitor": "safety", "every": 5}}, "exactly one of"),
    ],
)
def test_a_configuration_with_an_unknown_setting_is_refused(values, names):
    with pytest.raises(InputError, match=names):
        plan_from_dict(values)


def test_rates_follow_the_schedule():
    constant = TrainingPlan(steps=4, learning_rate=0.5).learning_rates()
    np.testing.assert_array_equal(constant, [0.5] * 4)
    linear = TrainingPlan(steps=6, learning_rate=1.0, schedule="linear", warmup=2)
    np.testing.assert_allclose(linear.learning_rates(), [0, 0.5, 1, 0.75, 0.5, 0.25])
    cosine = TrainingPlan(steps=5, learning_rate=1.0, schedule="cosine").learning_rates()
    np.testing.assert_allclose(cosine, 0.5 * (1 + np.cos(np.pi * np.arange(5) / 5)))


def test_both_ends_are_always_evaluated():
    assert TrainingPlan(steps=10, evaluate_at=(0.5,)).evaluation_steps == (0, 5, 10)
    assert TrainingPlan(steps=1).evaluation_steps == (0, 1)


def test_long_rows_are_left_out_or_cut():
    with pytest.raises(InputError, match="drop_long and truncate are both given"):
        TrainingPlan(drop_long=True, truncate=True)
    with pytest.raises(InputError, match="truncate is 'yes'"):
        TrainingPlan(truncate="yes")


OPTIONS = {
    "cosine_with_min_lr": {"min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr_rate": 0.1},
    "warmup_stable_decay": {"num_decay_steps": 3},
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_takes_the_options_that_transformers_has_for_it(schedule):
    plan = TrainingPlan(
        schedule=schedule, warmup=2, steps=9, schedule_options=OPTIONS.get(schedule, {})
    )
    assert plan.learning_rates().max() == pytest.approx(plan.learning_rate, rel=0.05)
    made = TYPE_TO_SCHEDULER_FUNCTION[SchedulerType(plan.schedule_name)]
    taken = set(signature(made).parameters)
    ours = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"}
    assert set(SCHEDULES[schedule]) == taken - ours


def test_the_least_rate_of_a_schedule_is_kept():
    plan = TrainingPlan(
        steps=400, schedule="cosine_with_min_lr", schedule_options={"min_lr_rate": 0.25}
    )
    assert plan.learning_rates()[-1] == pytest.approx(0.25 * plan.learning_rate, rel=1e-3)
    assert training_arguments(plan, Path("x")).lr_scheduler_kwargs == {"min_lr_rate": 0.25}


def test_a_schedule_without_what_it_needs_is_an_input_error():
    with pytest.raises(InputError, match=r"warmup_stable_decay cannot be made.*num_decay_steps"):
        TrainingPlan(schedule="warmup_stable_decay").learning_rates()
