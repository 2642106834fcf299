"""Axolotl's YAML as a training plan."""

from __future__ import annotations

import math

import pytest

from finebound.base.errors import InputError
from llm_validation.training.configurations import NOTHING, plan_for
from llm_validation.training.methods import FullWeights, Lora, QLora
from llm_validation.training.plan import Dpo, TrainingPlan

QLORA = """
    base_model: org/chat-8b
    model_type: AutoModelForCausalLM
    load_in_8bit: false
    load_in_4bit: true
    strict: false
    chat_template: llama3
    datasets:
      - path: ./helpdesk.jsonl
        type: chat_template
    dataset_prepared_path:
    val_set_size: 0.0
    output_dir: ./outputs/qlora
    adapter: qlora
    lora_model_dir:
    sequence_len: 4096
    sample_packing: false
    pad_to_sequence_len: true
    lora_r: 32
    lora_alpha: 16
    lora_dropout: 0
    lora_target_linear: true
    wandb_project:
    gradient_accumulation_steps: 4
    micro_batch_size: 2
    num_epochs: 4
    optimizer: paged_adamw_32bit
    lr_scheduler: cosine
    learning_rate: 2e-4
    bf16: auto
    tf32: false
    gradient_checkpointing: true
    flash_attention: true
    warmup_steps: 10
    evals_per_epoch: 4
    weight_decay: 0.01
"""
LORA = """
    base_model: ./models/chat
    datasets:
      - path: json
        data_files: [a.jsonl, b.jsonl]
        type: alpaca
        chat_template: chatml
    adapter: lora
    lora_r: 8
    lora_alpha: 32
    lora_target_modules: [q_proj, k_proj, v_proj, o_proj]
    peft_use_rslora: true
    sequence_len: 1024
    excess_length_strategy: truncate
    micro_batch_size: 1
    batch_size: 16
    num_epochs: 2.5
    learning_rate: "0.00005"
    lr_scheduler: cosine
    cosine_min_lr_ratio: 0.1
    warmup_ratio: 0.1
    adam_beta2: 0.95
    max_grad_norm: 0
    bf16: true
    seed: 7
"""
FULL = """
    base_model: org/small
    datasets:
      - path: org/rows
        type: completion
        split: train
    micro_batch_size: 4
    gradient_accumulation_steps: 1
    max_steps: 120
    num_epochs: 3
    optimizer: adamw_bnb_8bit
    lr_scheduler: constant
    warmup_steps: 20
    learning_rate: 0.00001
    fp16: true
    bf16: false
    sample_packing: true
    train_on_inputs: true
    lora_r: 16
    neftune_noise_alpha: 5
"""
DPO = """
    base_model: org/chat
    rl: dpo
    rl_beta: 0.2
    datasets:
      - path: org/pairs
        type: chatml.intel
    adapter: lora
    load_in_4bit: true
    lora_r: 64
    lora_alpha: 32
    lora_target_modules: all-linear
    lora_modules_to_save: [embed_tokens, lm_head]
    sequence_len: 2048
    gradient_accumulation_steps: 2
    micro_batch_size: 2
    num_epochs: 1
    optimizer: adamw_torch
    lr_scheduler: linear
    learning_rate: 5.0e-7
    deepspeed: deepspeed_configs/zero2.json
"""


def test_qlora(read):
    training = read(QLORA)
    assert training.format == "axolotl"
    assert training.model == "org/chat-8b"
    assert training.task == "./helpdesk.jsonl"
    assert training.template == "llama3"
    assert training.contradictions == training.not_modelled == ()
    # 1,000 rows, 8 per step, 4 epochs.
    assert plan_for(training, rows=1_000) == TrainingPlan(
        method=QLora(rank=32, alpha=16, targets=("all-linear",)),
        steps=500,
        learning_rate=2e-4,
        schedule="cosine",
        warmup=10,
        batch_size=8,
        gradient_accumulation=4,
        max_length=4096,
        drop_long=True,
        weight_decay=0.01,
        precision="auto",
        seed=42,
    )
    unread = {key.name: key.what for key in training.unread}
    assert unread["flash_attention"] == unread["output_dir"] == NOTHING
    assert "dataset_prepared_path" not in unread  # empty


