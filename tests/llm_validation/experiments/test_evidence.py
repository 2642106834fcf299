"""The registry of fine-tunes: readable, apart from what it is measured on, each forecast first."""

from __future__ import annotations

import json

import pytest

from llm_validation.estimation.outlook import TASK_ROWS
from llm_validation.experiments.evidence import REGISTRY, plan_of, task_of

REGISTERED = json.loads(REGISTRY.read_text(encoding="utf-8"))


@pytest.mark.parametrize("entry", REGISTERED["fine_tunes"], ids=lambda entry: entry["id"])
def test_an_entry_is_a_plan_and_two_sets_that_share_no_prompt(entry) -> None:
    plan = plan_of(entry, REGISTERED["plan"])
    assert plan.seed == entry["seed"]
    task, held_out = task_of(entry)
    assert len(held_out) == TASK_ROWS
    assert not set(task.prompts) & set(held_out.prompts)


def test_ids_are_unique_and_methods_and_rates_vary() -> None:
    entries = REGISTERED["fine_tunes"]
    assert len({entry["id"] for entry in entries}) == len(entries) >= 12
    plans = [plan_of(entry, REGISTERED["plan"]) for entry in entries]
    assert len({plan.method.kind for plan in plans}) >= 3
    assert len({plan.learning_rate for plan in plans}) >= 2
