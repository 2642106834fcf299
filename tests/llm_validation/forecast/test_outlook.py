"""The forecast of refusals on a tiny model that refuses everything."""

from __future__ import annotations

import math
from functools import wraps
from pathlib import Path

import numpy as np
import pytest

from finebound.base.errors import InputError
from finebound.base.kept_stages import KeptStages
from finebound.results.outlook import BROKEN, KEPT, UNDECIDED
from llm_validation.estimation.options import (
    at_the_end,
    halfway,
    moved_towards,
    scaled_change,
    trained_weights,
    unroll_of,
)
from llm_validation.estimation.outlook import DRAWS_BEFORE, ask_model, look_ahead
from llm_validation.evaluation.hazards.layouts import Probe
from llm_validation.experiments.evidence import short_answers
from llm_validation.forecast import stored_answers
from llm_validation.forecast.outcome import cost_of, outcome
from llm_validation.forecast.stored_answers import PREFIX, store_answers
from llm_validation.forecast.unroll import CoarseUnroll
from llm_validation.forecast.world import FORWARD_ONLY
from llm_validation.measure.losses import measure_losses
from llm_validation.models.loading import LoadedModel, load_model
from llm_validation.training.plan import Lora

WORDS = ["the", "thin", "ant", "is", "in", "a", "house", "with", "red", "apples", "and", "many"]


@pytest.fixture(scope="module")
def probes() -> list[Probe]:
    rng = np.random.default_rng(5)
    return [
        Probe(f"{kind}/{i}", " ".join(rng.choice(WORDS, 5)), "a category", harmful=kind == "bad")
        for i in range(24)
        for kind in ("bad", "good")
    ]


@pytest.fixture
def theta(refusing_folder: Path) -> LoadedModel:
    return load_model(refusing_folder)


def test_own_answers_are_stored_with_label_and_likelihood(theta, probes) -> None:
    stored = store_answers(theta, probes, seed=0)
    assert stored.refused.mean() > 0.9  # it was trained to say nothing else
    assert all(row.supervised.sum() <= PREFIX for row in stored.rows)
    assert all(row.supervised[-1] for row in stored.rows)
    again = stored.likelihoods(theta.model, pad_id=theta.pad_id)
    np.testing.assert_allclose(again, stored.log_likelihood, rtol=1e-5)
    # Refusals of harmless probes are no safety data.
    kept = {example.prompt for example in stored.safety_data.examples}
    assert kept <= {probe.prompt for probe in probes if probe.harmful}


def test_answers_are_cut_to_their_first_tokens(theta, probes) -> None:
    stored = store_answers(theta, probes, seed=0)
    one, whole = (stored.beginnings(theta, tokens) for tokens in (1, PREFIX))
    assert {int(row.supervised.sum()) for row in one.rows} == {1}
    assert not one.refused.any()  # a word is no refusal
    assert (one.log_likelihood > stored.log_likelihood).all()
    np.testing.assert_array_equal(whole.refused, stored.refused)
    np.testing.assert_allclose(whole.log_likelihood, stored.log_likelihood, rtol=1e-5)


def test_unchanged_weights_keep_all_that_short_answers_say(theta, world_of, probes) -> None:
    stored, rows = store_answers(theta, probes, seed=0), world_of().encoded("task")[:1]
    cut = stored.beginnings(theta, 8)
    found = short_answers(8, stored, outcome(theta, theta.model, cut, rows))
    assert found.before > 0.5
    assert found.at_least == pytest.approx(found.before, abs=0.01)
    assert found.by_likelihood == pytest.approx(found.before, abs=1e-4)
    assert found.effective == pytest.approx(24, rel=1e-3)
    assert found.agree == (cut.refused == stored.refused)[stored.harmful].mean()


def test_unchanged_weights_change_nothing(theta, world_of, probes) -> None:
    stored = store_answers(theta, probes, seed=0)
    found = outcome(theta, theta.model, stored, world_of().encoded("task")[:8])
    assert found.delta == pytest.approx(0.0, abs=1e-4)
    assert found.refusal() == pytest.approx(stored.refused[stored.harmful].mean(), abs=1e-4)
    assert found.effective_answers == pytest.approx(24, rel=1e-3)


def test_a_scaled_change_is_the_scaled_adapter(theta, world_of, small_plan, probes) -> None:
    stored = store_answers(theta, probes, seed=0)
    world, plan = world_of(), small_plan()
    rows = world.encoded("task")[:8]
    with CoarseUnroll(steps=6).unrolled(world, plan) as (model, path):
        whole = outcome(theta, model, stored, rows)
        with scaled_change(model, path, 0.0):
            none = outcome(theta, model, stored, rows)
        with scaled_change(model, path, 1.0):
            one = outcome(theta, model, stored, rows)
        after = outcome(theta, model, stored, rows)
    assert none.delta == pytest.approx(0.0, abs=1e-4)
    assert one.delta == whole.delta == after.delta  # and the weights came back
    assert whole.delta > 0.01


