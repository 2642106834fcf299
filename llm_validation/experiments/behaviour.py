"""How an experiment's models behave: refusal, hazards, BBQ, translation, one record each.

theta_s is evaluated once, a start that is not theta_s once (the init-only control of virtual
tokens and of a quantised base), every run at its end and, where asked for, at checkpoints. A record
that is there is not made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.base.records import manifest, to_json
from finebound.results.evaluation import EvaluationResult
from llm_validation.data.dataset import Dataset
from llm_validation.experiments.behaviour_parts import AskedModel
from llm_validation.experiments.behaviour_settings import Behaviour
from llm_validation.experiments.datasets import SAFETY, held_out

if TYPE_CHECKING:
    from llm_validation.experiments.config import RunConfig
    from llm_validation.experiments.prepare import Prepared
    from llm_validation.models.loading import LoadedModel

FOLDER, STARTS = "behaviour", "starts"
THETA_S = "theta_s"
CHECK_ROWS = 4
"""Held-out safety rows whose loss says which model answered."""


def measure_starts(
    prepared: Prepared, runs: Sequence[RunConfig], *, progress: Progress = silent
) -> None:
    """Evaluate theta_s and every other start of ``runs``; before the grid, as its controls."""
    settings = prepared.experiment.behaviour
    if settings is None:
        return
    folder = prepared.out / FOLDER / THETA_S
    if not is_complete(prepared, folder):
        _evaluate(prepared.load_aligned(), prepared, folder, label=THETA_S, progress=progress)
    for run in runs:
        start = start_folder(prepared, run)
        if start is None or is_complete(prepared, start):
            continue
        _evaluate(
            start_of(run, prepared.load_aligned()),
            prepared,
            start,
            label=f"{run.method} at its start",
            progress=progress,
        )


def evaluate_run(
    loaded: LoadedModel,
    run: RunConfig,
    prepared: Prepared,
    folder: Path,
    *,
    about: Mapping[str, Any],
    progress: Progress = silent,
) -> None:
    """Evaluate a run's end into ``folder/behaviour``; ``about`` says which run and base it is."""
    if prepared.experiment.behaviour is not None:
        _evaluate(
            loaded,
            prepared,
            folder / FOLDER,
            label=label_of(run, prepared),
            about=about,
            progress=progress,
        )


def evaluate_checkpoint(
    loaded: LoadedModel,
    step: int,
    run: RunConfig,
    prepared: Prepared,
    folder: Path,
    *,
    progress: Progress = silent,
) -> None:
    """Evaluate a run after ``step`` steps into its folder, if the experiment asks for that."""
    settings = prepared.experiment.behaviour
    if settings is not None and step in checkpoint_steps(run, prepared):
        _evaluate(
            loaded,
            prepared,
            checkpoint_folder(folder, step),
            label=f"{label_of(run, prepared)} after {step} steps",
            parts=settings.checkpoint_parts,
            about={"run": run.id, "step": step},
            progress=progress,
        )


def checkpoint_steps(run: RunConfig, prepared: Prepared) -> tuple[int, ...]:
    """After which steps a run is evaluated before its end."""
    settings = prepared.experiment.behaviour
    if settings is None or settings.checkpoints is None:
        return ()
    steps = {round(f * run.plan.steps) for f in settings.checkpoints.at}
    return tuple(sorted(steps - {0, run.plan.steps}))


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Where in a run's folder its behaviour after ``step`` steps is."""
    return folder / FOLDER / f"step-{step:06d}"


def label_of(run: RunConfig, prepared: Prepared) -> str:
    """What a record of the run is called: its method, and what else the grid varies."""
    parts = [run.method]
    if run.plan.strategy is not None:
        parts.append(run.label)
    if run.proxy is not None:
        parts.append(f"proxy {run.proxy}")
    if len(prepared.experiment.tasks) > 1:
        parts.append(run.task)
    return ", ".join(parts)


def start_folder(prepared: Prepared, run: RunConfig) -> Path | None:
    """Where the run's start is evaluated; None for one that is theta_s or is not asked for.

    Runs whose methods and seeds are the same share it, whatever their learning rates.
    """
    from llm_validation.training.methods import method_as_dict

    settings = prepared.experiment.behaviour
    if settings is None or not settings.starts or run.plan.method.starts_at_theta_s:
        return None
    about = [method_as_dict(run.plan.method), run.plan.seed, run.plan.precision]
    digest = hashlib.sha256(to_json(about).encode()).hexdigest()[:16]
    return prepared.out / FOLDER / STARTS / f"{run.plan.method.kind}-{digest}"


