"""A PEFT adapter's ``adapter_config.json``: LoRA, IA3, Prompt Tuning, P-Tuning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_validation.training.configurations.parts import (
    ALL_LINEAR,
    LLAMA_TARGETS,
    lora_targets,
    put_lora,
)
from llm_validation.training.configurations.reading import Reading, count, number, short, text
from llm_validation.training.configurations.training_file import TrainingFile

NAME = "adapter_config.json"
_IA3 = (["k_proj", "v_proj", "down_proj"], ["down_proj"])


def read(content: Mapping[str, Any], file: Path) -> TrainingFile:
    """The adapter alone: the method, and a plan of defaults around it."""
    reading, model = read_method(content, file, prefix="")
    reading.assume(
        "steps",
        "An adapter's file says what is trained and not how: steps, batch and learning rate are "
        "finebound's defaults. Flags say them, or the trainer's configuration.",
    )
    return reading.finish("PEFT adapter", "finebound", model=model)


def read_method(
    content: Mapping[str, Any], file: Path, prefix: str = f"{NAME}: "
) -> tuple[Reading, str | None]:
    """The method's settings, and the model that the adapter is of."""
    reading = Reading(content, file, "PEFT", ("peft",), prefix)
    kind = (reading.get(text, "peft_type") or "").upper()
    if kind == "LORA":
        rank = reading.get(count(), "r")
        alpha = reading.get(number(above=0), "lora_alpha")
        targets = lora_targets(reading, "target_modules", (ALL_LINEAR,))
        put_lora(
            reading,
            kind=("lora", "peft_type"),
            rank=(rank or 8, reading.key("r")),
            alpha=(alpha or 8.0, reading.key("lora_alpha")),
            targets=(targets or LLAMA_TARGETS, reading.key("target_modules")),
            rslora="use_rslora",
        )
    elif kind == "IA3":
        reading.put("method.kind", "ia3", "peft_type")
        for key, setting, usual in (
            ("target_modules", "targets", _IA3[0]),
            ("feedforward_modules", "feedforward", _IA3[1]),
        ):
            given = lora_targets(reading, key, ())
            reading.put(f"method.{setting}", given or usual, reading.key(key))
    elif kind in ("PROMPT_TUNING", "P_TUNING"):
        _read_virtual_tokens(reading, kind)
    else:
        raise reading.error(
            f"peft_type is {short(content.get('peft_type'))}, of which there is no forecast.",
            "Give a LoRA, IA3, Prompt Tuning or P-Tuning.",
        )
    model = reading.get(text, "base_model_name_or_path")
    if prefix:
        reading.sort_the_rest()
    return reading, model


def _read_virtual_tokens(reading: Reading, kind: str) -> None:
    tokens = reading.get(count(), "num_virtual_tokens")
    if tokens is None:
        raise reading.error("num_virtual_tokens is not given.", "Say how many there are.")
    if kind == "P_TUNING":
        reading.put("method.kind", "p-tuning", "peft_type")
        hidden = reading.get(count(), "encoder_hidden_size")
        reading.put("method.hidden", hidden, reading.key("encoder_hidden_size"))
    else:
        reading.put("method.kind", "prompt-tuning", "peft_type")
        init = (reading.get(text, "prompt_tuning_init") or "RANDOM").upper()
        told = reading.get(text, "prompt_tuning_init_text")
        if init == "TEXT":
            reading.put("method.init", "text", "prompt_tuning_init")
            reading.put("method.text", told, "prompt_tuning_init_text")
        elif init != "RANDOM":
            reading.change(
                "prompt_tuning_init",
                "The tokens start elsewhere: the forecast starts them at random numbers.",
            )
    reading.put("method.tokens", tokens, "num_virtual_tokens")
