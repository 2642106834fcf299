"""TrainingArguments, SFTConfig and DPOConfig as a training plan, beside the Trainer itself."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainingArguments
from trl import DPOConfig, SFTConfig

from finebound.base.errors import InputError
from llm_validation.training.configurations import NOTHING, plan_for, read_training
from llm_validation.training.methods import FullWeights, Lora, QLora
from llm_validation.training.plan import SCHEDULES, Dpo, TrainingPlan

ADAPTER = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
CLI = """
    # trl sft --config
    model_name_or_path: org/chat
    dtype: float32
    dataset_name: org/rows
    dataset_train_split: train
    use_peft: true
    load_in_4bit: true
    use_bnb_nested_quant: true
    lora_r: 32
    lora_alpha: 64
    lora_dropout: 0.0
    lora_target_modules: all-linear
    learning_rate: 2.0e-4
    lr_scheduler_type: cosine_with_min_lr
    lr_scheduler_kwargs: {min_lr_rate: 0.1}
    warmup_ratio: 0.05
    per_device_train_batch_size: 4
    gradient_accumulation_steps: 4
    num_train_epochs: 2
    max_length: 512
    completion_only_loss: true
    seed: 1
    report_to: none
    output_dir: out
"""
FULL = """
    model_name_or_path: org/chat
    datasets:
      - path: org/a
      - path: org/b
    lora_r: 16
    max_steps: 300
    num_train_epochs: 1
    optim: adafactor
    packing: true
    assistant_only_loss: true
    neftune_noise_alpha: 5
    truncation_mode: keep_end
    fp16: true
    max_length:
