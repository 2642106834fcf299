"""The registry of fine-tunes: readable, apart from what it is measured on, each forecast first."""

from __future__ import annotations

import json

import pytest

from finebound.base.records import file_sha256
from llm_validation.estimation.evidence import RECORDS, shipped
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


def test_what_is_shipped_is_of_the_registry_and_was_forecast_first() -> None:
    entries = {entry["id"]: entry for entry in REGISTERED["fine_tunes"]}
    found = shipped()
    assert found
    for one in found:
        assert one.entry == entries[one.id]
        assert one.forecast_sha256 == file_sha256(RECORDS / "forecasts" / f"{one.id}.json")
        assert all(one.gates.values())
    assert len({one.model_sha256 for one in found}) == 1
