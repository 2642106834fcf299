"""BBQ in an experiment's numbers: by context, for two models whose pooled accuracy agrees."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from made_runs import experiment_entry, run_entry

from finebound.results.behaviour import by_condition
from finebound.results.evaluation import ScoredItem
from finebound.results.experiment import ExperimentResult
from finebound.views import experiment
from llm_validation.evaluation.fairness.builtin import builtin_bbq
from llm_validation.evaluation.fairness.record import as_result
from llm_validation.experiments.behaviour_summary import of_experiment, of_run


def always_right_in(condition, label):
    found = builtin_bbq()
    answers = tuple(i.label if i.condition == condition else (i.label + 1) % 3 for i in found.items)
    return as_result(replace(found, predictions=answers), label=label, summary={})


@pytest.fixture(scope="module")
def theta_s():
    return {"bbq": always_right_in("ambiguous", "theta_s")}


@pytest.fixture(scope="module")
def bold():
    return SimpleNamespace(
        run=SimpleNamespace(id="bold"),
        behaviour={"bbq": always_right_in("disambiguated", "bold")},
        start_behaviour={},
        checkpoint_behaviour={},
        change=lambda name: 0.1,
    )


@pytest.fixture(scope="module")
def entry(theta_s, bold):
    return of_run(bold, theta_s, seed=0)


def test_a_change_that_the_pooled_accuracy_hides_is_told_by_context(entry):
    found = entry["bbq"]
    assert found.change.estimate == 0.0
    assert found.conditions["ambiguous"].change.estimate == -1.0
    assert found.conditions["disambiguated"].change.estimate == 1.0
    assert found.conditions["ambiguous"].n == found.n / 2
    assert {n for n in found.categories if n.startswith("Age")} == {
        "Age, ambiguous", "Age, disambiguated",
    }  # fmt: skip
    assert found.categories["Age, ambiguous"].change.estimate == -1.0
    assert set(found.bias.categories) == {i.category for i in builtin_bbq().items}


def test_tables_have_an_entry_for_each_context(entry):
    shown = by_condition(entry)
    assert list(shown) == ["bbq, ambiguous", "bbq, disambiguated"]
    for name, found in shown.items():
        _, condition = name.split(", ")
        assert found.change == entry["bbq"].conditions[condition].change
        assert len(found.categories) == 9
        assert all(category.endswith(f", {condition}") for category in found.categories)
    older = {"bbq": entry["bbq"].model_copy(update={"conditions": None})}
    assert by_condition(older) == older
    assert by_condition(None) == {}


def test_an_answer_that_could_not_be_generated_is_counted_as_failed(theta_s, bold):
    record = bold.behaviour["bbq"]
    first = ScoredItem(**{**record.items[0].to_dict(), "failed": True})
    damaged = record.model_copy(update={"items": (first, *record.items[1:])})
    broken = SimpleNamespace(**{**vars(bold), "behaviour": {"bbq": damaged}})
    found = of_run(broken, theta_s, seed=0)["bbq"]
    assert found.failed == 1
    assert sum(cells.failed for cells in found.conditions.values()) == 1


def test_runs_together_are_told_by_context(theta_s, bold, entry):
    run = SimpleNamespace(passed=True, behaviour=entry)
    found = of_experiment([bold], [run], theta_s, seed=0)
    pooled = found.pooled["bbq"]
    assert pooled.conditions["ambiguous"].change.estimate == -1.0
    assert pooled.conditions["disambiguated"].change.estimate == 1.0
    assert pooled.categories["Age, disambiguated"].change.estimate == 1.0
    assert list(found.correlations) == ["bbq, ambiguous", "bbq, disambiguated", "bbq bias"]
    assert found.correlations["bbq, ambiguous"].all.n == 1


def test_the_tables_have_both_contexts_and_the_bias_of_every_run(entry):
    made = run_entry("bold", rate=1, failed=("format",))
    found = ExperimentResult.of(experiment_entry([made]))
    run = found.done[0].model_copy(update={"id": "bold", "behaviour": entry})
    tables = {t.name: t for t in experiment.tables(found.model_copy(update={"runs": [run]}))}
    for condition, change in (("ambiguous", -1.0), ("disambiguated", 1.0)):
        table = tables[f"bbq, {condition}"]
        assert "1 = the right answer" in table.title
        (row,) = table.rows
        assert row[0] == "bold \N{DAGGER}"
        assert row[table.columns.index("change")].estimate == change
    means = entry["bbq"].bias.mean_absolute_ambiguous
    (row,) = tables["bias"].rows
    assert row[:4] == ("bold \N{DAGGER}", f"{means['theta_s']:.3f}", "-", f"{means['end']:.3f}")