def start_of(run: RunConfig, loaded: LoadedModel) -> LoadedModel:
    """The model of a run before its first step; ``loaded`` is theta_s and is changed in place."""
    from llm_validation.training.methods import attach
    from llm_validation.training.precision import resolve_precision

    plan = run.plan
    model = attach(
        loaded.model,
        plan.method,
        seed=plan.seed,
        tokenizer=loaded.tokenizer,
        compute=resolve_precision(plan.precision).used,
    )
    return replace(loaded, model=model.eval(), name=f"{loaded.name} + {plan.method.kind}")


def is_complete(prepared: Prepared, folder: Path) -> bool:
    """Whether ``folder`` holds every record that the experiment asks for, as it asks for it."""
    settings = prepared.experiment.behaviour
    return settings is None or all(
        _known(folder, part, key_of(prepared, settings, part)) for part in settings.parts
    )


def read_records(prepared: Prepared, folder: Path) -> dict[str, EvaluationResult]:
    """Every record of one model that the experiment asks for, by its evaluation's name."""
    settings = prepared.experiment.behaviour
    if settings is None:
        return {}
    asked = [json.loads(to_json(key_of(prepared, settings, part))) for part in settings.parts]
    found = [EvaluationResult.load(file) for file in sorted(folder.glob("*.json"))]
    return {r.evaluation: r for r in found if r.report.get("key") in asked}


def _evaluate(
    loaded: LoadedModel,
    prepared: Prepared,
    folder: Path,
    *,
    label: str,
    parts: Sequence[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress,
) -> None:
    """Every evaluation that ``folder`` lacks; the record named as its part is written last."""
    from llm_validation.models.loading import on_device

    settings = prepared.experiment.behaviour
    if settings is None:
        return
    todo = [
        part
        for part in parts or settings.parts
        if not _known(folder, part, key_of(prepared, settings, part), about)
    ]
    if not todo:
        return
    loaded = on_device(loaded)
    asked = AskedModel(loaded, prepared, settings, folder, label, progress)
    shared = {"check_loss": _check_loss(loaded, prepared), **(about or {})}
    made_from = {"aligned": prepared.aligned_sha256, "model": loaded.sha256}
    for part in todo:
        key = key_of(prepared, settings, part)
        write_part(getattr(asked, part)(), part, prepared, folder, key, shared, made_from)


def write_part(
    results: Sequence[EvaluationResult],
    part: str,
    prepared: Prepared,
    folder: Path,
    key: Mapping[str, Any],
    shared: Mapping[str, Any],
    made_from: Mapping[str, str],
) -> list[Path]:
    """The records of a part, with its ``key`` and what all parts ``shared``; its own one last."""
    made = manifest(given=key["settings"], inputs=made_from, seed=prepared.experiment.seed)
    return [
        result.model_copy(update={"report": {**result.report, **shared, "key": key}})
        .made_by(made)
        .save(folder)
        for result in sorted(results, key=lambda r: r.evaluation == part)
    ]


def _check_loss(loaded: LoadedModel, prepared: Prepared) -> float:
    """Nats per token on the first held-out safety rows."""
    from llm_validation.experiments.prepare import losses_on

    rows = prepared.sets[held_out(SAFETY)]
    few = Dataset.of(rows.examples[:CHECK_ROWS], name=rows.name, source=rows.source)
    return losses_on(loaded, few, doing="checking the model").per_token


def key_of(prepared: Prepared, settings: Behaviour, part: str) -> dict[str, Any]:
    """What decides a part's records, the model itself apart.

    With it the rules of its detector, unless a judge model decides: a record by other rules is
    not read, but labelled anew (``relabelling``).
    """
    from llm_validation.evaluation.fairness.answering import LIKELIHOOD_PROMPT
    from llm_validation.evaluation.refusal.detectors import rules_of

    own = settings.parts[part].model_dump(mode="json")
    if own.get("by") == "likelihood":
        own["prompt"] = LIKELIHOOD_PROMPT
    detector = {} if part in ("bbq", "translation") else {"detector": settings.detector}
    if detector and own.get("judge") is None:
        detector["rules"] = rules_of(settings.detector)
    return {
        "settings": {**own, **detector, "system": settings.system},
        "aligned_sha256": prepared.aligned_sha256,
        "seed": prepared.experiment.seed,
    }


def _known(
    folder: Path, part: str, key: Mapping[str, Any], about: Mapping[str, Any] | None = None
) -> bool:
    """Whether a part's record is there, whole, by this ``key`` and ``about`` this model."""
    try:
        summary = EvaluationResult.load(folder / f"{part}.json").report
    except InputError:
        return False
    asked = json.loads(to_json({**(about or {}), "key": key}))
    return all(summary.get(name) == value for name, value in asked.items())
