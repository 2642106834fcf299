"""A LLaMA-Factory YAML, with the ``dataset_info.json`` that says where its datasets are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_validation.training.configurations.files import read_settings
from llm_validation.training.configurations.parts import (
    ALL_LINEAR,
    four_bit_full,
    lora_targets,
    put_constraints,
    put_lora,
)
from llm_validation.training.configurations.places import note_parts, reference
from llm_validation.training.configurations.reading import (
    Reading,
    count,
    flag,
    names,
    number,
    short,
    text,
)
from llm_validation.training.configurations.trainer_arguments import read_trainer
from llm_validation.training.configurations.training_file import Key, TrainingFile

MARKS = ("finetuning_type", "stage", "cutoff_len", "lora_rank", "lora_target", "template")
INFO = "dataset_info.json"
"""Where the datasets are described, in the folder of ``dataset_dir``."""
_LORA = (
    "lora_rank", "lora_alpha", "lora_dropout", "lora_target", "use_rslora", "use_dora",
    "pissa_init", "loraplus_lr_ratio", "additional_target",
)  # fmt: skip


def read(content: Mapping[str, Any], file: Path) -> TrainingFile:
    """The configuration in ``content``; its datasets are looked up beside ``file``."""
    reading = Reading(content, file, "LLaMA-Factory", ("trainer", "llama_factory"))
    read_trainer(reading, learning_rate=5e-5, precision="fp32")
    if reading.get(flag, "pure_bf16"):
        reading.put("precision", "bf16", "pure_bf16")
        reading.change(
            "pure_bf16", "Small updates are lost in rounding: the forecast keeps float32 weights."
        )
    _read_method(reading)
    reading.settle("max_length", count(), "cutoff_len", default=2048)
    reading.put("truncate", True, reading.key("cutoff_len"))
    _read_objective(reading)
    put_constraints(reading)
    tasks, files = _tasks(reading)
    return reading.finish(
        "LLaMA-Factory",
        "transformers",
        model=reading.get(text, "model_name_or_path"),
        tasks=tasks,
        template=reading.get(text, "template"),
        files=files,
    )


def _read_method(reading: Reading) -> None:
    kind = reading.get(text, "finetuning_type") or "lora"
    key = reading.key("finetuning_type")
    bits = reading.get(count(), "quantization_bit")
    if kind == "full":
        if bits:
            raise four_bit_full(reading, "quantization_bit")
        reading.idle(_LORA, "no adapter is trained")
        reading.put("method.kind", "full", key)
        return
    if kind != "lora":
        raise reading.error(
            f"finetuning_type is {short(kind)}, of which there is no forecast.",
            "Use lora or full.",
        )
    rank = reading.get(count(), "lora_rank") or 8
    alpha = reading.get(number(above=0), "lora_alpha")
    targets = lora_targets(reading, "lora_target", ("all", ALL_LINEAR))
    double = reading.get(flag, "double_quantization")
    if bits not in (None, 4):
        reading.change("quantization_bit", "The base is rounded: the forecast of it is not.")
    put_lora(
        reading,
        kind=("qlora", "quantization_bit") if bits == 4 else ("lora", key),
        rank=(rank, reading.key("lora_rank")),
        alpha=(2.0 * rank if alpha is None else alpha, reading.key("lora_alpha")),
        targets=(targets or [ALL_LINEAR], reading.key("lora_target")),
        rslora="use_rslora",
        double_quant=(double is not False, reading.key("double_quantization")),
    )


def _read_objective(reading: Reading) -> None:
    stage = reading.get(text, "stage") or "sft"
    if stage not in ("sft", "dpo"):
        raise reading.error(
            f"stage is {short(stage)}, of which there is no forecast.",
            "Forecast the stages sft and dpo.",
        )
    reading.put("objective.kind", stage, reading.key("stage"))
    loss = reading.get(text, "pref_loss") or "sigmoid"
    beta = reading.get(number(above=0), "pref_beta")
    if stage == "dpo":
        reading.put("objective.beta", 0.1 if beta is None else beta, reading.key("pref_beta"))
        if loss in ("orpo", "simpo"):
            raise reading.error(
                f"pref_loss is {loss}, which has no reference model and no forecast.",
                "Forecast the loss sigmoid.",
            )
        if loss != "sigmoid":
            reading.change("pref_loss", "Another preference loss: the forecast is of sigmoid DPO.")
    if reading.get(flag, "mask_history"):
        reading.put("turns", "last", "mask_history")
    if reading.get(flag, "train_on_prompt"):
        reading.change(
            "train_on_prompt",
            "Prompts are learnt too: the forecast has the loss on the answers alone.",
        )


def _tasks(reading: Reading) -> tuple[list[str], list[Path]]:
    """Where the datasets are, as ``dataset_info.json`` says, and that file where it was found."""
    asked = reading.get(names, "dataset") or []
    folder = reading.get(text, "dataset_dir") or "data"
    beside = reading.file.parent
    found = [p / folder / INFO for p in _starts(reading.file)]
    info = next((p for p in [*found, beside / INFO] if p.is_file()), None)
    if not asked:
        return [], []
    if folder == "ONLINE":
        return [reference(name, beside) for name in asked], []
    if info is None:
        reading.assume("task", f"No {INFO} was found, so where the datasets are is not known.")
        return asked, []
    described = read_settings(info)
    return [_place(reading, described, info, name) for name in asked], [info]


def _starts(file: Path) -> tuple[Path, ...]:
    """From where LLaMA-Factory may be started: the checkout's root, often above the file."""
    beside = file.parent
    return (beside, *beside.parents[:3], Path())


def start_of(file: Path, folder: str | None, info: Path) -> Path:
    """From where ``folder`` (its ``dataset_dir``) leads to ``info``; else beside the file."""
    places = (p for p in _starts(file) if (p / (folder or "data") / INFO) == info)
    return next(places, file.parent)


def _place(reading: Reading, described: Mapping[str, Any], info: Path, name: str) -> str:
    entry = described.get(name)
    if not isinstance(entry, dict):
        raise reading.error(
            f"dataset names {short(name)}, which {info} does not describe.",
            f"Describe it there; it has {short(list(described))}.",
        )
    if entry.get("columns") or entry.get("tags"):
        reading.unread.append(
            Key(
                f"{INFO}: {name}: columns and tags",
                "",
                "finebound reads the rows by its own rules for columns and turns",
            )
        )
    note_parts(reading, f"{INFO}: {name}", entry)
    if (hub := entry.get("hf_hub_url")) is not None:
        return reference(str(hub), info.parent, entry.get("split"))
    if isinstance(entry.get("file_name"), str):
        return str(info.parent / entry["file_name"])
    reading.assume("task", f"{INFO} names neither a file nor a Hugging Face dataset for {name}.")
    return name
