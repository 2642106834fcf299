"""The fine-tune that is asked about: a training configuration and settings that win over it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from finebound.base.errors import InputError
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


@dataclass(frozen=True)
class Inputs:
    """A request with the model of its training file, where it names none itself.

    ``tasks`` are references of the task data, whose rows are taken together. ``taken`` are
    sentences on what is the file's.
    """

    request: Request
    training: TrainingFile
    tasks: tuple[str, ...]
    taken: tuple[str, ...] = ()
    model_is_given: bool = True


def inputs_of(request: Request) -> Inputs:
    """What the request leaves open, by its training file. Raises InputError for what is missing."""
    training = training_of(request)
    tasks = training.tasks if request.task is None else (request.task,)
    model = request.model
    # Safety data alone, without a budget of refusals, are a question about texts.
    needs_model = request.safety is None or bool(request.budget)
    if model is None and needs_model and training.model is not None:
        beside = Path(training.files[0]).parent / training.model
        is_beside = not Path(training.model).expanduser().exists() and beside.exists()
        model = str(beside) if is_beside else training.model
    for name, missing, what in (
        ("task", not tasks, "task data"),
        ("model", model is None and needs_model, "model"),
    ):
        if missing:
            raise InputError(
                f"names no {what}, and `{name}` is missing.",
                remedy=f"Give `{name}`.",
                file=request.training,
            )
    taken = _taken(request, training, tasks, model)
    return Inputs(replace(request, model=model), training, tasks, taken, request.model is not None)


def _taken(
    request: Request, training: TrainingFile, tasks: tuple[str, ...], model: str | None
) -> tuple[str, ...]:
    file, said = request.training, list[str]()
    if request.task is None:
        said.append(f"The task data are those of {file}: {', '.join(tasks)}.")
    if request.model is None and model is not None:
        said.append(f"The model is that of {file}: {model}.")
    if model is not None and training.template not in (None, "tokenizer_default"):
        said.append(
            f"{file} has the chat template {training.template}. The forecast writes the rows with "
            "the model's own."
        )
    return tuple(said)


@contextmanager
def named_by(file: str | None, setting: str) -> Generator[None]:
    """Inside, an error is of what this training file names (None: the request does)."""
    try:
        yield
    except InputError as error:
        if file is None:
            raise
        raise InputError(
            error.what,
            remedy=f"{error.remedy} {file} names it; `{setting}` names another.",
            file=error.file,
            row=error.row,
        ) from error


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


def plan_notes(inputs: Inputs) -> tuple[str, ...]:
    """What is taken of the training file, and what it leaves open, contradicts or says that the
    forecast does not hold."""
    training = inputs.training
    outside = (f"{key.name} is {key.value}. {key.what}" for key in training.not_modelled)
    unread = (f"{key.name} {key.what}." for key in training.unread)
    assumed = (key.what for key in training.assumed if key.name != "task")
    return (*inputs.taken, *training.contradictions, *outside, *unread, *assumed)


def _plain(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
