"""A plan of finebound: settings of a training plan, a run's ``run.json``, or the configuration
that ``finebound finetune`` and ``finebound validate`` take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from llm_validation.training.configurations.reading import (
    NOTHING,
    Reading,
    count,
    mapping,
    short,
    text,
)
from llm_validation.training.configurations.training_file import Key, TrainingFile
from llm_validation.training.plan import TrainingPlan, plan_from_dict

MARKS = (
    "method", "steps", "schedule", "warmup", "batch_size", "strategy", "clip", "objective",
    "precision", "optimizer",
)  # fmt: skip
PLAN = tuple(field.name for field in fields(TrainingPlan))
_GROUPS = ("method", "strategy", "objective", "early_stopping")
_ITS_OWN = "estimate compares strategies of its own"
_OF_STRATEGIES = ("proxy_batch_size", "dual_start", "dual_rate")
_OF_EXPERIMENT = {
    "grid": _ITS_OWN,
    "proxies": _ITS_OWN,
    "alignment": "estimate takes the model as it is",
    "safety": "the safety rows are those of `safety`",
    "adapter": "the model's own adapter is that of `adapter`",
}


def read(content: Mapping[str, Any], file: Path) -> TrainingFile:
    """The plan in ``content``."""
    if "grid" in content:
        return _read_experiment(content, file)
    reading = Reading(content, file, "finebound", ())
    plan, key = content, None
    if "identity" in content:
        plan = (reading.get(mapping, "identity") or {}).get("plan")
        reading.idle([name for name in content if name != "identity"], "the plan says it")
        key = "identity.plan"
    if not isinstance(plan, dict):
        raise reading.error("has no plan.", "Give the run.json of a run.")
    reading.known |= set(content)
    _put_plan(reading, plan, key)
    return reading.finish("finebound plan", "finebound", model=None)


def _put_plan(reading: Reading, plan: Mapping[str, Any], key: str | None) -> None:
    """Settle what a plan's entries say. Raises InputError, with the file, for an unknown one."""
    try:
        plan_from_dict(plan)
    except InputError as error:
        raise reading.error(error.what, error.remedy) from None
    for name, value in plan.items():
        source = name if key is None else f"{key}.{name}"
        if name in _GROUPS and isinstance(value, Mapping):
            for inner, item in value.items():
                reading.put(f"{name}.{inner}", item, f"{source}.{inner}")
        else:
            reading.put(name, value, source)


def _read_experiment(content: Mapping[str, Any], file: Path) -> TrainingFile:
    reading = Reading(content, file, "finebound", ())
    methods = reading.get(mapping, "methods") or {"lora": {"kind": "lora"}}
    if len(methods) > 1:
        raise reading.error(
            f"describes {len(methods)} methods: {', '.join(map(str, methods))}.",
            "Leave one of them, or give a run's run.json.",
        )
    ((name, method),) = methods.items()
    if not isinstance(method, dict):
        raise reading.error(f"methods.{name} is {short(method)}.", "Give an object.")
    method, key = dict(method), f"methods.{name}"
    plan: dict[str, Any] = dict(reading.get(mapping, "training") or {})
    for name in [name for name in plan if name in _OF_STRATEGIES]:
        reading.unread.append(Key(f"training.{name}", short(plan.pop(name)), _ITS_OWN))
    _put_plan(reading, plan, "training")
    own: dict[str, Any] = {}
    if (rate := method.pop("learning_rate", None)) is not None:
        own["learning_rate"] = rate
    objective = {
        inner: method.pop(outer)
        for outer, inner in (("objective", "kind"), ("beta", "beta"))
        if method.get(outer) is not None
    }
    own["method"] = {name: value for name, value in method.items() if value is not None}
    if objective:
        own["objective"] = objective
    _put_plan(reading, own, key)
    longest = reading.get(count(), "rows.max_length")
    if longest is not None:
        reading.put("max_length", longest, "rows.max_length")
        reading.put("drop_long", True, "rows.max_length")
    tasks = reading.get(mapping, "tasks") or {}
    model = reading.get(text, "model")
    rest = [name for name in content if name not in reading.known]
    reading.unread += [Key(name, "", _OF_EXPERIMENT.get(name, NOTHING)) for name in rest]
    reading.known |= set(content)
    return reading.finish(
        "finebound configuration",
        "finebound",
        model=model,
        tasks=[task for task in tasks.values() if isinstance(task, str)],
    )