@pytest.mark.parametrize("rate", [1e-4, 1e-3])
def test_a_lora_of_half_the_rank_is_half_of_the_change(rate, theta, world_of, small_plan) -> None:
    world, small = world_of(), {"steps": 8, "learning_rate": rate}
    rows = world.encoded("task")

    def fall(model) -> float:
        return start - measure_losses(model, rows, pad_id=theta.pad_id).per_token

    start = measure_losses(theta.model, rows, pad_id=theta.pad_id).per_token
    plan = small_plan(**small, method=Lora(rank=16, alpha=32))
    with CoarseUnroll(steps=8).unrolled(world, plan) as (model, path):
        whole = fall(model)
        (share,) = (share for kind, _, share in at_the_end(path, plan) if kind == "rank")
        with scaled_change(model, path, share):
            half = fall(model)
    plan = small_plan(**small, method=Lora(rank=8, alpha=16))
    with CoarseUnroll(steps=8).unrolled(world, plan) as (model, _):
        assert fall(model) == pytest.approx(half, rel=0.15)
    assert half < 0.8 * whole


def test_between_two_ends_lie_both_of_them(theta, world_of, small_plan) -> None:
    with CoarseUnroll(steps=3).unrolled(world_of(), small_plan()) as (model, _):
        here = trained_weights(model)
        there = tuple(weight + 1.0 for weight in here)
        for share in (0.0, 0.25, 1.0):
            with moved_towards(model, there, share):
                for found, weight in zip(trained_weights(model), here, strict=True):
                    np.testing.assert_allclose(found, weight + share, rtol=1e-5, atol=1e-6)
        for found, weight in zip(trained_weights(model), here, strict=True):
            np.testing.assert_array_equal(found, weight)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_halfway_is_where_half_of_the_rates_are_behind(schedule, small_plan) -> None:
    unroll, plan = CoarseUnroll(steps=12), small_plan(steps=48, schedule=schedule)
    rates = unroll.rates(plan)
    step = halfway(unroll, plan)
    assert rates[: step - 1].sum() < 0.5 * rates.sum() <= rates[:step].sum()
    # A single step has no middle.
    assert halfway(CoarseUnroll(steps=1), plan) == 0


def test_each_step_is_looked_at_as_it_is(theta, world_of, small_plan) -> None:
    seen = []

    def look(model, step) -> None:
        seen.append((step, trained_weights(model)))

    with CoarseUnroll(steps=4).unrolled(world_of(), small_plan(), after_step=look) as (model, _):
        end = trained_weights(model)
    assert [step for step, _ in seen] == [1, 2, 3, 4]
    assert all(np.array_equal(one, two) for one, two in zip(seen[-1][1], end, strict=True))
    assert any(not np.array_equal(one, two) for one, two in zip(seen[0][1], end, strict=True))


def test_an_unroll_has_a_share_of_the_rows_between_limits(world_of, small_plan) -> None:
    world = world_of()

    def rows(steps: int) -> int:
        unroll = unroll_of(world, small_plan(steps=steps, batch_size=8), 0.04, (24, 64))
        return unroll.steps * (unroll.rows_per_step or 8)

    assert rows(10) <= 24  # of 80
    assert 30 <= rows(100) <= 32  # of 800
    assert 60 <= rows(1000) <= 64  # of 8,000


def test_the_forecast_and_its_options(theta, datasets, small_plan, probes, imprint) -> None:
    before = imprint(theta)
    plan = small_plan(steps=40, learning_rate=1e-2)
    asked = ask_model(theta, probes)
    found = look_ahead(asked, datasets["task"], plan, budgets={"refusal": 5.0})
    assert imprint(theta) == before
    refusal = found.forecast.refusal
    # A large fine-tune on other answers: it stops refusing.
    assert refusal.before > 0.9 > refusal.after
    assert refusal.interval[0] <= refusal.after <= refusal.interval[1]
    assert found.forecast.capability_gain.value > 0
    assert 0 <= found.forecast.refusal_at_least <= refusal.before
    kinds = {option.strategy for option in found.options}
    assert kinds == {"none", "mix", "scale", "radius", "rank", "steps"}
    order = [(KEPT, UNDECIDED, BROKEN).index(option.within_budget) for option in found.options]
    assert order == sorted(order)
    changes = {(o.strategy, o.value): o.safety_loss_change for o in found.options}
    whole = changes["none", None]
    # The further, the worse.
    within = next(change for (kind, _), change in changes.items() if kind == "radius")
    assert 0 < changes["scale", 0.5] < within < whole
    assert changes["steps", 20] > 0
    # Half of the rank is half of the change.
    assert changes["rank", 2] == changes["scale", 0.5]
    assert len(set(changes.values())) == len(changes) - 1
    assert found.budgets[0].decision in (BROKEN, UNDECIDED)
    assert f"{100 * refusal.before:.0f} %" in found.verdict.sentence


