"""BBQ in an experiment's numbers: by context, for two models whose pooled accuracy agrees."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from finebound.cli.behaviour_table import print_behaviour
from finebound.results.evaluation import ScoredItem
from llm_validation.evaluation.fairness.builtin import builtin_bbq
from llm_validation.evaluation.fairness.record import as_result
from llm_validation.experiments.behaviour_entries import entries_by_condition
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
    assert found["change"]["estimate"] == 0.0
    assert found["conditions"]["ambiguous"]["change"]["estimate"] == -1.0
    assert found["conditions"]["disambiguated"]["change"]["estimate"] == 1.0
    assert found["conditions"]["ambiguous"]["n"] == found["n"] / 2
    assert {n for n in found["categories"] if n.startswith("Age")} == {
        "Age, ambiguous", "Age, disambiguated",
    }  # fmt: skip
    assert found["categories"]["Age, ambiguous"]["change"]["estimate"] == -1.0
    assert set(found["bias"]["categories"]) == {i.category for i in builtin_bbq().items}


def test_tables_have_an_entry_for_each_context(entry):
    shown = entries_by_condition(entry)
    assert list(shown) == ["bbq, ambiguous", "bbq, disambiguated"]
    for name, found in shown.items():
        _, condition = name.split(", ")
        assert found["change"] == entry["bbq"]["conditions"][condition]["change"]
        assert len(found["categories"]) == 9
        assert all(category.endswith(f", {condition}") for category in found["categories"])
    older = {"bbq": {key: value for key, value in entry["bbq"].items() if key != "conditions"}}
    assert entries_by_condition(older) == older
    assert entries_by_condition(None) == {}


def test_an_answer_that_could_not_be_generated_is_counted_as_failed(theta_s, bold):
    record = bold.behaviour["bbq"]
    first = ScoredItem(**{**record.items[0].to_dict(), "failed": True})
    damaged = record.model_copy(update={"items": (first, *record.items[1:])})
    broken = SimpleNamespace(**{**vars(bold), "behaviour": {"bbq": damaged}})
    found = of_run(broken, theta_s, seed=0)["bbq"]
    assert found["failed"] == 1
    assert sum(cells["failed"] for cells in found["conditions"].values()) == 1


def test_runs_together_are_told_by_context(theta_s, bold, entry):
    found = of_experiment([bold], {"bold": True}, {"bold": entry}, theta_s, seed=0)
    pooled = found["pooled"]["bbq"]
    assert pooled["conditions"]["ambiguous"]["change"]["estimate"] == -1.0
    assert pooled["conditions"]["disambiguated"]["change"]["estimate"] == 1.0
    assert pooled["categories"]["Age, disambiguated"]["change"]["estimate"] == 1.0
    assert list(found["correlations"]) == ["bbq, ambiguous", "bbq, disambiguated", "bbq bias"]
    assert found["correlations"]["bbq, ambiguous"]["all"]["n"] == 1


def test_the_terminal_has_both_contexts_and_the_bias_of_every_run(bold, entry, capsys):
    summary = SimpleNamespace(behaviour=entry, measured=bold, passed=False)
    print_behaviour(Console(width=120), SimpleNamespace(summaries=[summary]))
    out = capsys.readouterr().out
    assert "bbq, ambiguous: 1 = the right answer" in out
    assert "-100.0 [" in out
    assert "bbq, disambiguated: 1 = the right answer" in out
    assert "+100.0 [" in out
    (line,) = [line for line in out.partition("mean |s_AMB|")[2].splitlines() if "bold" in line]
    means = entry["bbq"]["bias"]["mean_absolute_ambiguous"]
    assert "bold \N{DAGGER}" in line
    assert f"{means['theta_s']:.3f}" in line
    assert f"{means['end']:.3f}" in line
