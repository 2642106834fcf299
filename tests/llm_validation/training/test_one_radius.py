"""A radius is one quantity: what training limits is what the bounds are measured in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from finebound.results.estimate import LoraShapes
from llm_validation.data.encoding import encode
from llm_validation.estimation.bounds import model_bounds, planned_radius
from llm_validation.estimation.model_side import measure_model
from llm_validation.measure.coordinates import adapted_weights, all_weights, default_targets
from llm_validation.measure.losses import measure_losses
from llm_validation.measure.planned_lora import lora_radius, planned_lora, steepest_step
from llm_validation.models.adapters import attach_lora, load_adapter
from llm_validation.training.methods import FullWeights, Lora
from llm_validation.training.plan import TrainingPlan
from tests.builders.architectures import build
from theory.bound import Direction, Quantity
from theory.strategy import ParameterConstraint

PLANS = {
    where: TrainingPlan(
        method=method,
        steps=8,
        learning_rate=rate,
        batch_size=4,
        weight_decay=0.0,
        schedule="constant",
        checkpoint_every=0,
        evaluate_at=(),
    )
    for where, method, rate in (("adapter", Lora(), 5e-3), ("all", FullWeights(), 1e-3))
}


@pytest.fixture(scope="module", params=PLANS)
def tuned(request, shared_bench):
    """Where, the run, the model side of an estimate on its rows, both models, the rows."""
    where = request.param
    run = shared_bench.run(PLANS[where])
    rows = {"safety": shared_bench.safety, "task": shared_bench.task}
    side = measure_model(shared_bench.load(), rows, where=where)
    before, after = shared_bench.load(), shared_bench.load()
    if where == "adapter":
        after = replace(after, model=load_adapter(after.model, run.weights).merge_and_unload())
    else:
        whole = type(after.model).from_pretrained(run.weights, dtype=torch.float32)
        after = replace(after, model=whole)
    return where, run, side, before, after, rows


def change(where, before, after) -> float:
    """Euclidean norm of the change in the coordinates that the estimate measured."""
    pick = adapted_weights if where == "adapter" else all_weights
    pairs = zip(pick(before.model).parameters, pick(after.model).parameters, strict=True)
    return sum(float((b - a).double().square().sum()) for a, b in pairs) ** 0.5


def test_trainings_displacement_is_the_estimates_distance(tuned):
    where, run, _, before, after, _ = tuned
    moved = run.result["displacement"]["end"]
    assert moved > 0.05
    assert change(where, before, after) == pytest.approx(moved, rel=1e-4)


def test_the_planned_budget_is_above_it(tuned):
    where, run, side, *_ = tuned
    plan = PLANS[where]
    budget = planned_radius(side, learning_rate=plan.learning_rate, steps=plan.steps).value
    assert run.result["displacement"]["end"] < budget
    # Modules one by one are no looser than training's bound of all together.
    assert budget <= run.result["optimiser_budget"]["weights_radius"] * (1 + 1e-6)


def test_bounds_at_that_distance_hold(tuned):
    _, run, side, before, after, rows = tuned
    radius = run.result["displacement"]["end"]
    pad_id = before.tokenizer.pad_token_id

    def loss(loaded, dataset):
        encoded = encode(dataset, loaded.tokenizer, max_length=loaded.context_length)
        return measure_losses(loaded.model, encoded, pad_id=pad_id).per_token

    rise = loss(after, rows["safety"]) - loss(before, rows["safety"])
    task = loss(after, rows["task"])
    found = model_bounds(side, ParameterConstraint(radius), has_proxy=False, reach=radius)
    uppers = [b for b in found if b.quantity is Quantity.SAFETY_LOSS_INCREASE]
    lowers = [b for b in found if b.quantity is Quantity.CAPABILITY_GAP
              and b.direction is Direction.LOWER]  # fmt: skip
    assert {b.statement for b in uppers} >= {"T6"}
    assert {b.statement for b in lowers} >= {"T7"}
    for b in uppers:
        assert not b.value < rise, (b.statement, b.form)
    for b in lowers:
        assert not b.value > task, (b.statement, b.form)


@pytest.mark.parametrize("steps", [1, 3, 30])
def test_no_gradients_take_a_lora_out_of_its_budget(tiny_model, steps):
    """The gradients that let every number of A and B go as far as Adam can."""
    plan = planned_lora(tiny_model.model, adapted_weights(tiny_model.model), rank=2, alpha=8)
    model = attach_lora(tiny_model.model, rank=2, alpha=8, targets=("q_proj", "v_proj"), seed=3)
    trained = [p for p in model.parameters() if p.requires_grad]
    signs = [torch.where(p.detach() < 0, -1.0, 1.0).double() for p in trained]
    optimiser = torch.optim.Adam(trained, lr=0.05, eps=0.0)
    for step in range(steps):
        for p, sign in zip(trained, signs, strict=True):
            p.grad = (-sign * (0.999 / 0.9) ** step).to(p.dtype)
        optimiser.step()
    layers = [m for m in model.modules() if hasattr(m, "get_delta_weight")]
    reached = sum(float(m.get_delta_weight("default").double().square().sum()) for m in layers)
    budget = lora_radius(plan, np.full(steps, 0.05)).value
    assert 0.1 * budget < reached**0.5 <= budget


def test_a_module_of_one_number_shows_the_formula():
    """r 1, 1 x 1: A starts at 1 at most, both go 0.1, s 3: 3 (1 + 0.1) 0.1."""
    found = lora_radius(LoraShapes(rank=1, alpha=3.0, shapes=[(1, 1)]), [0.1])
    assert found.value == pytest.approx(3 * 1.1 * 0.1, rel=1e-12)
    assert found.value >= 3 * 1.1 * 0.1
    two = lora_radius(LoraShapes(rank=1, alpha=3.0, shapes=[(1, 1), (1, 1)]), [0.1])
    assert two.value == pytest.approx(found.value * 2**0.5, rel=1e-12)


def test_the_steepest_step_of_a_rank_is_that_of_singular_values(tiny_model):
    coordinates = adapted_weights(tiny_model.model, ("q_proj", "up_proj"))
    generator = torch.Generator().manual_seed(0)
    gradient = coordinates.random_direction(generator)
    for rank in (1, 4, 64):
        values = [torch.linalg.svdvals(p)[:rank] for p in coordinates.split(gradient)]
        exact = sum(float(v.double().square().sum()) for v in values) ** 0.5
        found = steepest_step(coordinates, gradient, rank)
        assert 0.93 * exact < found <= exact * (1 + 1e-6)
    assert found == pytest.approx(1.0, rel=1e-5)  # every rank is below 64


def test_transposed_layers_and_models_without_the_usual_names():
    model = build("gpt2")
    targets = default_targets(model)
    coordinates = adapted_weights(model, targets)
    assert targets == ("all-linear",)
    assert coordinates.name == "weights of all linear modules"
    plan = planned_lora(model, coordinates)
    shapes = {tuple(m.shape) for m in coordinates.parameters}
    assert set(plan.shapes) == {shape[::-1] for shape in shapes}
    assert (96, 32) in plan.shapes
    assert not any("lm_head" in name for name in coordinates.names)
