"""The norm, the projection and the penalties against dense arithmetic; T13 against real runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.data.encoding import encode
from llm_validation.models.adapters import attach_lora, lora_factors
from llm_validation.training.budget import optimiser_budget
from llm_validation.training.displacement import (
    FullDisplacement,
    LoraDisplacement,
    displacement_of,
)
from llm_validation.training.parameter_constraint import SoftPenalty, fisher_diagonal
from llm_validation.training.plan import FullWeights, Lora, TrainingPlan
from llm_validation.training.strategies import SoftParameterConstraint
from theory.local import radius_from_budget
from theory.strategy import Hybrid, ParameterConstraint

# Modules of two shapes, so that the Gram matrices come in two groups.
TARGETS = ("q_proj", "v_proj", "down_proj")
LORA = Lora(rank=3, alpha=6, targets=TARGETS)
FREE = TrainingPlan(method=LORA, steps=6, learning_rate=5e-3, batch_size=4, checkpoint_every=0)


@pytest.fixture
def adapted(tiny_model):
    model = attach_lora(tiny_model.model, rank=3, alpha=6, targets=TARGETS, seed=0)
    displacement = displacement_of(model)
    assert isinstance(displacement, LoraDisplacement)
    return model, displacement


def randomise(parameters, seed=0, scale=0.1):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in parameters:
            p.add_(scale * torch.randn(p.shape, generator=generator))


def dense_change(model) -> torch.Tensor:
    """``scaling B A`` of every module as one vector, in float64."""
    return torch.cat(
        [(f.scaling * f.b.detach().double() @ f.a.detach().double()).reshape(-1)
         for f in lora_factors(model)]
    )  # fmt: skip


def test_the_lora_norm_is_that_of_the_dense_change(adapted):
    model, displacement = adapted
    assert displacement.norm() == 0.0  # B starts at zero
    randomise([p for p in model.parameters() if p.requires_grad])
    assert displacement.norm() == pytest.approx(float(dense_change(model).norm()), rel=1e-12)
    a = torch.cat([f.a.detach().reshape(-1) for f in lora_factors(model)]).double()
    b = torch.cat([f.b.detach().reshape(-1) for f in lora_factors(model)]).double()
    assert displacement.factor_norms() == pytest.approx((float(a.norm()), float(b.norm())))


def test_the_lora_projection_is_the_nearest_point_of_the_ball(adapted):
    model, displacement = adapted
    randomise([p for p in model.parameters() if p.requires_grad])
    before = dense_change(model)
    radius = 0.3 * float(before.norm())
    claimed = displacement.shrink(displacement.norm(), radius)
    after = dense_change(model)
    assert float(after.norm()) <= radius
    assert float(after.norm()) == pytest.approx(radius, rel=1e-5)
    assert claimed == pytest.approx(float(after.norm()), rel=1e-6)
    torch.testing.assert_close(after, before * (radius / before.norm()), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("radius", [0.02, 1.0])
def test_the_full_projection_is_the_nearest_point_of_the_ball(tiny_model, radius):
    model = tiny_model.model
    displacement = displacement_of(model)
    assert isinstance(displacement, FullDisplacement)

    def flat() -> torch.Tensor:
        return torch.cat([p.detach().reshape(-1) for p in model.parameters()]).double()

    start = flat()
    assert displacement.start_norm == pytest.approx(float(start.norm()), rel=1e-12)
    randomise(model.parameters(), scale=0.05)
    before = flat() - start
    assert displacement.norm() == pytest.approx(float(before.norm()), rel=1e-7)
    displacement.shrink(displacement.norm(), radius)
    after = flat() - start
    assert float(after.norm()) <= radius
    assert float(after.norm()) == pytest.approx(radius, rel=1e-3)
    cosine = float(after @ before / after.norm() / before.norm())
    assert cosine == pytest.approx(1.0, abs=1e-6)


def test_the_start_is_not_what_a_checkpoint_restores(tiny_model):
    model = tiny_model.model
    displacement = displacement_of(model)
    randomise(model.parameters(), scale=0.01)
    moved = displacement.norm()
    displacement.bind(model)  # what a resumed run does
    assert displacement.norm() == moved > 0


@pytest.mark.parametrize("radius", [0.05, 0.3])
@pytest.mark.parametrize("method", [LORA, FullWeights()])
def test_every_step_ends_inside_the_ball(bench, method, radius):
    plan = replace(FREE, method=method, strategy=ParameterConstraint(radius))
    free = bench.run(replace(FREE, method=method))
    run = bench.run(plan)
    assert free.result["displacement"]["end"] > radius
    assert (run.steps["displacement"] <= radius).all()
    assert run.result["displacement"]["end"] <= radius
    assert run.result["displacement"]["end"] == pytest.approx(radius, rel=1e-3)
    reached = run.steps["displacement_before_projection"]
    assert (reached >= run.steps["displacement"] * (1 - 1e-6)).all()
    assert reached.max() > radius
    # The first gradient is that of the free run; the later ones are not.
    assert run.steps["task_loss"][0] == free.steps["task_loss"][0]
    assert run.steps["task_loss"][-1] > free.steps["task_loss"][-1]


def test_a_wide_ball_changes_nothing(bench):
    free, wide = bench.run(FREE), bench.run(replace(FREE, strategy=ParameterConstraint(1e3)))
    np.testing.assert_array_equal(wide.steps["task_loss"], free.steps["task_loss"])


def test_a_hybrid_is_both(bench):
    run = bench.run(replace(FREE, strategy=Hybrid(lam=0.5, radius=0.05)))
    assert (run.steps["lam"] == 0.5).all()
    assert run.result["displacement"]["end"] <= 0.05


def penalty_gradient(model, value) -> list[torch.Tensor]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.autograd.grad(value, parameters)


def gradients_of(penalty, model) -> tuple[float, list[torch.Tensor]]:
    """The value, and what the penalty adds to gradients that are all one."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    for p in parameters:
        p.grad = torch.ones_like(p)
    value = float(penalty.add_gradient())
    return value, [p.grad - 1.0 for p in parameters]


