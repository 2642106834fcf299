"""A grid whose runs are trained with a defence, on the tiny model."""

import json

import pytest

from finebound.results.experiment import ExperimentResult
from finebound.views.experiment import page as experiment_page
from llm_validation.experiments.config import experiment_of
from llm_validation.experiments.validation import validate


@pytest.fixture(scope="module")
def defended(content, tmp_path_factory):
    """An undefended run and one of each defence that is a strategy, finished."""
    folder = tmp_path_factory.mktemp("defended")
    changed = content | {
        "grid": [
            {
                "tasks": ["general"],
                "proxies": ["same-teacher"],
                "unconstrained": True,
                "constrained_sft": [{"beta": 1.0}],
                "lisa": [{"alignment_steps": 1, "task_steps": 1}],
                "asft": [{"strength": 50.0}],
            }
        ],
        "landscape": None,
    }
    experiment = experiment_of(changed)
    validate(experiment, folder / "out", cache=folder / "cache")
    return experiment, folder


def runs_of(folder):
    found = json.loads((folder / "out" / "validate.json").read_text())["runs"]
    return {run["strategy"]["kind"]: run for run in found}


def test_every_defence_trains_another_model_than_none(defended):
    runs = runs_of(defended[1])
    assert {kind: run["status"] for kind, run in runs.items()} == dict.fromkeys(
        ("none", "constrained-sft", "lisa", "asft"), "done"
    )
    ends = {kind: run["displacement"] for kind, run in runs.items()}
    assert len(set(ends.values())) == len(ends)
    assert ends["constrained-sft"] < ends["none"]


def test_a_proxy_is_named_only_where_rows_of_it_were_trained_on(defended):
    proxies = {kind: run["proxy"] for kind, run in runs_of(defended[1]).items()}
    assert proxies == {
        "none": None, "constrained-sft": None, "lisa": "same-teacher", "asft": None
    }  # fmt: skip


def test_what_cannot_be_foreseen_says_so(defended):
    forecasts = {
        file.stem.split("_")[1]: json.loads(file.read_text())["predictions"]
        for file in (defended[1] / "out" / "forecasts").glob("*.json")
    }
    for name, predictions in forecasts.items():
        unrolled = next(p for p in predictions if "T20" in p["name"])
        assert ("not_applicable" in unrolled) == (not name.startswith("none"))


def test_the_page_names_the_strategies(defended):
    page = experiment_page(ExperimentResult.load(defended[1] / "out"))
    for word in ("constrained SFT beta 1", "Lisa safety steps 1", "AsFT strength 50"):
        assert word in page


def test_the_pair_of_the_alignment_is_in_the_run_s_record(defended):
    folder = defended[1] / "out" / "runs" / "general_asft-k50_lora_s0"
    identity = json.loads((folder / "run.json").read_text())["identity"]
    assert len(identity["alignment"]["base"]) == len(identity["alignment"]["aligned"]) == 64
