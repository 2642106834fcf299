"""Flags win over the file, and the whole plan is told with where each value comes from."""

from __future__ import annotations

import dataclasses

import pytest

from finebound.base.errors import InputError
from llm_validation.training.configurations import (
    TrainingFile,
    described,
    plan_for,
    with_flags,
)
from llm_validation.training.methods import METHODS, FullWeights, Lora, QLora
from llm_validation.training.plan import Dpo, TrainingPlan

FILE = """
    base_model: org/chat
    adapter: lora
    lora_r: 16
    lora_alpha: 8
    lora_target_modules: [k_proj]
    sequence_len: 256
    micro_batch_size: 2
    gradient_accumulation_steps: 4
    num_epochs: 2
    learning_rate: 1e-4
    lr_scheduler: cosine
    cosine_min_lr_ratio: 0.1
    warmup_ratio: 0.1
    bf16: true
"""


def test_no_flag_changes_nothing(read):
    training = read(FILE)
    assert with_flags(training, rank=None, steps=None) == training


def test_without_a_file_the_flags_say_it():
    training = with_flags(TrainingFile(), epochs=2, rank=4, warmup=0.25, seed=3)
    # 40 rows, 8 per step.
    assert plan_for(training, 40) == TrainingPlan(
        steps=10, warmup=3, method=Lora(rank=4, alpha=8), seed=3
    )


def test_flags_win(read):
    training = with_flags(
        read(FILE),
        steps=50,
        learning_rate=3e-4,
        schedule="linear",
        warmup=5,
        weight_decay=0.1,
        batch_size=2,
        rank=4,
        targets=("q_proj", "v_proj"),
        precision="fp32",
        seed=9,
    )
    assert plan_for(training, 1_000) == TrainingPlan(
        method=Lora(rank=4, alpha=8, targets=("q_proj", "v_proj")),
        steps=50,
        learning_rate=3e-4,
        schedule="linear",
        warmup=5,
        batch_size=2,
        max_length=256,
        drop_long=True,
        weight_decay=0.1,
        seed=9,
    )
    sources = {row.name: row.source for row in described(training)}
    assert sources["learning_rate"] == "--learning-rate, instead of 0.0001 (learning_rate)"
    assert sources["steps"] == "--steps, instead of 2.0 (num_epochs)"
    assert sources["warmup"] == "--warmup, instead of 0.1 (warmup_ratio)"
    assert sources["seed"] == "--seed"


def test_another_method_leaves_the_files_lora_out(read):
    training = with_flags(read(FILE), method="full")
    assert plan_for(training, 8).method == FullWeights()
    assert plan_for(with_flags(read(FILE), method="qlora"), 8).method == QLora(16, 8, ("k_proj",))
    assert plan_for(with_flags(training, method="ia3"), 8).method == METHODS["ia3"]()


def test_objective_and_beta(read):
    dpo = with_flags(read(FILE), objective="dpo", beta=0.2)
    assert plan_for(dpo, 8).objective == Dpo(0.2)
    assert plan_for(with_flags(dpo, objective="sft"), 8).objective is None


def test_what_a_flag_says_is_no_longer_assumed(read):
    training = read("output_dir: out\nmax_steps: 4")
    assert "method.kind" in {key.name for key in training.assumed}
    flagged = with_flags(training, method="full", batch_size=16)
    assert {key.name for key in flagged.assumed} == {"supervision"}


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"epochs": 1, "steps": 4}, "`epochs` and `steps` are both given"),
        ({"rank": 0}, "rank is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"beta": 0.1}, "objective sft"),
        ({"method": "full", "rank": 3}, "rank"),
        ({"method": "dora"}, "there is no method 'dora'"),
        ({"schedule": "square"}, "schedule is 'square'"),
        ({"batch_size": 2, "gradient_accumulation": 3}, "into 3 micro-batches"),
    ],
)
def test_flags_that_make_no_plan(read, flags, says):
    with pytest.raises(InputError, match=says):
        with_flags(read(FILE), **flags)


def test_a_flag_that_there_is_not(read):
    with pytest.raises(TypeError, match="there is no flag lr"):
        with_flags(read(FILE), lr=1)


def test_every_setting_is_told_with_its_source(read):
    training = read(FILE)
    rows = {row.name: row for row in described(training, rows=80)}
    plan = plan_for(training, 80)
    assert rows["steps"] == ("steps", plan.steps, "epochs, with 80 rows")
    assert rows["epochs"] == ("epochs", 2.0, "num_epochs")
    assert rows["warmup"] == ("warmup", 2, "warmup_share, with 80 rows")
    assert rows["method.rank"] == ("method.rank", 16, "lora_r")
    assert rows["clip"] == ("clip", 1.0, "default of axolotl")
    assert rows["momentum"] == ("momentum", 0.0, "default")
    groups = {name.partition(".")[0] for name in rows}
    elsewhere = {
        "checkpoint_every", "checkpoint_seconds", "evaluate_at", "training_sets_at", "truncate",
        "gradient_checkpointing", "dual_start", "dual_rate",
    }  # fmt: skip
    assert groups == {f.name for f in dataclasses.fields(TrainingPlan)} - elsewhere | {
        "epochs", "warmup_share"
    }  # fmt: skip
    without = {row.name for row in described(training)}
    assert "steps" not in without
    assert "epochs" in without
