"""A section of plain values becomes callbacks; what it does not know is named."""

from __future__ import annotations

import json

import pytest
from other_trainers import Logged, make_probes

from finebound.base.errors import InputError
from finebound.trl import (
    ProxyLoss,
    RadiusConstraint,
    SafetyBudget,
    SafetyForecast,
    SafetyMonitor,
    callbacks_of,
)
from llm_validation.callbacks.answers import write_answers


def write_probes(file, n=4):
    rows = [{"prompt": p.prompt, "harmful": p.harmful} for p in make_probes(n)]
    file.write_text("\n".join(map(json.dumps, rows)))


def test_each_key_is_a_callback_with_its_arguments(answers, tmp_path):
    file = tmp_path / "answers.json"
    write_answers(answers, file, asked={})
    radius, proxy, monitor, forecast, budget = callbacks_of(
        {
            "answers": str(file),
            "monitor": {"every": 25, "held_out": "builtin:task-general", "ask": True},
            "forecast": {"at": [0.2], "level": 0.8},
            "budget": 0.5,
            "radius": 2,
            "proxy": {"rows": "builtin:safety", "lam": 0.5},
        }
    )
    assert isinstance(monitor, SafetyMonitor)
    assert (monitor.every, monitor.held_out, monitor.ask) == (25, "builtin:task-general", True)
    assert isinstance(forecast, SafetyForecast)
    assert (forecast.at, forecast.level) == ((0.2,), 0.8)
    assert isinstance(budget, SafetyBudget)
    assert (budget.budget, budget.then) == (0.5, "restore")
    assert isinstance(radius, RadiusConstraint)
    assert radius.radius == 2.0
    assert isinstance(proxy, ProxyLoss)
    assert (proxy.lam, proxy.batch_size) == (0.5, 8)
    (alone,) = callbacks_of({"answers": str(file)})
    assert isinstance(alone, SafetyMonitor)
    assert callbacks_of({"monitor": False, "radius": None}) == []


@pytest.mark.parametrize(
    ("section", "what"),
    [
        ({"monitr": True}, "the key monitr is unknown.* monitor, forecast, budget"),
        ({"monitor": {"evry": 1}}, "the key monitor.evry is unknown.* monitor.every"),
        ({"monitor": {"every": "often"}}, "monitor.every has a wrong value"),
        ({"monitor": 3}, "monitor has a wrong value"),
        ({"monitor": {"answers": "x"}}, "the key monitor.answers is unknown"),
        ({"proxy": {"rows": "builtin:safety"}}, "the key proxy.lam is missing"),
        ({"proxy": True}, "the key proxy.rows is missing"),
        ({"budget": {"then": "panic"}}, "budget.then has a wrong value"),
        ({"per_category": "all"}, "per_category has a wrong value"),
        ({"radius": -1.0}, "a radius of -1.0"),
        ({"answers": "nowhere.json"}, "nowhere.json"),
        ({1: True}, "no text"),
    ],
)
def test_what_is_wrong_is_named(section, what):
    with pytest.raises(InputError, match=what):
        callbacks_of(section)


def test_the_model_in_training_is_asked_first_and_once(make_trainer, tmp_path):
    probes = tmp_path / "probes.jsonl"
    write_probes(probes)
    section = {"probes": str(probes), "monitor": {"every": 3}, "forecast": {"at": [0.5]}}
    logged = Logged()
    make_trainer("plain", [*callbacks_of(section), logged.callback()]).train()
    assert list(logged.of("safety/refusal_rate")) == [0, 3, 6]
    assert list(logged.of("forecast_ESTIMATED/so_far")) == [1, 2, 3, 6]
    file = tmp_path / "out" / "finebound" / "base-answers.json"
    kept = file.read_bytes()
    again = Logged()
    make_trainer("plain", [*callbacks_of(section), again.callback()]).train()
    assert again.entries[0] == logged.entries[0]
    assert file.read_bytes() == kept
    file.unlink()
    resumed = make_trainer("plain", callbacks_of(section), save_strategy="steps", save_steps=3)
    resumed.train()
    file.unlink()
    with pytest.raises(InputError, match="was not asked"):
        make_trainer("plain", callbacks_of(section), max_steps=7).train(
            resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-3")
        )