"""


def sixteen(**settings):
    return {"output_dir": "out", "use_cpu": True, "report_to": [], "bf16": False} | settings


def of_arguments(read, arguments, name="args.json"):
    return read(arguments.to_json_string(), name)


def test_training_arguments_as_they_are_written(read):
    arguments = TrainingArguments(
        **sixteen(
            learning_rate=3e-5,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=3,
            num_train_epochs=2,
            warmup_steps=0.1,
            weight_decay=0.01,
            adam_beta2=0.98,
            max_grad_norm=0.5,
            lr_scheduler_type="cosine",
            seed=5,
        )
    )
    training = of_arguments(read, arguments)
    assert training.format == "transformers TrainingArguments"
    assert training.not_modelled == training.contradictions == ()
    assert [key.name for key in training.assumed] == ["batch_size", "method.kind", "supervision"]
    # 100 rows are 17 steps of 6, twice; a tenth of 34, rounded up.
    assert plan_for(training, 100) == TrainingPlan(
        learning_rate=3e-5,
        batch_size=6,
        gradient_accumulation=3,
        steps=34,
        warmup=4,
        weight_decay=0.01,
        betas=(0.9, 0.98),
        clip=0.5,
        schedule="cosine",
        seed=5,
    )
    unread = {key.name: key for key in training.unread}
    assert unread["logging_steps"].what == NOTHING
    assert unread["hub_token"].value == ""


def test_an_adapter_beside_the_arguments(write, read):
    write(json.dumps(ADAPTER), "adapter_config.json")
    training = of_arguments(read, TrainingArguments(**sixteen(max_steps=9)))
    plan = plan_for(training, 100)
    assert plan.method == Lora(rank=4, alpha=8, targets=("q_proj",))
    assert plan.steps == 9
    assert training.settings["method.rank"].source == "adapter_config.json: r"
    assert training.contradictions == ()
    assert [file.rpartition("/")[2] for file in training.files] == [
        "args.json",
        "adapter_config.json",
    ]


def test_a_folder_with_both(write, tmp_path):
    write(json.dumps(ADAPTER), "adapter_config.json")
    write(TrainingArguments(**sixteen(max_steps=9)).to_json_string(), "args.json")
    write(json.dumps({"architectures": ["X"], "model_type": "x", "hidden_size": 3}), "config.json")
    write(json.dumps({"log_history": [], "global_step": 3}), "trainer_state.json")
    training = read_training(tmp_path)
    assert plan_for(training, 1).method == Lora(rank=4, alpha=8, targets=("q_proj",))
    assert plan_for(training, 1).steps == 9


def test_sft_arguments_as_they_are_written(read):
    training = of_arguments(read, SFTConfig(**sixteen(max_length=256, assistant_only_loss=True)))
    assert training.format == "TRL SFTConfig"
    assert training.not_modelled == ()
    plan = plan_for(training, 80)
    assert plan.learning_rate == 2e-5
    assert (plan.max_length, plan.truncate, plan.steps) == (256, True, 30)
    assert [key.name for key in training.assumed] == ["batch_size", "method.kind"]


def test_dpo_arguments_as_they_are_written(read):
    training = of_arguments(read, DPOConfig(**sixteen(beta=0.05, loss_type="sigmoid")))
    assert training.format == "TRL DPOConfig"
    assert training.not_modelled == ()
    assert plan_for(training, 8).objective == Dpo(0.05)
    assert plan_for(training, 8).learning_rate == 1e-6


def test_another_preference_loss_is_named(read):
    arguments = DPOConfig(
        **sixteen(loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.2], label_smoothing=0.1)
    )
    training = of_arguments(read, arguments)
    assert {k.name for k in training.not_modelled} == {
        "loss_type", "loss_weights", "label_smoothing"
    }  # fmt: skip


def test_a_configuration_of_the_trl_command(read):
    training = read(CLI)
    assert (training.model, training.task) == ("org/chat", "hf:org/rows:train")
    assert training.not_modelled == ()
    assert plan_for(training, 320) == TrainingPlan(
        method=QLora(rank=32, alpha=64, targets=("all-linear",), double_quant=True),
        steps=40,
        learning_rate=2e-4,
        schedule="cosine_with_min_lr",
        schedule_options={"min_lr_rate": 0.1},
        warmup=2,
        batch_size=16,
        gradient_accumulation=4,
        max_length=512,
        truncate=True,
        precision="bf16",
        seed=1,
    )


def test_trls_own_dropout_is_said(read):
    training = read(CLI.replace("lora_dropout: 0.0", ""))
    assert [key.name for key in training.assumed] == ["batch_size", "dropout"]


def test_full_weights_and_what_the_forecast_has_not(read):
    training = read(FULL)
    plan = plan_for(training, 10)
    assert plan.method == FullWeights()
    assert (plan.steps, plan.max_length, plan.truncate) == (300, None, False)
    assert training.tasks == ("hf:org/a", "hf:org/b")
    assert training.contradictions == (
        "num_train_epochs is 1 and max_steps is 300: max_steps decides, as in the Trainer.",
    )
    assert {key.name for key in training.not_modelled} == {
        "optim", "packing", "neftune_noise_alpha", "truncation_mode", "fp16"
    }  # fmt: skip
    assert {key.name: key.what for key in training.unread}["lora_r"] == (
        f"{NOTHING}: use_peft is not true, so all weights are trained"
    )


@pytest.mark.parametrize("rows", [7, 64, 101])
@pytest.mark.parametrize("epochs", [0.5, 1, 3])
@pytest.mark.parametrize(("micro", "accumulation"), [(4, 1), (2, 3), (8, 5)])
def test_steps_and_warmup_are_the_trainers_own(read, rows, epochs, micro, accumulation):
    arguments = TrainingArguments(
        **sixteen(
            num_train_epochs=epochs,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=accumulation,
            warmup_steps=0.15,
        )
    )
    trainer = Trainer(torch.nn.Linear(1, 1), arguments, train_dataset=[{"x": 0}] * rows)
    steps = trainer.set_initial_training_values(arguments, trainer.get_train_dataloader())[-1]
    training = of_arguments(read, arguments)
    warmup = arguments.get_warmup_steps(steps)
    if warmup >= steps:
        with pytest.raises(InputError, match="warmup takes"):
            plan_for(training, rows)
    else:
        plan = plan_for(training, rows)
        assert (plan.steps, plan.warmup) == (steps, warmup)


@pytest.mark.parametrize("schedule", [*SCHEDULES, "constant_with_warmup"])
def test_rates_are_the_trainers_own(read, schedule):
    options = {
        "cosine_with_min_lr": {"min_lr": 1e-6},
        "cosine_warmup_with_min_lr": {"min_lr_rate": 0.2},
        "warmup_stable_decay": {"num_decay_steps": 5},
        "polynomial": {"power": 2.0},
    }.get(schedule)
    arguments = TrainingArguments(
        **sixteen(
            max_steps=20,
            warmup_steps=4,
            lr_scheduler_type=schedule,
            lr_scheduler_kwargs=options,
            learning_rate=1e-3,
        )
    )
    trainer = Trainer(torch.nn.Linear(1, 1), arguments)
    trainer.create_optimizer_and_scheduler(20)
    rates = []
    for _ in range(20):
        rates.append(trainer.lr_scheduler.get_last_lr()[0])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    training = of_arguments(read, arguments)
    np.testing.assert_allclose(plan_for(training, 8).learning_rates(), rates, rtol=1e-12)
    assert bool(training.contradictions) == (schedule == "constant")


def test_steps_of_warmup_win_over_their_share(read):
    training = read("output_dir: o\nwarmup_steps: 5\nwarmup_ratio: 0.1\nmax_steps: 50")
    assert plan_for(training, 8).warmup == 5
    assert training.contradictions == (
        "warmup_steps is 5 and warmup_ratio is 0.1: the steps decide.",
    )


def test_sgd_has_no_weight_decay_here(read):
    training = read("output_dir: o\noptim: sgd\nweight_decay: 0.1\nmax_steps: 50")
    plan = plan_for(training, 8)
    assert (plan.optimizer, plan.weight_decay) == ("sgd", 0)
    assert [key.name for key in training.not_modelled] == ["weight_decay"]
    replace(plan, steps=3)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("packing: true\nbeta: 0.1", "packing is of SFTConfig and beta of DPOConfig"),
        ("num_generations: 8", "is a configuration of GRPO"),
        ("load_in_4bit: true", "load_in_4bit asks for a base of 4 bits"),
        ("bf16: true\nfp16: true", "bf16 and fp16 are both true"),
        (
            "per_device_train_batch_size: 8\nper_gpu_train_batch_size: 4",
            "per_device_train_batch_size is 8 and per_gpu_train_batch_size is 4",
        ),
        ("max_seq_length: 10\nmax_length: 12", "max_length is 12 and max_seq_length is 10"),
        (
            "learning_rate: 1e-4\ndeepspeed: {optimizer: {params: {lr: 3e-5}}}",
            "learning_rate is 0.0001 and deepspeed's optimizer has lr",
        ),
        ("learning_rate: 1e-4\nlearning_rate: 1e-5", "'learning_rate' is there twice"),
        ("learning_rte: 1e-4", "has the key 'learning_rte'.*Did you mean learning_rate"),
        ("num_train_epochs: 0", "num_train_epochs is 0.*above 0"),
        ("beta: .inf", "beta is inf"),
        ("lr_scheduler_kwargs: 3", "lr_scheduler_kwargs is 3.*object"),
        ("datasets: [rows]", r"datasets is \['rows'\].*list of objects"),
        ("max_steps: 10\nwarmup_steps: 10", "warmup takes 10 of 10 steps"),
    ],
)
def test_what_no_reading_is_sound_for(read, more, says):
    with pytest.raises(InputError, match=says) as error:
        read(f"output_dir: out\n{more}")
    assert error.value.file.endswith("train.yaml")


def test_two_ranks(write, read):
    write(json.dumps(ADAPTER), "adapter_config.json")
    with pytest.raises(InputError, match=r"lora_r is 32, and adapter_config.json: r is 4"):
        read(CLI)


def test_four_bits_of_the_script_and_an_adapter_beside_are_a_qlora(write, read):
    write(json.dumps(ADAPTER), "adapter_config.json")
    training = read("output_dir: o\nload_in_4bit: true\nmax_steps: 3")
    assert plan_for(training, 1).method == QLora(4, 8, ("q_proj",), double_quant=False)
