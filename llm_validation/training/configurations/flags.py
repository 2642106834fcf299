"""Flags of the command beside a training configuration: they say the same, and win."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from finebound.base.errors import InputError
from llm_validation.training.configurations.described import ENOUGH_ROWS
from llm_validation.training.configurations.training_file import Setting, TrainingFile, plan_for

FLAGS = {
    "epochs": "epochs",
    "steps": "steps",
    "batch_size": "batch_size",
    "gradient_accumulation": "gradient_accumulation",
    "learning_rate": "learning_rate",
    "schedule": "schedule",
    "warmup": "warmup",
    "weight_decay": "weight_decay",
    "method": "method.kind",
    "rank": "method.rank",
    "alpha": "method.alpha",
    "targets": "method.targets",
    "objective": "objective.kind",
    "beta": "objective.beta",
    "precision": "precision",
    "max_length": "max_length",
    "seed": "seed",
}
"""Every flag with the setting that it says; None is a flag that was not given."""
_LORAS = ("lora", "qlora")
# What a flag makes void, because it was said for what the flag replaces.
_VOID = {
    "steps": ("epochs",),
    "epochs": ("steps",),
    "warmup": ("warmup_share",),
    "schedule": ("schedule_options",),
}


def with_flags(training: TrainingFile, **overrides: Any) -> TrainingFile:
    """The configuration with what the flags say (``FLAGS``) in place of what the file says.

    ``warmup`` is in steps, or a share of them below 1. A rank without an alpha beside it or in
    the file gets twice the rank, as in ``finebound finetune``. Raises InputError for flags that
    contradict each other or make no plan, TypeError for a flag that there is not.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if unknown := given.keys() - FLAGS.keys():
        raise TypeError(f"there is no flag {', '.join(sorted(unknown))}")
    if {"epochs", "steps"} <= given.keys():
        raise InputError("`epochs` and `steps` are both given.", remedy="Give one of them.")
    settings = dict(training.settings)
    _leave_out_what_no_longer_applies(settings, given)
    for flag, value in given.items():
        name = FLAGS[flag]
        instead = [old for old in (name, *_VOID.get(flag, ())) if old in training.settings]
        for old in _VOID.get(flag, ()):
            settings.pop(old, None)
        if flag == "warmup" and 0 < value < 1:
            settings.pop("warmup", None)
            name = "warmup_share"
        value = list(value) if isinstance(value, tuple) else value
        settings[name] = Setting(value, _source(flag, training, instead))
    if "rank" in given and "method.alpha" not in settings:
        settings["method.alpha"] = Setting(2.0 * given["rank"], f"twice {_option('rank')}")
    accumulation = settings.get("gradient_accumulation")
    most = given.get("gradient_accumulation", given.get("batch_size", math.inf))
    if accumulation is not None and accumulation.value > most:
        del settings["gradient_accumulation"]  # it changes memory alone
    said = {FLAGS[flag] for flag in given}
    changed = dataclasses.replace(
        training,
        settings=settings,
        assumed=tuple(key for key in training.assumed if key.name not in said),
    )
    plan_for(changed, ENOUGH_ROWS)
    return changed


def _leave_out_what_no_longer_applies(settings: dict[str, Setting], given: dict[str, Any]) -> None:
    kind = settings.get("method.kind")
    old = None if kind is None else kind.value
    if "method" in given and given["method"] != old:
        if given["method"] not in _LORAS or old not in _LORAS:
            _drop(settings, "method.")
        settings.pop("method.double_quant", None)
    if given.get("objective") == "sft":
        _drop(settings, "objective.")


def _drop(settings: dict[str, Setting], group: str) -> None:
    for name in [name for name in settings if name.startswith(group)]:
        del settings[name]


def _source(flag: str, training: TrainingFile, instead: list[str]) -> str:
    told = [training.settings[name] for name in instead]
    said = [f"{s.value} ({s.source})" for s in told if not s.is_default]
    name = _option(flag)
    return f"{name}, instead of {' and '.join(said)}" if said else name


def _option(flag: str) -> str:
    return f"--{flag.replace('_', '-')}"
