"""A finished experiment as the comparison of defences reads it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from finebound.base.integrity import read_record
from finebound.base.progress import Progress, silent
from finebound.results.experiment import ExperimentResult
from llm_validation.experiments.config import Experiment, expand, experiment_of
from llm_validation.experiments.prepare import Prepared, read_prepared
from llm_validation.experiments.run import Measured, check_folder, read_measured
from llm_validation.experiments.worker import EXPERIMENT
from llm_validation.models.loading import source_folder


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished experiment: its rows and theta_s, its finished runs, what it recorded."""

    prepared: Prepared
    runs: tuple[Measured, ...]
    missing: tuple[str, ...]
    document: dict[str, Any]


def read_finished(folder: Path) -> Finished:
    """The experiment in ``folder``. Raises InputError when it is none or not finished."""
    remedy = "Give the folder that `finebound validate CONFIG --out FOLDER` finished."
    found = []
    for name in (EXPERIMENT, ExperimentResult.file):
        file = folder / name
        if not file.is_file():
            raise InputError(
                f"this is no finished experiment: {name} is missing.", remedy=remedy, file=folder
            )
        found.append(read_record(file, remedy=remedy))
    experiment = experiment_of(found[0], file=folder / EXPERIMENT)
    prepared = read_prepared(experiment, folder)
    runs, missing = [], []
    for run in expand(experiment):
        if check_folder(run, prepared) is None:
            missing.append(run.id)
        else:
            runs.append(read_measured(run, prepared))
    return Finished(prepared, tuple(runs), tuple(missing), found[1])


def unconstrained(finished: Finished, task: str) -> list[Measured]:
    """The runs that are defended afterwards: the task's unconstrained ones of its first method.

    Raises InputError where there is none or one is not done, and for a method whose weights no
    defence here takes.
    """
    experiment = finished.prepared.experiment
    free = [r for r in expand(experiment) if r.task == task and r.plan.strategy is None]
    if not free:
        raise InputError(
            f"the grid has no unconstrained run of the task {task}, and that is what is defended.",
            remedy='Give it a block with "unconstrained": true.',
            file=finished.prepared.out,
        )
    order = list(experiment.methods)
    first = min((run.method for run in free), key=order.index)
    wanted = [run.id for run in free if run.method == first]
    if absent := [name for name in wanted if name in finished.missing]:
        raise InputError(
            f"the run {absent[0]} is not done, and that is what is defended.",
            remedy="Start the experiment again: it goes on with it.",
            file=finished.prepared.out,
        )
    (kind,) = {run.plan.method.kind for run in free if run.method == first}
    if kind not in ("lora", "full"):
        raise InputError(
            f"the unconstrained run's method {first} is a {kind}.",
            remedy="Defences are compared on LoRA and on full fine-tunes: put such a method first.",
            file=finished.prepared.out,
        )
    return [m for m in finished.runs if m.run.id in wanted]


def task_of(finished: Finished, asked: str | None) -> str:
    """The task asked for, by default that of the most runs. Raises InputError for no task."""
    tasks = finished.prepared.experiment.tasks
    if asked is None:
        counts = Counter(m.run.task for m in finished.runs)
        return counts.most_common(1)[0][0] if counts else next(iter(tasks))
    if asked not in tasks:
        raise InputError(
            f"the experiment has no task {asked!r}.", remedy=f"Use one of {', '.join(tasks)}."
        )
    return asked


def require_base(base: Path, prepared: Prepared) -> None:
    """Raises InputError when the folder's model is not the one that was aligned."""
    from llm_validation.models.loading import load_model

    remedy = f"Give the folder of {prepared.document['model']['name']} as `base`."
    try:
        found = load_model(base).sha256
    except InputError as error:
        raise InputError(error.what, remedy=remedy, file=error.file or base) from error
    if found != prepared.document["model"]["sha256"]:
        raise InputError(
            "this is not the model that the experiment aligned.", remedy=remedy, file=base
        )


def base_folder(
    experiment: Experiment, given: str | Path | None = None, *, progress: Progress = silent
) -> Path:
    """The folder of the model that the experiment aligned: as given, or as it is configured.

    Raises InputError where that is a model of the hub that is not to be had.
    """
    if given is not None:
        return source_folder(given, progress=progress)
    try:
        return source_folder(experiment.model, progress=progress)
    except InputError as error:
        raise InputError(
            f"of the model that the experiment aligned: {error.what}",
            remedy=f"Give its folder as `base`. {error.remedy}",
        ) from error
