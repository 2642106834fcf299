"""T16 on a model: first order of a real descent, unbiased curvature, the trainer's norm."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.forecast.gradient_rows import gradient_rows, weight_metric
from llm_validation.forecast.linearised import Linearised
from llm_validation.forecast.optimiser import train
from llm_validation.forecast.world import World, prepared
from llm_validation.measure.coordinates import all_weights
from llm_validation.measure.curvature import CurvatureProduct
from llm_validation.measure.gradients import loss_and_gradient
from llm_validation.measure.losses import measure_losses
from llm_validation.models.adapters import lora_factors
from llm_validation.training.displacement import displacement_of
from llm_validation.training.plan import FullWeights, SoftParameterConstraint
from llm_validation.training.streams import PROXY, TASK, Stream, Streams
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint


def thrice(dataset: Dataset, rows: int) -> Dataset:
    """Every row three times in turn: each fold of T16 then holds all of them."""
    return Dataset.of([e for e in dataset.examples[:rows] for _ in range(3)], name=dataset.name)


# A step of all weights moves the losses further than one of an adapter.
RATES = {"full": (1e-4, 1e-5), "lora": (4e-4, 1e-4)}


@pytest.mark.parametrize("method", RATES)
@pytest.mark.parametrize("lam", [0.0, 0.7])
def test_small_steps_are_forecast_to_first_order(method, lam, theta, datasets, small_plan):
    theta.model.double()
    rows, steps = 6, 4
    strategy = LossConstraint(lam=lam) if lam else None
    sets = {name: thrice(datasets[name], rows) for name in ("safety", "task", "other")}
    world = World(theta, sets["safety"], sets["task"], sets["other"] if lam else None)
    errors = []
    for rate in RATES[method]:
        plan = small_plan(
            strategy=strategy,
            steps=steps,
            optimizer="sgd",
            clip=None,
            learning_rate=rate,
            batch_size=3 * rows,
            **({"method": FullWeights()} if method == "full" else {}),
        )
        said = Linearised(rows=3 * rows).predict(world, plan)
        streams = Streams(
            Stream(TASK, tuple(world.encoded("task")), 3 * rows, 0),
            Stream(PROXY, tuple(world.encoded("proxy")), 3 * rows, 0) if lam else None,
        )
        with prepared(theta, plan) as (model, _):
            pad = world.pad_id
            before = {r: measure_losses(model, world.encoded(r), pad_id=pad) for r in SIDES}
            path = train(model, plan, streams, plan.learning_rates(), pad_id=pad)
            after = {r: measure_losses(model, world.encoded(r), pad_id=pad) for r in SIDES}
        real = {r: after[r].per_token - before[r].per_token for r in SIDES}
        assert abs(real["safety"]) > 1e-9
        assert said.details["displacement"] == pytest.approx(path.displacements[-1], rel=0.05)
        errors.append([abs(getattr(said, f"{r}_change") - real[r]) / abs(real[r]) for r in SIDES])
    # The relative error is of the order of the step: several times smaller steps, as much smaller.
    # (Not for much smaller ones: the model's norms compute in float32, and how well is the CPU's.)
    assert max(errors[1]) < 0.05
    assert max(errors[1]) < 0.5 * max(errors[0])


SIDES = ("safety", "task")


def test_rows_are_the_gradient_and_an_unbiased_curvature(theta, datasets, small_plan):
    task = Dataset.of(datasets["task"].examples[:4] * 40, name="repeated")
    world = World(theta, datasets["safety"], task)
    plan = small_plan(method=FullWeights())
    rows = gradient_rows(world, plan, "task", 160)
    encoded = world.encoded("task")
    coordinates = all_weights(theta.model)
    exact = loss_and_gradient(theta.model, coordinates, encoded, pad_id=world.pad_id)
    np.testing.assert_allclose(rows.mean, exact.gradient, atol=1e-6)
    np.testing.assert_allclose(rows.contributions.mean(0), rows.mean, atol=1e-6)
    vector = exact.gradient / exact.norm
    product = CurvatureProduct(
        theta.model, coordinates, encoded[:4], kind="gauss_newton", pad_id=world.pad_id
    )
    curvature = float(vector @ product(vector))
    samples = (rows.drawn @ vector).double() ** 2 * len(encoded) / rows.token_count.sum()
    error = float(samples.std()) / len(samples) ** 0.5
    assert error < 0.2 * curvature
    assert abs(float(samples.mean()) - curvature) < 4 * error


def test_the_radius_is_measured_as_the_trainer_does(world_of, theta, small_plan):
    plan, generator = small_plan(), torch.Generator().manual_seed(0)
    metric = weight_metric(world_of(), plan)
    with prepared(theta, plan) as (model, _):
        moved = displacement_of(model)
        factors = lora_factors(model)
        for f in factors:
            f.b.data = torch.randn(f.b.shape, generator=generator)
        flat = torch.cat([f.b.detach().reshape(-1) for f in factors])[None]
        assert float(metric.gram(flat)) ** 0.5 == pytest.approx(moved.norm(), rel=1e-5)


def test_constraints_hold_back_what_they_should(world_of, small_plan):
    settings = {"learning_rate": 2e-3, "steps": 20}
    linearised = Linearised(rows=24)
    world = world_of("safety")
    free = linearised.predict(world_of(), small_plan(**settings))
    near, far = (
        linearised.predict(
            world_of(), small_plan(strategy=ParameterConstraint(radius=r), **settings)
        )
        for r in (0.02, 1e6)
    )
    assert free.task_change < near.task_change < 0
    assert far.task_change == pytest.approx(free.task_change, abs=0.1 * abs(free.task_change))
    changes = [
        linearised.predict(world, small_plan(strategy=LossConstraint(lam=lam), **settings))
        for lam in (0.1, 1.0, 10.0)
    ]
    assert np.all(np.diff([c.safety_change for c in changes]) < 0)
    assert np.all(np.diff([c.task_change for c in changes]) > 0)
    hybrid = linearised.predict(
        world, small_plan(strategy=Hybrid(lam=1.0, radius=0.02), **settings)
    )
    assert abs(hybrid.safety_change) < abs(changes[1].safety_change)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_model_is_left_bit_for_bit(method, world_of, small_plan, theta, imprint):
    plan = small_plan(
        strategy=Hybrid(lam=0.5, radius=0.1),
        **({} if method == "lora" else {"method": FullWeights()}),
    )
    before = imprint(theta)
    Linearised(rows=3).predict(world_of("other"), plan)
    assert imprint(theta) == before


@pytest.mark.parametrize(
    ("settings", "rows", "message"),
    [
        ({"strategy": LossConstraint(epsilon=0.1)}, 6, "epsilon"),
        ({"strategy": SoftParameterConstraint(strength=1.0)}, 6, "soft"),
        ({}, 2, "needs 3"),
    ],
)
def test_what_it_cannot_forecast_it_refuses(settings, rows, message, world_of, small_plan):
    with pytest.raises(InputError, match=message):
        Linearised(rows=rows).predict(world_of("other"), small_plan(**settings))
