"""What every predictor says of a run before it is made, and how well it ranked what then happened.

A forecast reads theta_s, the data and the plan, never a run: it is written beside the runs before
the grid starts, and judged on all finished runs together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finebound.base.errors import InputError, tell
from finebound.base.integrity import Damaged, as_written, read_record, sealed
from finebound.base.progress import Progress, silent
from finebound.base.records import spawn_seed, to_json, write_atomically
from finebound.results.comparison import ComparedBound
from finebound.results.forecasts import Forecasts, JudgedForecast, Prediction
from llm_validation.experiments.comparison import tightest
from llm_validation.experiments.config import RunConfig
from llm_validation.experiments.datasets import SAFETY, held_out, proxy_set, task_set
from llm_validation.experiments.prepare import Prepared, on_device
from llm_validation.experiments.run import Measured, run_folder

if TYPE_CHECKING:
    from llm_validation.forecast.world import World

FOLDER = "forecasts"
TIGHTEST_BOUND = "tightest bound, a priori"
"""The predictor that says of every run the least proven upper bound on its safety loss."""


def forecast_runs(
    prepared: Prepared, runs: Sequence[RunConfig], *, progress: Progress = silent
) -> None:
    """Ask every predictor about every run that it has not been asked about; one file a run.

    Safety and capability are the losses on the experiment's held-out rows, as runs measure them.
    What is measured once (losses and gradients at theta_s) serves all runs, but each prediction's
    cost counts it in full. A predictor that does not apply to a plan is noted with its reason.
    Without settings for it (``forecast`` null) nothing is asked.
    """
    settings = prepared.experiment.forecast
    if settings is None:
        return
    missing = [run for run in runs if _read(prepared, run) is None]
    if not missing:
        return
    from llm_validation.forecast.predictors import all_predictors
    from llm_validation.models.memory import NeedsMemory

    predictors = all_predictors(share=settings.share, gradients=settings.gradient_rows)
    loaded = on_device(prepared.load_aligned())
    known: dict[Any, Any] = {}
    for run in progress(missing, "forecasting runs"):
        world = _world(prepared, run, loaded, known)
        said: list[dict[str, Any]] = []
        for predictor in predictors:
            try:
                said.append(predictor.predict(world, run.plan).to_dict())
            except InputError as error:
                if isinstance(error, NeedsMemory):
                    tell(f"No {predictor.name} for {run.id}: {error.what}")
                said.append({"name": predictor.name, "not_applicable": error.what})
        content = {
            "key": _key(prepared, run),
            "finetune_tokens": world.finetune_tokens(run.plan),
            "run_was_begun": run_folder(prepared.out, run.id).is_dir(),
            "predictions": said,
        }
        write_atomically(_file(prepared, run), to_json(sealed(content)) + "\n")


def _world(prepared: Prepared, run: RunConfig, loaded: Any, known: dict[Any, Any]) -> World:
    from llm_validation.forecast.world import World

    sets, task = prepared.sets, task_set(run.task)
    return World(
        loaded,
        sets[held_out(SAFETY)],
        sets[task],
        sets[proxy_set(run.proxy)] if run.proxy else None,
        task_measured=sets[held_out(task)],
        max_length=loaded.context_length,
        seed=spawn_seed(prepared.experiment.seed, "forecasts"),
        known=known,
    )


def judge_forecasts(
    prepared: Prepared, runs: Sequence[Measured], compared: Sequence[ComparedBound]
) -> Forecasts | None:
    """Rank the predictors by the finished runs; None where nothing was forecast."""
    from llm_validation.forecast.ranking import rank

    comparisons: list[JudgedForecast] = []
    costs: dict[str, list[float]] = {}
    spent: dict[str, dict[Any, float]] = {}
    finetunes = 0.0
    for m in runs:
        content = _read(prepared, m.run)
        if content is None:
            continue
        finetunes += content["finetune_tokens"]
        safety = m.known_change(held_out(SAFETY))
        task = m.known_change(held_out(m.task))
        predictions = [_prediction(p) for p in content["predictions"] if "not_applicable" not in p]
        for prediction in [*predictions, _bound_as_prediction(prepared, compared, m.run.id)]:
            judged = JudgedForecast(
                run=m.run.id,
                measured_safety_change=safety,
                measured_task_change=task,
                **prediction.to_dict(),
            )
            comparisons.append(judged)
            share = prediction.cost_tokens / content["finetune_tokens"]
            costs.setdefault(prediction.name, []).append(share)
            paid = spent.setdefault(prediction.name, {})
            for key, tokens in _spent(m.run, prediction).items():
                paid[key] = max(tokens, paid.get(key, 0.0))
    if not comparisons:
        return None
    rankings = {
        what: rank(
            comparisons,
            rng=np.random.default_rng(spawn_seed(prepared.experiment.seed, f"ranking {what}")),
            what=what,
        )
        for what in ("safety", "task")
    }
    return Forecasts(
        runs=comparisons,
        **rankings,
        cost_share={name: float(np.mean(x)) for name, x in costs.items()},
        cost_share_of_all={name: sum(x.values()) / finetunes for name, x in spent.items()},
    )


def _spent(run: RunConfig, prediction: Prediction) -> dict[Any, float]:
    """The forecast's tokens by what they were spent on; the same key is paid for once."""
    data = {"safety": None, "task": run.task, "proxy": run.proxy}
    shared = {
        (run.method, run.seed, role, data[role]): tokens
        for role, tokens in prediction.shared_tokens.items()
    }
    return shared | {run.id: prediction.cost_tokens - sum(shared.values())}


def _bound_as_prediction(
    prepared: Prepared, compared: Sequence[ComparedBound], run_id: str
) -> Prediction:
    """The bound as a score: a limit is no forecast, so only its order is judged."""
    found = tightest(compared, run_id, when="a priori")
    # Where every bound is empty, all that is known is the loss of a uniform answer.
    value = math.log(prepared.vocabulary) if found is None else found.value
    return Prediction(
        name=TIGHTEST_BOUND,
        safety_change=float(value),
        task_change=None,
        interval_90=None,
        cost_tokens=0.0,
        is_score=True,
        details={},
        shared_tokens={},
    )


def _prediction(plain: Mapping[str, Any]) -> Prediction:
    """A record of an earlier version lacks the first entries."""
    lacking = {"is_score": False, "details": {}, "shared_tokens": {}}
    return Prediction.model_validate(lacking | dict(plain))


def _key(prepared: Prepared, run: RunConfig) -> dict[str, Any]:
    settings = prepared.experiment.forecast
    return {
        "run": run.id,
        "configuration_sha256": run.sha256,
        "aligned_sha256": prepared.aligned_sha256,
        "settings": None if settings is None else settings.model_dump(),
    }


def _read(prepared: Prepared, run: RunConfig) -> dict[str, Any] | None:
    """A run's forecasts; None where there are none for this configuration, or damaged ones."""
    file = _file(prepared, run)
    if not file.is_file():
        return None
    try:
        content = read_record(file, remedy="")
        with as_written(content, file, remedy=""):
            float(content["finetune_tokens"])
            [_prediction(p) for p in content["predictions"] if "not_applicable" not in p]
    except Damaged as error:
        tell(f"{file}: {error.what} `finebound validate` forecasts again.")
        return None
    return content if content.get("key") == json.loads(to_json(_key(prepared, run))) else None


def _file(prepared: Prepared, run: RunConfig) -> Path:
    run_folder(prepared.out, run.id)  # refuses an id that leaves the folder
    return prepared.out / FOLDER / f"{run.id}.json"
