"""Plans and configurations of finebound itself."""

from __future__ import annotations

import json

import pytest
import yaml

from finebound.base.errors import InputError
from llm_validation.experiments.config import NAMED, expand, experiment_of
from llm_validation.training.configurations import plan_for, read_training
from llm_validation.training.methods import IA3, FullWeights, Lora
from llm_validation.training.plan import Dpo, EarlyStopping, TrainingPlan
from theory.strategy import Hybrid

PLANS = {
    "lora": TrainingPlan(steps=30, learning_rate=1e-4, schedule="linear", warmup=3),
    "ia3": TrainingPlan(method=IA3(), learning_rate=3e-3, batch_size=4, max_length=64),
    "hybrid": TrainingPlan(
        method=FullWeights(), strategy=Hybrid(lam=0.5, radius=0.1), proxy_batch_size=2
    ),
    "dpo": TrainingPlan(objective=Dpo(0.3), clip=None, early_stopping=EarlyStopping("task", 5, 2)),
    "least rate": TrainingPlan(
        schedule="cosine_with_min_lr", schedule_options={"min_lr_rate": 0.1}, precision="auto"
    ),
}
EXPERIMENT = {
    "name": "mine",
    "model": "packaged",
    "safety": "builtin:safety",
    "tasks": {"general": "builtin:task-general"},
    "methods": {"lora": {"kind": "lora", "rank": 4, "alpha": 8, "learning_rate": 3e-4}},
    "rows": {"task": 40, "held_out": 8, "max_length": 80},
    "alignment": None,
    "training": {"steps": 12, "batch_size": 4, "schedule": "cosine", "warmup": 2},
    "grid": [{"tasks": ["general"], "unconstrained": True, "seeds": [0]}],
}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("form", ["json", "yaml", "run"])
def test_a_plan_comes_back(write, name, form):
    plan = PLANS[name].as_dict()
    if form == "run":
        file = write(json.dumps({"status": "done", "identity": {"plan": plan}}), "run.json")
    elif form == "json":
        file = write(json.dumps(plan), "plan.json")
    else:
        file = write(yaml.safe_dump(plan), "plan.yml")
    training = read_training(file)
    assert training.format == "finebound plan"
    assert plan_for(training, rows=5).as_dict() == plan


def test_what_is_left_out_is_the_default(read):
    training = read("method: {rank: 2}\nsteps: 7")
    assert plan_for(training, 5) == TrainingPlan(method=Lora(rank=2), steps=7)
    assert training.settings["method.rank"].source == "method.rank"


def test_the_configuration_of_one_fine_tune(write):
    training = read_training(write(json.dumps(EXPERIMENT), "experiment.json"))
    assert training.format == "finebound configuration"
    assert (training.model, training.task) == ("packaged", "builtin:task-general")
    (run,) = expand(experiment_of(EXPERIMENT))
    # Rows too long are left out there too, before the run; the rest is not of the weights.
    apart = {"max_length", "drop_long", "training_sets_at", "checkpoint_every"}
    made, ran = plan_for(training, 5).as_dict(), run.plan.as_dict()
    assert {n: v for n, v in made.items() if n not in apart} == {
        n: v for n, v in ran.items() if n not in apart
    }
    assert (made["max_length"], made["drop_long"]) == (80, True)
    assert {key.name for key in training.unread} >= {"safety", "grid", "name"}


def test_the_objective_of_a_method(write):
    methods = {"p": {"kind": "lora", "rank": 2, "alpha": 2, "objective": "dpo", "beta": 0.2}}
    training = read_training(write(json.dumps(EXPERIMENT | {"methods": methods}), "e.json"))
    assert plan_for(training, 1).objective == Dpo(0.2)


def test_every_named_configuration_of_one_method_is_read():
    single = [f for f in NAMED.glob("*.json") if len(json.loads(f.read_text())["methods"]) == 1]
    assert len(single) > 2
    for file in single:
        assert read_training(file).format == "finebound configuration"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"steps": 3, "epochs": 2}, "epochs"),
        ({"steps": 0}, "steps is 0"),
        ({"method": {"kind": "dora"}}, "there is no method 'dora'"),
        ({"identity": {"plan": 3}}, "has no plan"),
        (EXPERIMENT | {"methods": {"a": {}, "b": {}}}, "describes 2 methods: a, b"),
        (EXPERIMENT | {"methods": {"a": 3}}, "methods.a is 3"),
        (EXPERIMENT | {"training": {"stepz": 3}}, "stepz"),
    ],
)
def test_a_plan_that_cannot_be_read(write, content, says):
    file = write(json.dumps(content), "plan.json")
    with pytest.raises(InputError, match=says) as error:
        read_training(file)
    assert error.value.file == str(file)
