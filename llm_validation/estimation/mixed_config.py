"""Safety rows in the data of a training file, in the way of the tool that reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_validation.estimation.safety_rows import SafetyRows, instruction, messages
from llm_validation.training.configurations import TrainingFile
from llm_validation.training.configurations.files import read_settings
from llm_validation.training.configurations.llama_factory import INFO, start_of

_NAME = "finebound_safety"
_SHARED = ("chat_template", "roles_to_train", "train_on_eos", "train_on_eot", "conversation")


@dataclass
class Change:
    """What is to be changed: keys, items of lists, files beside, and comments."""

    settings: dict[str, Any] = field(default_factory=dict)
    items: dict[str, Any] = field(default_factory=dict)
    files: dict[Path, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def mix(
    change: Change, share: float, rows: SafetyRows, task: int, training: TrainingFile, to: Path
) -> None:
    """Add safety rows to the data of a training file, so many that they are ``share`` of all.

    ``task`` counts its own rows. ``to`` is the new file, and what it needs lies beside it.
    """
    file = Path(training.files[0])
    content = read_settings(file)
    most = content.get("max_samples") if training.format == "LLaMA-Factory" else None
    seen = min(task, int(most) * len(training.tasks)) if most else task
    count = max(1, round(seen * share / (1 - share)))
    if most and count > int(most):
        change.said.append(f"max_samples cuts the {count} safety rows: raise it to {count}.")
    change.said.append(
        f"{count} safety rows beside {seen} task rows, made of {len(rows)} different {rows.whose}."
    )
    if training.value("steps") is not None:
        change.said.append(
            "max_steps is as it was, so the task rows are seen "
            f"{100 * share:.0f} % less often than without the safety rows."
        )
    place = to.with_name(f"{to.stem}.safety.jsonl")
    if training.format == "axolotl":
        _mix_axolotl(change, content, rows, count, place)
    elif training.format == "LLaMA-Factory":
        _mix_llama_factory(change, content, rows, count, share, training, to)
    else:
        _mix_trl(change, content, rows, count, place)


def _mix_axolotl(
    change: Change, content: Mapping[str, Any], rows: SafetyRows, count: int, place: Path
) -> None:
    """An entry of the same type as the first dataset's, so that prompts are written alike."""
    first = (content.get("datasets") or [{}])[0]
    kind: Any = first.get("type")
    entry = {"path": _from_start(place, first.get("path")), "ds_type": "json"}
    if isinstance(kind, dict) and kind.get("field_instruction") and kind.get("field_output"):
        names = kind["field_instruction"], kind["field_output"]
        change.files[place] = rows.lines(lambda q, a: dict(zip(names, (q, a), strict=True)), count)
    elif isinstance(kind, str) and kind.partition(":")[0] in ("alpaca", "alpaca_chat"):
        change.files[place] = rows.lines(instruction, count)
    elif isinstance(kind, str) and kind.startswith("sharegpt"):
        change.files[place] = rows.lines(_sharegpt, count)
    else:
        kind = "chat_template"
        change.files[place] = rows.lines(messages, count)
    shared = {name: first[name] for name in _SHARED if name in first}
    change.items["datasets"] = {**entry, "type": kind, **shared}


def _sharegpt(question: str, answer: str) -> dict[str, Any]:
    turns = (("human", question), ("gpt", answer))
    return {"conversations": [{"from": who, "value": text} for who, text in turns]}


def _from_start(place: Path, beside: Any) -> str:
    """The path of a file as trainers find it from where they are started.

    That is where ``beside`` of the person's file begins, or else this folder. A file elsewhere has
    its whole path.
    """
    start = Path()
    if isinstance(beside, str) and not Path(beside).exists() and (place.parent / beside).exists():
        start = place.parent
    path = os.path.relpath(place.resolve(), start.resolve())
    return str(place.resolve()) if path.startswith("..") else path


def _mix_llama_factory(
    change: Change,
    content: Mapping[str, Any],
    rows: SafetyRows,
    count: int,
    share: float,
    training: TrainingFile,
    to: Path,
) -> None:
    """A folder of datasets with those of the file and the safety rows."""
    named = content.get("dataset")
    names = [n.strip() for n in named.split(",")] if isinstance(named, str) else list(named or [])
    if isinstance(named, str):
        change.settings["dataset"] = ",".join([*names, _NAME])
    else:
        change.items["dataset"] = _NAME
    probabilities = content.get("interleave_probs")
    if probabilities and str(content.get("mix_strategy", "concat")).startswith("interleave"):
        count = len(rows)
        old = probabilities.split(",") if isinstance(probabilities, str) else probabilities
        new = [f"{float(p) * (1 - share):.6g}" for p in old]
        change.settings["interleave_probs"] = ",".join([*new, f"{share:.6g}"])
        change.said.append("mix_strategy draws the safety rows with their share.")
    folder = to.with_name(f"{to.stem}_data")
    safety = folder / f"{_NAME}.jsonl"
    change.files[safety] = rows.lines(instruction, count)
    entry = {"file_name": safety.name, "columns": {"prompt": "instruction", "response": "output"}}
    file, *infos = map(Path, training.files)
    if not infos:
        change.said.append(
            f"Describe {_NAME} in your {INFO}: "
            f"{json.dumps({**entry, 'file_name': str(safety.resolve())})}."
        )
        return
    info = infos[0]
    described = read_settings(info)
    kept = {name: dict(described[name]) for name in names}
    for one in kept.values():
        if isinstance(one.get("file_name"), str):
            one["file_name"] = os.path.relpath(info.parent / one["file_name"], folder)
    change.files[folder / INFO] = json.dumps({**kept, _NAME: entry}, indent=2) + "\n"
    start = start_of(file, content.get("dataset_dir"), info)
    change.settings["dataset_dir"] = os.path.relpath(folder.resolve(), start.resolve())


def _mix_trl(
    change: Change, content: Mapping[str, Any], rows: SafetyRows, count: int, place: Path
) -> None:
    """An entry of TRL's own mixture, of the columns that its first dataset has."""
    listed = content.get("datasets") or []
    name = content.get("dataset_name")
    shape = _trl_shape(listed[0] if listed else {})
    change.files[place] = rows.lines(shape, count)
    if not listed and name is None:
        change.said.append(
            f"This file names no data: add the rows of {place.name} to the training set, or "
            "mix them with finebound.trl.mixed_dataset."
        )
        return
    entry = {"path": "json", "data_files": _from_start(place, name)}
    if listed:
        change.items["datasets"] = entry
    else:
        first = {
            "path": name,
            "name": content.get("dataset_config"),
            "split": content.get("dataset_train_split"),
        }
        change.settings["datasets"] = [{n: v for n, v in first.items() if v is not None}, entry]
        change.settings["dataset_name"] = None
    columns: str = ", ".join(shape("", ""))
    change.said.append(f"TRL needs the same columns in all datasets: {place.name} has {columns}.")


def _trl_shape(first: Mapping[str, Any]) -> Callable[[str, str], dict[str, Any]]:
    """The rows' shape: that of the first dataset's columns, or of its file's first row."""
    columns = set(first.get("columns") or [])
    files = first.get("data_files")
    if not columns and isinstance(files, str) and Path(files).suffix == ".jsonl":
        try:
            with Path(files).open(encoding="utf-8") as stream:
                columns = set(json.loads(stream.readline()))
        except (OSError, ValueError, TypeError):
            columns = set()
    if {"prompt", "completion"} <= columns:
        return lambda question, answer: {"prompt": question, "completion": answer}
    return messages