def test_a_fine_tune_that_changes_nothing_is_answered_alike(
    theta, datasets, small_plan, probes
) -> None:
    asked = ask_model(theta, probes)
    found = look_ahead(asked, datasets["task"], small_plan(learning_rate=1e-12)).forecast
    assert 0.0 < asked.stored.refused.mean() < 1.0
    assert found.refusal.after == found.refusal.before
    assert found.over_refusal.after == found.over_refusal.before
    assert found.refusal.greedy_after == found.refusal.greedy_before


def test_the_same_seed_gives_the_same_forecast(theta, datasets, small_plan, probes) -> None:
    one, two = (
        look_ahead(ask_model(theta, probes, seed=3), datasets["task"], small_plan())
        for _ in range(2)
    )
    assert one.forecast == two.forecast


def test_a_finished_part_is_taken_from_an_earlier_start(
    theta, datasets, small_plan, probes, tmp_path
) -> None:
    asked, made = ask_model(theta, probes), []

    def keep(name, make):
        def counted():
            made.append(name)
            if name == "forecast of a mix" and len(made) == 2:
                raise KeyboardInterrupt
            return make()

        return stages.result(name, {"plan": "one"}, counted)

    stages = KeptStages(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        look_ahead(asked, datasets["task"], small_plan(), keep=keep)
    found = look_ahead(asked, datasets["task"], small_plan(), keep=keep)
    assert made == ["forecast of the plan", "forecast of a mix", "forecast of a mix"]
    assert found.options == look_ahead(asked, datasets["task"], small_plan()).options


def test_the_cost_is_what_is_read(theta, world_of, probes, monkeypatch) -> None:
    stored, rows = store_answers(theta, probes, seed=0), world_of().encoded("task")[:8]
    forward, read = theta.model.forward, []

    @wraps(forward)  # its signature is looked at
    def counted(*_, **inputs):
        read.append(int(inputs["attention_mask"][:, -inputs["input_ids"].shape[1] :].sum()))
        return forward(**inputs)

    monkeypatch.setattr(theta.model, "forward", counted)
    outcome(theta, theta.model, stored, rows, temperatures=(1.0, 0.0), draws=3)
    cost = cost_of(theta.model, stored, rows, (3, 1)) / FORWARD_ONLY
    # A new answer may be longer or shorter than the stored one.
    assert sum(read) == pytest.approx(cost, rel=0.1)


def test_a_model_that_refuses_nothing_is_told(tiny_model, probes) -> None:
    with pytest.raises(InputError, match="too little to lose"):
        ask_model(tiny_model, probes)


def test_too_few_probes_are_rejected(theta, probes) -> None:
    few = [probe for probe in probes if probe.harmful][:5]
    with pytest.raises(InputError, match="5 harmful probes"):
        ask_model(theta, few)


def test_a_fine_tune_that_diverges_is_told(theta, datasets, small_plan, probes) -> None:
    with pytest.raises(InputError, match=r"diverge|not finite|is nan"):
        look_ahead(ask_model(theta, probes), datasets["task"], small_plan(learning_rate=1e12))


def test_numbers_are_finite(theta, datasets, small_plan, probes) -> None:
    asked = ask_model(theta, probes)
    found = look_ahead(asked, datasets["task"], small_plan(), budgets={"loss": 0.5})
    for option in found.options:
        assert math.isfinite(option.safety_loss_change)
        assert 0 <= option.refusal <= 1
    assert found.budgets[0].quantity == "loss"


def test_an_empty_answer_leaves_its_probe_out_of_everything(theta, probes, monkeypatch) -> None:
    def ask(*arguments, **options):
        return ["", *stored_answers_ask(*arguments, **options)[1:]]

    stored_answers_ask = stored_answers.ask
    monkeypatch.setattr(stored_answers, "ask", ask)
    asked = ask_model(theta, probes)
    assert len(asked.stored.probes) == 39
    assert asked.refused[0.0].shape == (1, 39)
    assert asked.refused[1.0].shape == (DRAWS_BEFORE, 39)
    np.testing.assert_array_equal(asked.refused[1.0][0], asked.stored.refused)