def test_the_soft_penalty_on_a_lora_is_that_of_the_dense_change(adapted):
    model, displacement = adapted
    randomise([p for p in model.parameters() if p.requires_grad])
    value, added = gradients_of(SoftPenalty(displacement, 0.6), model)
    dense = 0.3 * sum((f.scaling * f.b @ f.a).square().sum() for f in lora_factors(model))
    assert value == pytest.approx(dense.item(), rel=1e-5)
    for found, expected in zip(added, penalty_gradient(model, dense), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_soft_penalty_on_full_weights(tiny_model, weighted):
    model = tiny_model.model
    displacement = displacement_of(model)
    named = list(model.named_parameters())
    start = [p.detach().clone() for _, p in named]
    weights = {name: torch.rand_like(p) for name, p in named} if weighted else None
    randomise(model.parameters())
    value, added = gradients_of(SoftPenalty(displacement, 0.6, weights), model)
    dense = 0.3 * sum(
        ((weights[name] if weighted else 1.0) * (p - s).square()).sum()
        for (name, p), s in zip(named, start, strict=True)
    )
    assert value == pytest.approx(dense.item(), rel=1e-5)
    for found, expected in zip(added, penalty_gradient(model, dense), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fisher", [False, True])
@pytest.mark.parametrize("method", [LORA, FullWeights()])
def test_a_stronger_penalty_keeps_the_weights_closer(bench, method, fisher):
    # SGD, because Adam's step does not depend on a gradient's size.
    plan = replace(FREE, method=method, optimizer="sgd", learning_rate=0.3, steps=12)
    ends = [
        bench.run(
            replace(plan, strategy=SoftParameterConstraint(strength, fisher))
        ).result["displacement"]["end"]
        for strength in (1e-6, 1.0)
    ]  # fmt: skip
    free = bench.run(plan).result["displacement"]["end"]
    assert ends[0] == pytest.approx(free, rel=1e-3)
    assert ends[1] < 0.97 * free


def test_the_fisher_information_is_the_sum_of_squared_row_gradients(bench):
    loaded = bench.load()
    model, pad = loaded.model, loaded.tokenizer.pad_token_id
    rows = encode(bench.safety, loaded.tokenizer, max_length=512)
    found = fisher_diagonal(model, rows, pad_id=pad)
    name, parameter = "model.norm.weight", model.model.norm.weight
    expected = torch.zeros_like(parameter)
    for row in rows:
        ids = torch.from_numpy(row.input_ids.astype(np.int64))[None]
        logs = model(input_ids=ids).logits[0].log_softmax(-1)
        places = np.flatnonzero(row.supervised)
        loss = -sum(logs[i - 1, ids[0, i]] for i in places)
        expected += torch.autograd.grad(loss, parameter)[0].square()
    expected /= sum(int(row.supervised.sum()) for row in rows)
    torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-9)
    assert all(bool((values >= 0).all()) for values in found.values())


@pytest.mark.parametrize("method", [LORA, FullWeights()])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adamw"},
        {"optimizer": "adamw", "betas": (0.5, 0.9), "schedule": "cosine", "clip": None},
        {"optimizer": "adamw", "weight_decay": 0.5, "learning_rate": 0.05},
        {"optimizer": "sgd", "learning_rate": 0.1, "clip": 0.5},
        {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.8, "clip": 0.5, "warmup": 2},
    ],
)
def test_t13_bounds_the_measured_displacement(bench, settings, method):
    plan = replace(FREE, method=method, **settings)
    run = bench.run(plan)
    budget = run.result["optimiser_budget"]
    moved = run.result["displacement"]
    assert 0 < moved["coordinates"] <= budget["coordinates_radius"]
    assert 0 < moved["end"] <= budget["weights_radius"]
    if plan.optimizer == "sgd" and plan.momentum == 0:
        # Every gradient was longer than the clip, so the bound is the path's length.
        assert run.steps["grad_norm"].min() > 0.5
        assert budget["coordinates_radius"] == pytest.approx(6 * 0.1 * 0.5)
        assert moved["coordinates"] > 0.3 * budget["coordinates_radius"]


def test_a_budget_is_of_the_steps_done_and_the_numbers_trained(bench):
    plan = replace(FREE, method=FullWeights())
    model = bench.load().model
    budget = optimiser_budget(model, plan)
    (group,) = budget.groups.values()
    assert group.dimension == sum(p.numel() for p in model.parameters())
    assert budget.weights_radius == budget.coordinates_radius
    assert budget.coordinates_radius == float(radius_from_budget(group).value)
    half = optimiser_budget(model, plan, rates=plan.learning_rates()[:3])
    assert half.coordinates_radius < budget.coordinates_radius
    unclipped = optimiser_budget(model, replace(plan, optimizer="sgd", clip=None))
    assert unclipped.weights_radius == np.inf


def test_fisher_needs_a_proxy(bench):
    plan = replace(FREE, strategy=SoftParameterConstraint(1.0, fisher=True))
    with pytest.raises(InputError, match="Fisher information needs proxy safety data"):
        bench.run(plan, proxy=None)
