"""LLaMA-Factory's YAML as a training plan, with its dataset_info.json."""

from __future__ import annotations

import json

import pytest

from finebound.base.errors import InputError
from llm_validation.training.configurations import plan_for, read_training
from llm_validation.training.methods import FullWeights, Lora, QLora
from llm_validation.training.plan import Dpo, TrainingPlan

LORA = """
    ### model
    model_name_or_path: org/chat-8b-instruct
    trust_remote_code: true

    ### method
    stage: sft
    do_train: true
    finetuning_type: lora
    lora_rank: 16
    lora_target: all

    ### dataset
    dataset: support, manners
    template: llama3
    cutoff_len: 1024
    overwrite_cache: true
    preprocessing_num_workers: 16

    ### output
    output_dir: saves/lora/sft
    logging_steps: 10
    save_steps: 500
    plot_loss: true

    ### train
    per_device_train_batch_size: 1
    gradient_accumulation_steps: 8
    learning_rate: 1.0e-4
    num_train_epochs: 3.0
    lr_scheduler_type: cosine
    warmup_ratio: 0.1
    bf16: true
    ddp_timeout: 180000000
"""
QLORA = """
    model_name_or_path: org/chat
    stage: sft
    finetuning_type: lora
    quantization_bit: 4
    double_quantization: false
    lora_rank: 8
    lora_alpha: 8
    lora_target: q_proj,v_proj
    lora_dropout: 0.1
    dataset: support
    template: qwen
    max_samples: 1000
    val_size: 0.1
    mask_history: true
    learning_rate: 2e-5
    per_device_train_batch_size: 2
    max_steps: 60
    warmup_steps: 6
    optim: paged_adamw_8bit
    packing: true
"""
FULL = """
    model_name_or_path: ./base
    stage: sft
    finetuning_type: full
    pure_bf16: true
    dataset: support
    template: chatml
    train_on_prompt: true
    deepspeed: examples/deepspeed/ds_z3_config.json
    use_galore: true
    galore_rank: 128
    learning_rate: 1e-5
"""
DPO = """
    model_name_or_path: org/chat
    stage: dpo
    finetuning_type: lora
    lora_rank: 8
    lora_target: all
    use_rslora: false
    pref_beta: 0.3
    pref_loss: ipo
    pref_ftx: 0.1
    dataset: pairs
    template: llama3
    learning_rate: 5.0e-6
    per_device_train_batch_size: 1
    gradient_accumulation_steps: 8
    num_train_epochs: 1
    bf16: true
"""
INFO = {
    "support": {"file_name": "support.json", "columns": {"prompt": "q", "response": "a"}},
    "manners": {"hf_hub_url": "org/manners"},
    "pairs": {"file_name": "pairs.json", "ranking": True},
    "scripted": {"script_url": "scripted"},
}


@pytest.fixture
def beside(write, read):
    """Reads a configuration beside the description of its datasets."""

    def beside(content: str, where: str = "data/dataset_info.json"):
        write(json.dumps(INFO), where)
        return read(content)

    return beside


def test_a_lora(beside, tmp_path):
    training = beside(LORA)
    assert training.format == "LLaMA-Factory"
    assert training.model == "org/chat-8b-instruct"
    assert training.template == "llama3"
    assert training.tasks == (str(tmp_path / "data/support.json"), "hf:org/manners")
    assert training.files == (
        str(tmp_path / "train.yaml"),
        str(tmp_path / "data/dataset_info.json"),
    )
    assert training.not_modelled == ()
    assert "dataset_info.json: support: columns and tags" in {k.name for k in training.unread}
    # 100 rows are 13 steps of 8, three times; a tenth of 39, rounded up.
    assert plan_for(training, rows=100) == TrainingPlan(
        method=Lora(rank=16, alpha=32, targets=("all-linear",)),
        steps=39,
        learning_rate=1e-4,
        schedule="cosine",
        warmup=4,
        batch_size=8,
        gradient_accumulation=8,
        max_length=1024,
        truncate=True,
        precision="bf16",
        seed=42,
    )


def test_a_qlora(beside):
    training = beside(QLORA, "dataset_info.json")
    plan = plan_for(training, rows=10)
    assert plan.method == QLora(rank=8, alpha=8, targets=("q_proj", "v_proj"), double_quant=False)
    assert (plan.steps, plan.warmup, plan.schedule) == (60, 6, "linear")
    assert plan.batch_size == 2
    assert plan.max_length == 2048
    assert training.value("turns") == "last"
    assert {key.name for key in training.not_modelled} == {
        "lora_dropout", "max_samples", "val_size", "optim", "packing"
    }  # fmt: skip


def test_full_weights(read):
    training = read(FULL)
    plan = plan_for(training, rows=80)
    assert plan.method == FullWeights()
    assert (plan.steps, plan.batch_size, plan.precision) == (30, 8, "bf16")
    assert training.task == "support"
    assert "No dataset_info.json was found" in training.assumed[-1].what
    assert {key.name for key in training.not_modelled} == {
        "pure_bf16", "train_on_prompt", "deepspeed", "use_galore"
    }  # fmt: skip


def test_dpo(beside, tmp_path):
    training = beside(DPO)
    assert training.task == str(tmp_path / "data/pairs.json")
    assert plan_for(training, rows=8).objective == Dpo(0.3)
    assert plan_for(training, rows=8).method == Lora(rank=8, alpha=16, targets=("all-linear",))
    assert {key.name for key in training.not_modelled} == {"pref_loss", "pref_ftx"}


def test_datasets_are_found_from_the_root_of_a_checkout(write, tmp_path):
    write(json.dumps(INFO), "data/dataset_info.json")
    file = write(DPO, "examples/train_lora/dpo.yaml")
    assert read_training(file).task == str(tmp_path / "data/pairs.json")
    assert read_training(file.parent).task == str(tmp_path / "data/pairs.json")


def test_a_dataset_that_is_not_described(beside):
    with pytest.raises(InputError, match=r"dataset names 'nothing', which .*dataset_info.json"):
        beside(FULL.replace("dataset: support", "dataset: nothing"))


def test_a_dataset_made_by_a_script_is_named(beside):
    training = beside(FULL.replace("dataset: support", "dataset: scripted"))
    assert training.task == "scripted"
    assert "neither a file nor" in training.assumed[-1].what


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("stage: kto", "stage is 'kto', of which there is no forecast"),
        ("finetuning_type: freeze", "finetuning_type is 'freeze'"),
        ("finetuning_type: full\nquantization_bit: 4", "quantization_bit asks for a base of 4"),
        ("stage: dpo\npref_loss: simpo", "pref_loss is simpo, which has no reference"),
        ("lora_rank: 1.5", "lora_rank is 1.5.*whole number from 1"),
        ("lora_target: ''", "lora_target is ''.*at least one module"),
        ("learning_rate: -1", "learning_rate is -1.*above 0"),
        ("warmup_ratio: 1.5", "warmup_ratio is 1.5.*from 0 to 1"),
    ],
)
def test_what_no_reading_is_sound_for(read, more, says):
    with pytest.raises(InputError, match=says):
        read(f"template: llama3\n{more}")