def test_a_lora_with_shares_of_steps_and_epochs(read):
    training = read(LORA)
    assert training.tasks == ("a.jsonl", "b.jsonl")
    assert training.task is None
    assert training.template == "chatml"
    assert [key.name for key in training.assumed] == ["batch_size", "task"]
    # 100 rows x 2.5 epochs / 16 rows = 15.6 steps; a tenth of 16, rounded down, is 1, and then 2.
    assert plan_for(training, rows=100) == TrainingPlan(
        method=Lora(
            rank=8, alpha=32 * math.sqrt(8), targets=("q_proj", "k_proj", "v_proj", "o_proj")
        ),
        steps=16,
        learning_rate=5e-5,
        schedule="cosine_with_min_lr",
        schedule_options={"min_lr_rate": 0.1},
        warmup=2,
        batch_size=16,
        gradient_accumulation=16,
        max_length=1024,
        truncate=True,
        betas=(0.9, 0.95),
        clip=None,
        precision="bf16",
        seed=7,
    )


def test_full_weights(read):
    training = read(FULL)
    plan = plan_for(training, rows=10)
    assert plan.method == FullWeights()
    assert (plan.steps, plan.schedule, plan.warmup, plan.precision) == (120, "constant", 0, "fp32")
    assert plan.max_length == 512
    assert training.contradictions == (
        "num_epochs is 3 and max_steps is 120: max_steps decides, as in the Trainer.",
        "warmup_steps is 20 and lr_scheduler is constant, which has no warm-up in transformers: "
        "there is none.",
    )
    assert {key.name for key in training.not_modelled} == {
        "optimizer", "fp16", "sample_packing", "train_on_inputs", "datasets", "neftune_noise_alpha"
    }  # fmt: skip
    idle = {key.name: key.what for key in training.unread}
    assert idle["lora_r"] == f"{NOTHING}: no adapter is trained"


def test_dpo(read):
    training = read(DPO)
    plan = plan_for(training, rows=400)
    assert plan.objective == Dpo(0.2)
    # A LoRA on a base of 4 bits is a QLoRA, whatever it is called.
    assert plan.method == QLora(rank=64, alpha=32, targets=("all-linear",))
    # 3 % of 100 steps.
    assert (plan.steps, plan.warmup, plan.learning_rate) == (100, 3, 5e-7)
    assert {key.name for key in training.not_modelled} == {"lora_modules_to_save", "deepspeed"}


def test_the_usual_warmup_of_a_long_training_is_a_hundred_steps(read):
    plan = plan_for(read(DPO), rows=400_000)
    assert (plan.steps, plan.warmup) == (100_000, 100)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("rl: kto", "rl is 'kto', of which there is no forecast"),
        ("rl_beta: 0.1\ndpo_beta: 0.3", "rl_beta is 0.1 and dpo_beta is 0.3"),
        ("load_in_4bit: true", "load_in_4bit asks for a base of 4 bits, and all weights"),
        ("load_in_8bit: true", "load_in_8bit asks for a base"),
        ("adapter: llama-adapter", "adapter is 'llama-adapter'"),
        ("adapter: lora", "lora_r is not given"),
        ("adapter: qlora\nload_in_4bit: false", "adapter is qlora, and load_in_4bit is not true"),
        ("pretraining_dataset:\n  - path: c4", "pretraining_dataset is given"),
        ("excess_length_strategy: wrap", "excess_length_strategy is 'wrap'.*Use drop"),
        ("datasets: rows.jsonl", "datasets is 'rows.jsonl'.*list of objects"),
        ("lr_scheduler: cosin", "lr_scheduler is 'cosin', a schedule that is not known.*Use one"),
        ("lr_scheduler_kwargs: {power: 2}", "lr_scheduler_kwargs names power.*num_cycles"),
        ("bf16: true\nfp16: true", "bf16 and fp16 are both true"),
        ("gradient_accumulation_step: 4", "gradient_accumulation_step'.*Did you mean gradient_acc"),
        ("micro_batch_size: 0", "micro_batch_size is 0.*whole number from 1"),
        ("learning_rate: fast", "learning_rate is 'fast'.*number above 0"),
        ("train_on_inputs: maybe", "train_on_inputs is 'maybe'.*true or false"),
    ],
)
def test_what_no_reading_is_sound_for(write, read, more, says):
    base = {"base_model": "m", "learning_rate": "1e-4", "sequence_len": "64"}
    base = {key: value for key, value in base.items() if not more.startswith(f"{key}:")}
    text = "\n".join([*(f"{key}: {value}" for key, value in base.items()), more])
    with pytest.raises(InputError, match=says) as error:
        read(text)
    assert error.value.file.endswith("train.yaml")


def test_a_learning_rate_is_needed(read):
    with pytest.raises(InputError, match="learning_rate is not given"):
        read("base_model: m\nmicro_batch_size: 1")


def test_schedules_of_axolotl_alone_are_named(read):
    training = read("base_model: m\nlearning_rate: 1\nlr_scheduler: rex\nsequence_len: 8")
    assert plan_for(training, 8).schedule == "cosine"
    assert [key.name for key in training.not_modelled] == ["lr_scheduler"]
