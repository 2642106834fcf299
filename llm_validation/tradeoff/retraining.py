"""Defences of the stage "during": the undefended run made again with a defence in its plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_validation.defences.alignment import Alignment
from llm_validation.defences.protocol import Defence, Evidence
from llm_validation.experiments.datasets import SAFETY, task_set
from llm_validation.experiments.prepare import Prepared, on_device
from llm_validation.experiments.run import Measured
from llm_validation.models.loading import LoadedModel
from llm_validation.tradeoff.grid_points import budget_of
from llm_validation.training.evaluation import write_evaluation
from llm_validation.training.finetune import finetune
from llm_validation.training.plan import TrainingPlan
from llm_validation.training.record import EVALUATIONS, TRAIN_PROXY, TRAIN_TASK


def train_defended(
    defence: Defence[TrainingPlan],
    run: Measured,
    prepared: Prepared,
    alignment: Alignment,
    folder: Path,
) -> tuple[LoadedModel, dict[str, Any]]:
    """The model, and the budget that made it, of the run's own rows, seed and plan.

    The safety rows of a defence that takes some are those theta_s was trained on. A fine-tune
    that was interrupted in ``folder`` goes on. Raises InputError where the defence does not fit
    the run's method or plan.
    """
    defence.fit(Evidence(safety=prepared.sets[SAFETY], alignment=alignment))
    # The same steps on the same rows; what is compared is measured by the caller.
    plain = replace(run.run.plan, evaluate_at=(), training_sets_at="ends")
    plan = defence.apply(plain)
    start = {TRAIN_TASK: prepared.start(task_set(run.run.task))}
    if plan.uses_proxy:
        start[TRAIN_PROXY] = prepared.start(SAFETY)
    if not (folder / EVALUATIONS).is_dir():
        write_evaluation(folder / EVALUATIONS, 0, start)
    rule = plan.early_stopping
    trained = finetune(
        prepared.load_aligned(),
        prepared.sets[task_set(run.run.task)],
        getattr(defence, "proxy", None),
        plan,
        out=folder,
        monitors={} if rule is None else {rule.monitor: prepared.sets[rule.monitor]},
        alignment=getattr(defence, "pair", None),
    )
    assert trained.model is not None  # read_run alone gives none
    budget = budget_of(plan, trained.steps_done, against=run)
    if plan.needs_alignment:
        budget["needs"] += ", the base's and the aligned weights"
    return on_device(trained.model), budget
