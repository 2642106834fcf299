"""The configuration of one fine-tune from a few options: the user's model as it is, one run."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError
from llm_validation.experiments.config import ORIGINAL, Experiment, experiment_of
from llm_validation.experiments.datasets import draw_sets, task_set
from llm_validation.experiments.one_run_options import OneRun
from llm_validation.training.methods import METHODS, Lora

if TYPE_CHECKING:
    from llm_validation.data.dataset import Dataset
    from llm_validation.models.loading import Reader

SAFETY = "builtin:safety"
"""The safety data where none are named."""
LEARNING_RATES = {
    "lora": 2e-4, "qlora": 2e-4, "full": 2e-5, "ia3": 3e-3, "prompt-tuning": 3e-2, "p-tuning": 1e-3
}  # fmt: skip
"""What people take for each method, where none is named."""
DPO_SLOWER = 20.0
"""Preferences are learnt at so much lower a rate."""
_PARTS = {"landscape": "landscape", "forecast": "forecast", "answers": "generations"}
_OF_LORA = ("lora", "qlora")
_TARGETED = (*_OF_LORA, "ia3")


@dataclass(frozen=True)
class Planned:
    """One run's experiment, and what a person should know of how it came to be."""

    experiment: Experiment
    notes: tuple[str, ...]


def plan_one_run(asked: OneRun) -> Planned:
    """The whole configuration of the run; reads the data and the tokenizer, and no weight.

    Raises InputError that names everything wrong with the options together.
    """
    faults = _Faults()
    _check_options(asked, faults)
    datasets = _datasets(asked, faults)
    model, rows = asked.model, asked.task
    reader: Reader | None = None
    if model is not None:
        reader = faults.catch("`model`", lambda: _reader(model, asked.max_length))
    targets = _targets(asked, reader, faults)
    if "task" in datasets:
        _check_task(asked, datasets["task"], faults)
    faults.stop()
    assert model is not None
    assert rows is not None
    assert reader is not None
    notes: list[str] = []
    if asked.safety is None:
        notes.append(
            f"No `safety` is given: safety is measured on the built-in safety set ({SAFETY}), "
            "harmful requests that are refused and harmless look-alikes that are answered."
        )
    if asked.objective is None and any(e.rejected for e in datasets["task"].examples):
        notes.append(
            "The task rows are preference pairs: their chosen answers are learnt; `objective` dpo "
            "learns the preference."
        )
    if targets == ("all-linear",) and asked.targets is None:
        usual = ", ".join(Lora().targets)
        notes.append(f"The model has no modules {usual}: the LoRA is on all linear modules.")
    task = _name_of(rows)
    content: dict[str, Any] = {
        **_content(asked, task, datasets["task"], targets),
        "description": f"One fine-tune of {model} as it is, on {rows}.",
        "model": _reference(model),
        "tasks": {task: _reference(rows)},
    }
    steps, told = _steps(asked, task, content, reader)
    content["training"]["steps"] = steps
    return Planned(experiment_of(content, file="the options"), (*notes, told))


def _content(
    asked: OneRun, task: str, rows: Dataset, targets: tuple[str, ...] | None
) -> dict[str, Any]:
    dpo = asked.objective == "dpo"
    rate = asked.learning_rate or LEARNING_RATES[asked.method] / (DPO_SLOWER if dpo else 1.0)
    named: dict[str, Any] = {
        "rank": asked.rank,
        # Twice the rank, as is usual, where only that is named.
        "alpha": asked.alpha or (None if asked.rank is None else 2.0 * asked.rank),
        "targets": targets,
        "beta": asked.beta,
        "objective": "dpo" if dpo else None,
    }
    method = {"kind": asked.method, "learning_rate": rate} | {
        name: value for name, value in named.items() if value is not None
    }
    training = {
        "steps": 1,
        "schedule": asked.schedule,
        "warmup": asked.warmup,
        "batch_size": asked.batch_size,
        "gradient_accumulation": asked.gradient_accumulation,
        "weight_decay": asked.weight_decay,
        "precision": asked.precision,
        "training_sets_at": "ends",
    }
    role = ORIGINAL if asked.proxy is None else asked.proxy
    proxies = {"original" if asked.proxy is None else "given": _reference(role)}
    content = {
        "name": "finetune",
        "safety": _reference(asked.safety or SAFETY),
        "proxies": proxies if asked.lam is not None else {},
        "methods": {asked.method: method},
        "rows": {
            "task": min(len(rows), asked.rows or len(rows)),
            "held_out": asked.held_out,
            "max_length": asked.max_length,
            "drop_unusable": asked.drop_unusable,
            "ignore_columns": asked.ignore_columns,
        },
        "alignment": None,
        "training": training,
        "grid": [{"tasks": [task], "seeds": [asked.seed], **_strategy(asked, list(proxies))}],
        "seed": asked.seed,
        **{_PARTS[part]: None for part in asked.skip},
    }
    return content if asked.adapter is None else {**content, "adapter": _reference(asked.adapter)}


