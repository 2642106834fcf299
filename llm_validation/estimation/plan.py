"""The fine-tune that is asked about: a training configuration and settings that win over it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from finebound.results.outlook import PlanSetting
from llm_validation.estimation.request import Request
from llm_validation.training.configurations import (
    Setting,
    TrainingFile,
    described,
    plan_for,
    read_training,
    with_flags,
)
from llm_validation.training.plan import Lora, TrainingPlan

if TYPE_CHECKING:
    from llm_validation.models.loading import LoadedModel

USUAL = TrainingFile(
    settings={
        "steps": Setting.default(100, "finebound estimate"),
        "learning_rate": Setting.default(2e-4, "finebound estimate"),
        "batch_size": Setting.default(8, "finebound estimate"),
    }
)
"""The plan where nothing else is said."""
_FLAGS = (
    *("learning_rate", "steps", "epochs", "batch_size", "method", "rank", "alpha", "targets"),
    *("schedule", "warmup", "weight_decay", "objective", "precision", "max_length"),
)


def training_of(request: Request) -> TrainingFile:
    """What was understood of the request's training file and settings. Raises InputError."""
    training = USUAL if request.training is None else read_training(request.training)
    given = {name: getattr(request, name) for name in _FLAGS}
    if request.coordinates == "all" and given["method"] is None:
        given["method"] = "full"
    return with_flags(training, **given)


def plan_of(
    request: Request, training: TrainingFile, rows: int, loaded: LoadedModel | None = None
) -> TrainingPlan:
    """The plan of ``training_of(request)`` with ``rows`` task rows.

    A LoRA without targets in the model adapts what it has. Rows that are too long are left out.
    Raises InputError for settings that contradict each other.
    """
    plan = plan_for(training, rows)
    if loaded is not None and isinstance(plan.method, Lora):
        from llm_validation.measure.coordinates import default_targets

        targets = plan.method.targets
        if targets == Lora().targets:
            targets = default_targets(loaded.model, targets)
        plan = replace(plan, method=replace(plan.method, targets=targets))
    return replace(plan, drop_long=True, truncate=False, seed=request.seed or plan.seed)


def plan_settings(training: TrainingFile, rows: int) -> tuple[PlanSetting, ...]:
    """Every setting that decides the weights, and what says so."""
    return tuple(
        PlanSetting(name=row.name, value=_plain(row.value), source=row.source)
        for row in described(training, rows)
    )


def plan_notes(training: TrainingFile) -> tuple[str, ...]:
    """What the training file leaves open, contradicts or says that the forecast does not hold."""
    outside = (f"{key.name} is {key.value}. {key.what}" for key in training.not_modelled)
    unread = (f"{key.name} {key.what}." for key in training.unread)
    assumed = (key.what for key in training.assumed)
    return (*training.contradictions, *outside, *unread, *assumed)


def _plain(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
