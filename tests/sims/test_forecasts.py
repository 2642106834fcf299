"""Coarse unrolls of toy fine-tunes: closed forms, the forecaster's own rates, the same by seed."""

from __future__ import annotations

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sims.precision  # noqa: F401
from finebound.base.records import manifest
from finebound.results.figure import FigureRecord
from llm_validation.forecast.unroll import CoarseUnroll
from llm_validation.training.plan import TrainingPlan
from sims.forecasts.designs import FINE_TUNE, Design, Plan, cut
from sims.forecasts.record import forecast_record
from sims.forecasts.sweep import Sizes
from sims.forecasts.unroll import Optimiser, unrolled
from sims.forecasts.world import World
from sims.models.transformer import Grammar, Transformer
from sims.pair import Sizes as PairSizes

CURVATURES, CENTRE, START = np.array([0.3, 1.0, 2.0]), np.array([1.0, -2.0, 0.5]), np.zeros(3)
SGD = Plan(steps=24, batch=4, optimiser="sgd", schedule="linear", rate=0.02)
STRAIGHT = Design(raised=False)


def bowl(theta: jax.Array, _: jax.Array) -> jax.Array:
    """The exact gradient of a quadratic: every batch is the full one."""
    return CURVATURES * (theta - CENTRE)


def end(optimiser: Optimiser, steps: int) -> np.ndarray:
    return np.asarray(unrolled(bowl, jnp.asarray(START), optimiser, steps, clip=np.inf))


def closed_form(rates: np.ndarray) -> np.ndarray:
    """Where gradient descent on the bowl ends."""
    shrunk = np.prod(1.0 - rates[:, None] * CURVATURES, axis=0)
    return CENTRE + shrunk * (START - CENTRE)


def errors_by_rate(plan: Plan, wrong: float = 1.0) -> np.ndarray:
    """Errors of four coarse steps at the plan's rate over those at half of it ``[3]``."""
    found = []
    for rate in (plan.rate, 0.5 * plan.rate):
        slower = replace(plan, rate=rate)
        coarse = STRAIGHT.optimiser(slower, 4, plan.batch)
        coarse = coarse._replace(rates=wrong * coarse.rates)
        found.append(end(coarse, 4) - closed_form(slower.rates()))
    return found[0] / found[1]


@pytest.mark.parametrize("design", [FINE_TUNE, STRAIGHT, Design()])
def test_as_many_steps_as_the_plan_are_the_fine_tune(design):
    plan = replace(SGD, rate=0.3)
    reached = end(design.optimiser(plan, plan.steps, plan.batch), plan.steps)
    np.testing.assert_allclose(reached, closed_form(plan.rates()), rtol=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_straight_rule_agrees_to_second_order_in_the_rate(schedule):
    plan = replace(SGD, schedule=schedule, rate=1e-4)
    np.testing.assert_allclose(errors_by_rate(plan), 4.0, rtol=0.01)


@pytest.mark.parametrize("wrong", [0.9, 1.1, 24 / 4])
def test_a_wrong_rate_rule_is_wrong_to_first_order(wrong):
    plan = replace(SGD, rate=1e-4)
    np.testing.assert_allclose(errors_by_rate(plan, wrong), 2.0, rtol=0.03)


def test_a_scaled_momentum_moves_as_far_as_the_plans_for_a_steady_gradient():
    """The plan's own momentum, kept in few large steps, never gathers its speed."""
    plan = Plan(steps=200, batch=4, optimiser="momentum", schedule="constant", rate=1e-5)
    true = end(FINE_TUNE.optimiser(plan, 200, 4), 200)
    scaled, kept = (
        end(Design(scaled=how).optimiser(plan, 5, 4), 5) / true for how in (True, False)
    )
    np.testing.assert_allclose(scaled, 1.0, atol=0.1)
    assert (kept < 0.4).all()


@pytest.mark.parametrize(
    ("optimiser", "known"),
    [
        (Optimiser(np.full(9, 0.05), True, 0.9, 0.999), optax.adam(0.05)),
        (Optimiser(np.full(9, 0.05), False, 0.9, 0.999), optax.sgd(0.05, momentum=0.9)),
        (Optimiser(np.full(9, 0.05), False, 0.0, 0.999), optax.sgd(0.05)),
    ],
)
def test_the_optimisers_are_the_known_ones(optimiser, known):
    theta = jnp.asarray(START)
    state = known.init(theta)
    for _ in range(9):
        update, state = known.update(bowl(theta, theta), state, theta)
        theta = optax.apply_updates(theta, update)
    np.testing.assert_allclose(end(optimiser, 9), theta, rtol=1e-6)


def test_a_gradient_is_clipped():
    optimiser = Optimiser(np.ones(1), False, 0.0, 0.999)
    moved = np.asarray(unrolled(bowl, jnp.asarray(START), optimiser, 1, clip=0.5)) - START
    np.testing.assert_allclose(np.linalg.norm(moved), 0.5)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize(("steps", "rows"), [(2, 1), (5, 2), (50, 1), (200, 8)])
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_the_rates_are_the_forecasters(schedule, steps, rows, optimiser):
    real = TrainingPlan(
        steps=200, batch_size=8, learning_rate=1e-3, schedule=schedule, optimizer=optimiser
    )
    unroll = CoarseUnroll(steps=steps, rows_per_step=rows)
    plan = Plan(200, 8, optimiser, schedule, 1e-3)
    ours = Design().optimiser(plan, steps, rows)
    np.testing.assert_allclose(ours.rates[:steps], unroll.rates(real), rtol=1e-9)
    assert not ours.rates[steps:].any()
    if optimiser == "adamw":
        assert (ours.first, ours.second) == pytest.approx(unroll._narrowed(real).betas)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.6, 1.0])