def _strategy(asked: OneRun, proxies: list[str]) -> dict[str, Any]:
    match asked.lam, asked.radius:
        case None, None:
            return {"unconstrained": True}
        case None, radius:
            return {"radius": [radius]}
        case lam, None:
            return {"lam": [lam], "proxies": proxies}
        case lam, radius:
            return {"hybrid": [{"lam": lam, "radius": radius}], "proxies": proxies}


def _steps(asked: OneRun, task: str, content: dict[str, Any], reader: Reader) -> tuple[int, str]:
    """Optimiser steps, and a sentence on how many rows they are."""
    rows = len(draw_sets(experiment_of(content, file="the options"), reader)[task_set(task)])
    if asked.steps is not None:
        epochs = asked.steps * asked.batch_size / rows
        return (
            asked.steps,
            f"{asked.steps} steps of {asked.batch_size} of {rows} task rows are "
            f"{epochs:.3g} epochs.",
        )
    epochs = 1.0 if asked.epochs is None else asked.epochs
    steps = max(1, math.ceil(epochs * rows / asked.batch_size))
    return steps, (
        f"{epochs:g} epochs of {rows} task rows, {asked.batch_size} a step, are {steps} steps; "
        "the held-out rows are in none."
    )


class _Faults:
    """Everything that is wrong, told together."""

    def __init__(self) -> None:
        self.found: list[InputError] = []

    def add(self, what: str, remedy: str) -> None:
        self.found.append(InputError(what, remedy=remedy))

    def catch(self, option: str, make: Any) -> Any:
        """What ``make`` gives, or None with its fault noted under the option's name."""
        try:
            return make()
        except InputError as error:
            where = "" if error.file is None else f" {error.file}"
            row = "" if error.row is None else f", row {error.row}"
            self.add(f"{option}{where}{row}: {error.what}", error.remedy)
            return None

    def stop(self) -> None:
        """Raises InputError when there is a fault: of several as one numbered paragraph."""
        if not self.found:
            return
        if len(self.found) == 1:
            raise self.found[0]
        told = [f"({n}) {fault.what} {fault.remedy}" for n, fault in enumerate(self.found, 1)]
        raise InputError(
            f"{len(self.found)} things are wrong. {' '.join(told[:-1])}", remedy=told[-1]
        )


def _check_options(asked: OneRun, faults: _Faults) -> None:
    if asked.model is None:
        faults.add("`model` is not given.", 'Name a folder, a hub id, or "packaged".')
    if asked.task is None:
        faults.add("`task` is not given.", "Name the rows to fine-tune on.")
    for name, least in (
        ("rank", 1), ("steps", 1), ("batch_size", 1), ("gradient_accumulation", 1), ("rows", 1),
        ("warmup", 0), ("held_out", 2), ("max_length", 8), ("seed", 0),
    ):  # fmt: skip
        value = getattr(asked, name)
        if value is not None and value < least:
            faults.add(f"`{name}` is {value}.", f"Give a whole number from {least}.")
    for name in ("alpha", "beta", "epochs", "learning_rate", "lam", "radius"):
        value = getattr(asked, name)
        if value is not None and not 0.0 < value < math.inf:
            faults.add(f"`{name}` is {value}.", "Give a number greater than 0.")
    if not 0.0 <= asked.weight_decay < math.inf:
        faults.add(f"`weight_decay` is {asked.weight_decay}.", "Give a number, at least 0.")
    if asked.epochs is not None and asked.steps is not None:
        faults.add("`epochs` and `steps` are both given.", "Give one of them.")
    if asked.steps is not None and 0 < asked.steps <= asked.warmup:
        faults.add(
            f"`warmup` takes {asked.warmup} of {asked.steps} steps.", "Warm up for fewer steps."
        )
    if 0 < asked.batch_size < asked.gradient_accumulation:
        faults.add(
            f"`gradient_accumulation` cuts {asked.batch_size} rows into "
            f"{asked.gradient_accumulation} parts.",
            "Lower it, or raise `batch_size`: those are the rows of a whole step.",
        )
    if asked.method not in METHODS:
        faults.add(f"`method` is {asked.method}.", f"Use one of {', '.join(METHODS)}.")
    for name, methods in (("rank", _OF_LORA), ("alpha", _OF_LORA), ("targets", _TARGETED)):
        if getattr(asked, name) is not None and asked.method not in methods:
            faults.add(
                f"`{name}` is given with `method` {asked.method}.",
                f"It belongs to {', '.join(methods)}: leave it out, or change the method.",
            )
    if asked.beta is not None and asked.objective != "dpo":
        faults.add("`beta` is given without `objective` dpo.", "Leave it out, or learn by dpo.")
    if asked.proxy is not None and asked.lam is None:
        faults.add(
            "`proxy` is given without `lam`, and nothing would use it.",
            "Say with `lam` how much its loss weighs, or leave it out.",
        )


