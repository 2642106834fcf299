"""Mixed regimes as tasks of a grid, run on the tiny model."""

import json

import pytest

from llm_validation.data.builtin import builtin_dataset
from llm_validation.experiments.config import experiment_of
from llm_validation.experiments.datasets import read_set
from llm_validation.experiments.validation import validate


@pytest.fixture(scope="module")
def regimes(content, tmp_path_factory):
    """The folder of two regimes of one task, finished."""
    folder = tmp_path_factory.mktemp("regimes")
    tasks = {
        name: {
            "benign": "builtin:task-general",
            "harmful": "builtin:harmful-placeholders",
            "share": share,
        }
        for name, share in (("benign", 0.0), ("harmful-50", 0.5))
    }
    changed = content | {
        "tasks": tasks,
        "grid": [{"tasks": list(tasks), "unconstrained": True}],
        "landscape": None,
        "forecast": None,
        "generations": None,
    }
    experiment = experiment_of(changed)
    assert validate(experiment, folder / "out", cache=folder / "cache").runs
    return experiment, folder


def test_each_regime_trains_on_its_share_and_is_measured_on_the_same_rows(regimes):
    _, folder = regimes
    sets = {
        name: read_set(folder / "out" / "data", name, source="test")
        for name in ("task.benign", "task.harmful-50", "task.benign.held-out",
                     "task.harmful-50.held-out")
    }  # fmt: skip
    harmful = set(builtin_dataset("harmful-placeholders").prompts)
    counts = {name: sum(p in harmful for p in found.prompts) for name, found in sets.items()}
    assert counts == {
        "task.benign": 0,
        "task.harmful-50": 5,
        "task.benign.held-out": 0,
        "task.harmful-50.held-out": 0,
    }
    assert sets["task.benign.held-out"].sha256 == sets["task.harmful-50.held-out"].sha256
    runs = json.loads((folder / "out" / "validate.json").read_text())["runs"]
    starts = {run["id"]: run["checkpoints"][0]["loss_change"] for run in runs}
    assert "task.harmful-50.held-out" in starts["harmful-50_none_lora_s0"]
    ends = [run["capability_gain"] for run in runs]
    assert ends[0] != ends[1]


def test_a_second_start_trains_nothing_again(regimes):
    experiment, folder = regimes
    records = sorted((folder / "out" / "runs").glob("*/record.json"))
    before = [file.stat().st_mtime_ns for file in records]
    validate(experiment, folder / "out", cache=folder / "cache")
    assert [file.stat().st_mtime_ns for file in records] == before
