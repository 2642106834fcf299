"""Which of the formats a file is in, and the file in a folder that says how to train."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from llm_validation.training.configurations import (
    axolotl,
    finebound_plan,
    huggingface,
    llama_factory,
    peft_adapter,
    trainer_arguments,
)
from llm_validation.training.configurations.files import read_settings
from llm_validation.training.configurations.training_file import TrainingFile

_FORMATS = (
    "transformers TrainingArguments, TRL SFTConfig or DPOConfig, a PEFT adapter_config.json, an "
    "axolotl or LLaMA-Factory YAML, or a finebound plan"
)
_SUFFIXES = (".json", ".yaml", ".yml")
_REMEDY = f"Give {_FORMATS}."


def read_training(path: str | Path) -> TrainingFile:
    """The training configuration in a file, or in a folder with one.

    An ``adapter_config.json`` beside transformers' or TRL's settings says what is trained; alone
    it says only that. No code of the file is run. Raises InputError, with the file and the key,
    for a file that is none of these, for a value that is none, and for keys that contradict each
    other.
    """
    path = Path(path)
    if path.is_dir():
        path = _in_folder(path)
    content = read_settings(path)
    format_ = _format_of(content, path)
    if format_ == "huggingface":
        beside = path.with_name(peft_adapter.NAME)
        adapter = (read_settings(beside), beside) if beside.is_file() else None
        return huggingface.read(content, path, adapter)
    readers = {
        "peft": peft_adapter.read,
        "axolotl": axolotl.read,
        "llama_factory": llama_factory.read,
        "finebound": finebound_plan.read,
    }
    return readers[format_](content, path)


def _in_folder(folder: Path) -> Path:
    """The one file of a folder that says how to train, or else its adapter's configuration."""
    found: list[Path] = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in _SUFFIXES and file.name != peft_adapter.NAME:
            try:
                _format_of(read_settings(file), file)
            except InputError:
                continue  # a tokenizer's, a model's: no configuration of a training
            found.append(file)
    if len(found) > 1:
        raise InputError(
            f"holds {len(found)} training configurations: {', '.join(f.name for f in found)}.",
            remedy="Name the file.",
            file=folder,
        )
    adapter = folder / peft_adapter.NAME
    if not found and not adapter.is_file():
        pickled = (folder / "training_args.bin").is_file()
        raise InputError(
            "holds no training configuration."
            + (" Its training_args.bin is a pickle, which is not opened." if pickled else ""),
            remedy="Write the arguments as JSON (`args.to_json_string()`) into it."
            if pickled
            else _REMEDY,
            file=folder,
        )
    return found[0] if found else adapter


def _format_of(content: Mapping[str, Any], file: Path) -> str:
    """The format's name. Raises InputError for a file of another kind."""
    if "log_history" in content and "global_step" in content:
        raise InputError(
            "is a trainer's state: what happened, and not how to train.",
            remedy="Give the arguments that the trainer was made with.",
            file=file,
        )
    identity = content.get("identity")
    run = isinstance(identity, dict) and "plan" in identity
    marks = {
        "peft": ("peft_type",),
        "finebound": ("grid", "identity") if run else ("grid",),
        "axolotl": axolotl.MARKS,
        "llama_factory": llama_factory.MARKS,
        "huggingface": (*trainer_arguments.MARKS, *huggingface.MARKS),
    }
    for name, keys in marks.items():
        if any(key in content for key in keys):
            return name
    if any(key in content for key in finebound_plan.MARKS):
        return "finebound"
    if "learning_rate" in content:
        return "huggingface"
    raise InputError(
        "is no training configuration that is known"
        + (f": it has the keys {', '.join(map(str, list(content)[:5]))}." if content else "."),
        remedy=_REMEDY,
        file=file,
    )
