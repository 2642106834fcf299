"""The whole plan in rows: what each setting is, and what says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from llm_validation.training.configurations.training_file import OUTSIDE, TrainingFile, plan_for

ENOUGH_ROWS = 1_000_000
"""Rows of a task that no warm-up is too long for: to check a plan whose steps are not known."""
_NOT_OF_THE_WEIGHTS = (
    "checkpoint_every",
    "checkpoint_seconds",
    "evaluate_at",
    "training_sets_at",
    "gradient_checkpointing",
)
_OF_EPOCHS = {"steps": "epochs", "warmup": "warmup_share"}


class Described(NamedTuple):
    """One setting: its name in the plan, its value, and the key, flag or default that says it."""

    name: str
    value: Any
    source: str


def described(training: TrainingFile, rows: int | None = None) -> tuple[Described, ...]:
    """Every setting that decides the weights; with ``rows`` task rows, epochs counted in steps.

    Raises InputError as ``plan_for``.
    """
    plan = plan_for(training, ENOUGH_ROWS if rows is None else rows).as_dict()
    # No dual ascent without a loss constraint's epsilon.
    left_out = {*_NOT_OF_THE_WEIGHTS, "dual_start", "dual_rate"}
    plan = {name: value for name, value in plan.items() if name not in left_out}
    plan.setdefault("objective", {"kind": "sft"})
    return tuple(_rows(training, dict(_flat(plan)), rows))


def _rows(training: TrainingFile, plan: Mapping[str, Any], rows: int | None) -> Iterator[Described]:
    told = training.settings
    for name, value in plan.items():
        counted = _OF_EPOCHS.get(name, name)
        if counted in told and counted != name:
            setting = told[counted]
            yield Described(counted, setting.value, setting.source)
            if rows is not None:
                yield Described(name, value, f"{counted}, with {rows} rows")
        else:
            yield Described(name, value, told[name].source if name in told else "default")
    rest = [name for name in OUTSIDE if name in told and name not in _OF_EPOCHS.values()]
    yield from (Described(name, told[name].value, told[name].source) for name in rest)


def _flat(plan: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in plan.items():
        if isinstance(value, dict) and name != "schedule_options":
            yield from ((f"{name}.{inner}", item) for inner, item in value.items())
        else:
            yield name, value