def test_a_cut_path_has_its_share_of_the_summed_rate(share):
    whole = STRAIGHT.optimiser(replace(SGD, schedule="cosine"), 7, 4)
    part = cut(whole, share)
    assert part.rates.sum() == pytest.approx(share * whole.rates.sum())
    assert ((part.rates == 0) | (part.rates == whole.rates)).sum() >= len(part.rates) - 1


TINY = World(Transformer(Grammar(PairSizes(1, 3), words=1, lexicon=1), width=4, heads=1, layers=1))
SIZES = Sizes(worlds=2, plans=4, shapes=((4, 8),), steps=(2,), shares=(), rows=(1,))


@pytest.fixture(scope="module", autouse=True)
def _narrow():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sims.forecasts.lab.WIDTH", 4)
        yield


@pytest.fixture(scope="module")
def tiny_record():
    return forecast_record(5, SIZES, world=TINY)


def test_the_same_seed_gives_the_same_record_and_it_round_trips(tiny_record, tmp_path):
    assert forecast_record(5, SIZES, world=TINY) == tiny_record
    other = forecast_record(6, SIZES, world=TINY)
    assert other["designs"] != tiny_record["designs"]
    made = {"figure": "forecast_cost", "manifest": manifest(given={}, inputs={}, seed=5)}
    record = FigureRecord.of({**made, "data": json.loads(json.dumps(tiny_record))})
    file = record.save(tmp_path / "record.json")
    assert FigureRecord.load(file).data == json.loads(json.dumps(tiny_record))
    assert FigureRecord.load(file).save(tmp_path / "again.json").read_bytes() == file.read_bytes()


def test_the_record_counts_what_was_run(tiny_record):
    # Of one shape, of three cuts in either way, three mixes, the plan.
    assert tiny_record["true_fine_tunes"] == 4 * 3 * (1 + 3 * 2 + 3 + 1)
    # Two plans of AdamW's, one of SGD's, one with momentum; no rate is raised with all rows.
    one_row, all_rows = 2 * 6 + 1 + 2, 2 * 2 + 1 + 2
    assert tiny_record["coarse_unrolls"] == one_row + all_rows
    noise = {cell["optimiser"]: cell["n"] for cell in tiny_record["noise"]}
    assert noise == {"adamw": 2, "sgd": 1, "momentum": 1}
