"""Rows of gradients keep to a budget: what does not fit is left out by name, before it is begun."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from llm_validation.data.dataset import Dataset
from llm_validation.forecast import gradient_rows as rows_module
from llm_validation.forecast.gradient_baselines import gradient_baselines
from llm_validation.forecast.gradient_rows import GradientRows, chunks, gradient_rows
from llm_validation.forecast.linearised import Linearised
from llm_validation.forecast.unroll import CoarseUnroll
from llm_validation.forecast.world import World
from llm_validation.models import memory
from llm_validation.models.memory import NeedsMemory
from llm_validation.training.plan import FullWeights, Lora, TrainingPlan
from theory.strategy import LossConstraint

FULL = TrainingPlan(method=FullWeights(), steps=6, learning_rate=1e-3, batch_size=2)
ROWS = 4


def rows(name, n, start=0):
    pairs = [(f"say {i + start}", f"{i + start} it is, {name}") for i in range(n)]
    return Dataset.of(pairs, name=name)


@pytest.fixture
def world(tiny_model):
    return World(tiny_model, rows("safety", 6), rows("task", 6, 20), rows("proxy", 6, 40))


@pytest.fixture
def allow(monkeypatch):
    """So many bytes may be taken in all, beside what is kept already."""

    def set_to(size, world):
        def left(device="cpu"):
            kept = sum(r.bytes for r in world.known.values() if isinstance(r, GradientRows))
            return size - kept

        for module in (memory, rows_module):
            monkeypatch.setattr(module, "allowed_bytes", left)

    return set_to


def need(world, roles):
    numbers = sum(p.numel() for p in world.model.model.parameters())
    return 4 * numbers * (rows_module.SPARE + 2 * ROWS * roles)


def test_what_does_not_fit_is_refused_before_anything_is_measured(world, allow, monkeypatch):
    allow(need(world, 2) - 1, world)
    monkeypatch.setattr(rows_module, "_measure", lambda *_: pytest.fail("was begun"))
    for predictor in (Linearised(rows=ROWS), *gradient_baselines(rows=ROWS)):
        with pytest.raises(NeedsMemory, match=r"4 gradients .* needs about .* MB may be used"):
            predictor.predict(world, FULL)


def test_what_fits_is_forecast(world, allow):
    allow(need(world, 2), world)
    assert math.isfinite(Linearised(rows=ROWS).predict(world, FULL).safety_change)
    lora = replace(FULL, method=Lora(rank=2))
    assert math.isfinite(Linearised(rows=ROWS).predict(world, lora).safety_change)


def test_the_proxy_s_rows_count_where_they_are_read(world, allow):
    allow(need(world, 2), world)
    with_proxy = replace(FULL, strategy=LossConstraint(lam=1.0))
    with pytest.raises(NeedsMemory):
        Linearised(rows=ROWS).predict(world, with_proxy)
    allow(need(world, 3), world)
    assert math.isfinite(Linearised(rows=ROWS).predict(world, with_proxy).safety_change)


def test_rows_of_other_tasks_are_given_up_for_the_next_and_give_the_same(world, allow):
    alone = Linearised(rows=ROWS).predict(replace(world, known={}), FULL)
    allow(need(world, 2), world)
    for name in ("one", "two", "three"):
        other = replace(world, task=rows(name, 6, 60))
        Linearised(rows=ROWS).predict(other, FULL)
        kept = [r for r in world.known.values() if isinstance(r, GradientRows)]
        assert len(kept) == 2
    assert Linearised(rows=ROWS).predict(world, FULL).safety_change == alone.safety_change


def test_with_room_the_safety_rows_are_measured_once(world, monkeypatch):
    made = []
    measure = rows_module._measure
    monkeypatch.setattr(
        rows_module, "_measure", lambda *about: made.append(about[3]) or measure(*about)
    )
    for name in ("one", "two"):
        Linearised(rows=ROWS).predict(replace(world, task=rows(name, 6, 60)), FULL)
    assert made == ["safety", "task", "task"]


def test_a_coarse_fine_tune_of_all_weights_needs_memory_too(world, monkeypatch):
    monkeypatch.setattr(memory, "allowed_bytes", lambda device="cpu": 1000.0)
    with pytest.raises(NeedsMemory, match="coarse fine-tune of all weights"):
        CoarseUnroll(steps=2).predict(world, FULL)


def test_chunks_of_coordinates_give_the_same_forecast(world, monkeypatch):
    whole = Linearised(rows=ROWS).predict(world, FULL)
    scores = [b.predict(world, FULL).safety_change for b in gradient_baselines(rows=ROWS)]
    monkeypatch.setattr(rows_module, "DOT_CHUNK", 10_000)
    assert [part.stop - part.start for part in chunks(2500, 10)] == [1000] * 3
    again = Linearised(rows=ROWS).predict(world, FULL)
    assert again.safety_change == pytest.approx(whole.safety_change, rel=1e-4)
    assert again.details["displacement"] == pytest.approx(whole.details["displacement"], rel=1e-4)
    assert [
        b.predict(world, FULL).safety_change for b in gradient_baselines(rows=ROWS)
    ] == pytest.approx(scores, rel=1e-4)


def test_all_that_is_kept_is_counted(world):
    found = gradient_rows(world, FULL, "safety", ROWS)
    assert found.bytes == found.given.nbytes + found.drawn.nbytes
    assert found.given.dtype == torch.float32
