"""An axolotl YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_validation.training.configurations.parts import (
    ALL_LINEAR,
    LLAMA_TARGETS,
    four_bit_full,
    lora_targets,
    put_batch,
    put_constraints,
    put_length,
    put_lora,
    put_optimizer,
    put_precision,
    put_schedule,
)
from llm_validation.training.configurations.places import references
from llm_validation.training.configurations.reading import (
    Reading,
    count,
    flag,
    mapping,
    names,
    number,
    short,
    text,
)
from llm_validation.training.configurations.training_file import Key, TrainingFile

MARKS = ("base_model", "micro_batch_size", "sample_packing", "lora_target_linear", "sequence_len")
_BATCH = ("micro_batch_size", "gradient_accumulation_steps", "batch_size")
_LORA = (
    "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target_linear",
    "lora_modules_to_save", "lora_fan_in_fan_out", "peft_use_rslora", "peft_use_dora",
    "peft_init_lora_weights", "peft_layers_to_transform", "loraplus_lr_ratio", "lora_model_dir",
    "bnb_config_kwargs",
)  # fmt: skip
_NO_FORECAST = ("pretraining_dataset", "reward_model", "process_reward_model")
_COLUMNS = "finebound reads the rows by its own rules for columns and turns"
_KERNELS = ("LigerPlugin", "CutCrossEntropyPlugin", "KernelsPlugin", "FineboundPlugin")
"""Plugins that change nothing but speed, or whose section is read."""
_PROMPTS = "Prompts are learnt too: the forecast has the loss on the answers alone."


def read(content: Mapping[str, Any], file: Path) -> TrainingFile:
    """The configuration in ``content``."""
    reading = Reading(content, file, "axolotl", ("axolotl",))
    for key in _NO_FORECAST:
        if content.get(key):
            raise reading.error(
                f"{key} is given, a training of which there is no forecast.",
                "Forecast supervised fine-tuning or DPO.",
            )
    rate = reading.get(number(above=0), "learning_rate")
    if rate is None:
        raise reading.error("learning_rate is not given.", "axolotl has no default: give it.")
    reading.put("learning_rate", rate, "learning_rate")
    _read_batch(reading)
    put_length(reading, "num_epochs", 1.0)
    put_schedule(reading, "lr_scheduler", "cosine", warmup_share=0.03)
    _read_least_rate(reading)
    put_optimizer(reading, "optimizer")
    put_precision(reading, "auto")
    reading.settle("seed", count(0), "seed", default=42)
    _read_method(reading)
    _read_lengths(reading)
    _read_objective(reading)
    if any(name.rpartition(".")[2] not in _KERNELS for name in reading.get(names, "plugins") or []):
        reading.change("plugins", "A plugin can change anything in the training.")
    put_constraints(reading)
    tasks, template = _read_datasets(reading)
    return reading.finish(
        "axolotl",
        "axolotl",
        model=reading.get(text, "base_model"),
        tasks=tasks,
        template=reading.get(text, "chat_template") or template,
    )


def _read_batch(reading: Reading) -> None:
    micro, accumulation, whole = (reading.get(count(), key) for key in _BATCH)
    micro = micro or 1
    if accumulation is None:
        accumulation = max(1, whole // micro) if whole else 1
    elif whole is not None and whole != micro * accumulation:
        reading.contradictions.append(
            f"batch_size is {whole}, and micro_batch_size x gradient_accumulation_steps is "
            f"{micro * accumulation}: axolotl trains on the latter."
        )
    put_batch(reading, micro, accumulation, *_BATCH)


def _read_least_rate(reading: Reading) -> None:
    least = reading.get(number(most=1), "cosine_min_lr_ratio")
    if least and reading.settings["schedule"].value == "cosine":
        reading.put("schedule", "cosine_with_min_lr", "lr_scheduler, cosine_min_lr_ratio")
        reading.put("schedule_options", {"min_lr_rate": least}, "cosine_min_lr_ratio")


def _read_method(reading: Reading) -> None:
    adapter = reading.get(text, "adapter")
    four = reading.get(flag, "load_in_4bit")
    eight = reading.get(flag, "load_in_8bit")
    if not adapter:
        if four or eight:
            raise four_bit_full(reading, "load_in_4bit" if four else "load_in_8bit")
        reading.idle(_LORA, "no adapter is trained")
        reading.put("method.kind", "full", None)
        return
    if adapter not in ("lora", "qlora"):
        raise reading.error(
            f"adapter is {short(adapter)}, of which there is no forecast.",
            "Use lora or qlora, or leave it empty for all weights.",
        )
    if adapter == "qlora" and (four is False or eight):
        raise reading.error(
            "adapter is qlora, and load_in_4bit is not true.",
            "Set load_in_4bit: true, or adapter: lora.",
        )
    if eight:
        reading.change("load_in_8bit", "The base is rounded to 8 bits: the forecast is not.")
    rank, alpha = reading.get(count(), "lora_r"), reading.get(number(above=0), "lora_alpha")
    if rank is None or alpha is None:
        key = "lora_r" if rank is None else "lora_alpha"
        raise reading.error(f"adapter is {adapter}, and {key} is not given.", f"Give {key}.")
    quantised = reading.get(mapping, "bnb_config_kwargs") or {}
    targets = lora_targets(reading, "lora_target_modules", (ALL_LINEAR, "all_linear"))
    everywhere = reading.get(flag, "lora_target_linear")
    where = "lora_target_linear" if everywhere else reading.key("lora_target_modules")
    put_lora(
        reading,
        kind=("qlora" if adapter == "qlora" or four else "lora", "adapter"),
        rank=(rank, "lora_r"),
        alpha=(alpha, "lora_alpha"),
        targets=([ALL_LINEAR] if everywhere else targets or LLAMA_TARGETS, where),
        rslora="peft_use_rslora",
        double_quant=(
            bool(quantised.get("bnb_4bit_use_double_quant", True)),
            reading.key("bnb_config_kwargs.bnb_4bit_use_double_quant"),
        ),
    )


def _read_lengths(reading: Reading) -> None:
    reading.settle("max_length", count(), "sequence_len", default=512)
    too_long = reading.get(text, "excess_length_strategy") or "drop"
    key = reading.key("excess_length_strategy")
    if too_long not in ("drop", "truncate", "raise"):
        raise reading.error(f"{key} is {short(too_long)}.", "Use drop, truncate or raise.")
    reading.put("drop_long", too_long == "drop", key)
    reading.put("truncate", too_long == "truncate", key)


def _read_objective(reading: Reading) -> None:
    rl = reading.get(_rl, "rl")
    beta = reading.get(number(above=0), "rl_beta", "dpo_beta", "trl.beta")
    if rl not in (None, "dpo", "ipo"):
        raise reading.error(
            f"rl is {short(rl)}, of which there is no forecast.",
            "Forecast supervised fine-tuning or DPO.",
        )
    reading.put("objective.kind", "dpo" if rl else "sft", "rl" if rl else None)
    if rl == "ipo":
        reading.change("rl", "Another preference loss: the forecast is of sigmoid DPO.")
    if rl:
        key = reading.key("rl_beta", "dpo_beta", "trl.beta")
        reading.put("objective.beta", 0.1 if beta is None else beta, key)
    if reading.get(flag, "train_on_inputs") and not rl:
        reading.change("train_on_inputs", _PROMPTS)


def _rl(value: Any) -> str | None:
    if isinstance(value, bool):  # older files, when there was one alone
        return "dpo" if value else None
    return text(value)


def _read_datasets(reading: Reading) -> tuple[list[str], str | None]:
    """Where the datasets are, and the template that one of them names."""
    tasks: list[str] = []
    template = None
    for entry in reading.get(_entries, "datasets") or []:
        tasks += references(reading, "datasets", entry)
        template = template or entry.get("chat_template")
        kind = entry.get("type")
        roles = entry.get("roles_to_train")
        if kind == "completion" or (roles is not None and roles != ["assistant"]):
            reading.change("datasets", _PROMPTS)
    if tasks:
        reading.unread.append(Key("datasets: type, fields and splits", "", _COLUMNS))
    return tasks, template if isinstance(template, str) else None


def _entries(value: Any) -> list[dict[str, Any]]:
    if not (isinstance(value, list) and all(isinstance(e, dict) and "path" in e for e in value)):
        raise ValueError("Give a list of objects, each with its path.")
    return value