def _datasets(asked: OneRun, faults: _Faults) -> dict[str, Dataset]:
    from llm_validation.data.loading import load_with_columns, require_columns, require_rows

    columns: dict[str, tuple[str, ...]] = {}

    def read(ref: str, role: str) -> Dataset:
        dataset, columns[ref] = load_with_columns(
            ref, drop_unusable=asked.drop_unusable, ignore_columns=asked.ignore_columns
        )
        # One to train on and one held out.
        require_rows(dataset, role=role)
        return dataset

    given = {"task": asked.task, "safety": asked.safety or SAFETY, "proxy": asked.proxy}
    found = {
        role: faults.catch(f"`{role}`", lambda ref=ref, role=role: read(ref, role))
        for role, ref in given.items()
        if ref is not None
    }
    if None not in found.values():
        faults.catch("`ignore_columns`", lambda: require_columns(asked.ignore_columns, columns))
    return {role: dataset for role, dataset in found.items() if dataset is not None}


def _check_task(asked: OneRun, task: Dataset, faults: _Faults) -> None:
    if asked.objective != "dpo":
        return
    missing = [n for n, example in enumerate(task.examples, 1) if not example.rejected]
    if missing:
        faults.add(
            f"`objective` dpo learns from preference pairs, and {len(missing)} of {len(task)} rows "
            f"of {task.source} have no rejected answer, the first is row {missing[0]}.",
            "Give rows with prompt, chosen and rejected, or leave `objective` out.",
        )


def _reader(model: str, max_length: int | None) -> Reader:
    from llm_validation.models.loading import load_reader

    reader = load_reader(model)
    if max_length is not None and max_length > reader.context_length:
        raise InputError(
            f"`max_length` is {max_length}, and the model reads {reader.context_length} tokens.",
            remedy="Lower it.",
        )
    return reader


def _targets(asked: OneRun, reader: Reader | None, faults: _Faults) -> tuple[str, ...] | None:
    """The modules that are adapted; the usual ones only where the model has them."""
    if reader is None or asked.method not in _TARGETED:
        return asked.targets
    present = {name.rpartition(".")[2] for name, _ in reader.blank.named_modules()}
    if asked.targets is None:
        usual = Lora().targets
        if asked.method in _OF_LORA and not set(usual) <= present:
            return ("all-linear",)
        _check_rank(asked, reader, faults)
        return None
    if absent := [t for t in asked.targets if t not in present and t != "all-linear"]:
        import torch

        linear = {
            name.rpartition(".")[2]
            for name, module in reader.blank.named_modules()
            if isinstance(module, torch.nn.Linear)
        }
        faults.add(
            f"`targets` names {', '.join(absent)}, and the model has no such module.",
            f"Choose among {', '.join(sorted(linear))}, or all-linear.",
        )
    else:
        _check_rank(asked, reader, faults)
    return asked.targets


def _check_rank(asked: OneRun, reader: Reader, faults: _Faults) -> None:
    """No change of a matrix has a higher rank than its smaller side."""
    if asked.rank is None or asked.method not in _OF_LORA:
        return
    targets = asked.targets or Lora().targets
    weights = [
        getattr(module, "weight", None)
        for name, module in reader.blank.named_modules()
        if name.rpartition(".")[2] in targets
    ]
    sides = [min(weight.shape) for weight in weights if weight is not None]
    if sides and asked.rank > max(sides):
        faults.add(
            f"`rank` is {asked.rank}, and no change of the adapted matrices has a higher rank than "
            f"{max(sides)}.",
            "Lower it.",
        )


def _reference(ref: str) -> str:
    """A file's or folder's absolute path, so that the configuration serves from anywhere."""
    path = Path(ref).expanduser()
    return str(path.absolute()) if path.exists() else ref


def _name_of(ref: str) -> str:
    """The task's name in the run's id: that of its file."""
    last = re.split(r"[/:]", ref.rstrip("/"))[-1]
    stem = last.partition(".")[0] if "." in last else last
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", stem).strip("-.")[:40]
    return plain or "task"
