"""What the model says: losses with intervals, the landscape, and theory's constants from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from finebound.base.progress import Progress, silent
from finebound.base.records import spawn_seed
from finebound.results.estimate import LossesOfRows, MeasuredModel, StepForecast
from llm_validation.data.conversations import SupervisedTurns
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import Encoded, OnLong, encode
from llm_validation.estimation.preflight import token_limit
from llm_validation.measure.landscape import Where, measure_landscape
from llm_validation.measure.loss_summary import summarise
from llm_validation.measure.losses import Losses, measure_losses
from theory.problem import Constant, Constants, Known

if TYPE_CHECKING:
    from llm_validation.models.loading import LoadedModel


PER_TOKEN = "nats/token"


class ModelSide(MeasuredModel):
    """Everything measured on the model, with the losses of each row and their numbers (from 1)."""

    row_losses: dict[str, Losses] = Field(exclude=True)
    rows: dict[str, tuple[int, ...]] = Field(exclude=True)


def measure_model(
    loaded: LoadedModel,
    datasets: Mapping[str, Dataset],
    *,
    max_length: int | None = None,
    on_long: OnLong = "error",
    turns: SupervisedTurns = "all",
    where: Where = "adapter",
    failure_probability: float = 0.05,
    seed: int = 0,
    progress: Progress = silent,
) -> ModelSide:
    """Losses on every row of ``datasets`` (safety, task and perhaps proxy), and the landscape.

    ``failure_probability`` is split over the datasets' intervals. Raises InputError for a row
    longer than ``max_length`` (default: the model's context), naming it.
    """
    limit = token_limit(loaded, max_length)
    encoded = {
        name: encode(dataset, loaded.tokenizer, max_length=limit, on_long=on_long, turns=turns)
        for name, dataset in datasets.items()
    }
    landscape = measure_landscape(
        loaded,
        encoded["safety"],
        encoded["task"],
        encoded.get("proxy"),
        where=where,
        seed=spawn_seed(seed, "landscape"),
        progress=progress,
    )
    row_losses = {
        name: _complete(loaded, rows, landscape.losses[name], name, progress)
        for name, rows in encoded.items()
    }
    p = failure_probability / len(encoded)
    return ModelSide(
        name=loaded.name,
        sha256=loaded.sha256,
        parameters=sum(parameter.numel() for parameter in loaded.model.parameters()),
        vocabulary=loaded.vocabulary,
        unit=PER_TOKEN,
        losses={
            name: summarise(
                losses,
                rows_of=len(datasets[name]),
                loss_range=2.0 * float(np.log(loaded.vocabulary)),
                p=p,
                rng=np.random.default_rng(spawn_seed(seed, f"bootstrap {name}")),
            )
            for name, losses in row_losses.items()
        },
        row_losses=row_losses,
        rows={name: tuple(row.row for row in rows) for name, rows in encoded.items()},
        landscape=landscape,
    )


def _complete(
    loaded: LoadedModel, encoded: list[Encoded], known: LossesOfRows, name: str, progress: Progress
) -> Losses:
    """Losses of all rows: those the gradients saw are not measured twice."""
    token_sum = np.zeros(len(encoded))
    token_count = np.zeros(len(encoded), dtype=np.int64)
    seen = np.array(known.rows, dtype=np.int64)
    token_sum[seen], token_count[seen] = known.token_sum, known.token_count
    rest = np.setdiff1d(np.arange(len(encoded)), seen)
    if rest.size:
        measured = measure_losses(
            loaded.model,
            [encoded[row] for row in rest],
            pad_id=loaded.pad_id,
            progress=progress,
            doing=f"measuring losses on the rest of {name}",
        )
        token_sum[rest], token_count[rest] = measured.token_sum, measured.token_count
    return Losses(token_sum, token_count)


def constants_of(side: ModelSide, *, has_proxy: bool, radius: float | None = None) -> Constants:
    """Theory's constants as measured at the aligned model; per token, in ``side``'s coordinates.

    The task loss's floor is 0, so "capability gap" means the task loss itself; within ``radius``
    the floor is what slope and curvature allow, ``f_f - g r - beta_f r^2 / 2``. Without a proxy the
    safety data are their own proxy and the mismatch is exactly 0. Whatever a sample or a search
    found is ESTIMATED. Source: T6, T7, T12 of docs/theorems.md.
    """
    land = side.landscape
    task = side.losses["task"].per_token
    slope, curvature = land.gradient_norms["task"].upper, land.curvatures["task"].norm

    def estimated(value: float) -> Constant:
        return Constant(value, Known.ESTIMATED)

    values = {
        "capability_gap_at_aligned": estimated(task),
        "task_loss_at_aligned": estimated(task),
        "task_loss_floor": Constant(0.0),
        # At most the safety loss itself; every bound on an increase takes it off again.
        "safety_gap_at_aligned": estimated(side.losses["safety"].per_token),
        "gradient_norm_safety": estimated(land.gradient_norms["safety"].upper),
        "smoothness_safety": estimated(max(land.curvatures["safety"].largest, 0.0)),
        "gradient_norm_task": estimated(slope),
        "smoothness_task": estimated(curvature),
        "logit_lipschitz": estimated(land.logit_lipschitz.value),
    }
    if radius is not None:
        floor = max(task - slope * radius - 0.5 * curvature * radius**2, 0.0)
        values["task_loss_floor"] = estimated(floor)
        values["displacement"] = Constant(radius)
    if has_proxy and land.mismatch is not None:
        values["gradient_mismatch"] = estimated(land.mismatch.upper)
        values["smoothness_mismatch"] = estimated(max(land.curvatures["mismatch"].largest, 0.0))
    else:
        values["gradient_mismatch"] = Constant(0.0)
        values["smoothness_mismatch"] = Constant(0.0)
    return Constants(values)


def descent_slope(side: ModelSide) -> float:
    """Slope of the task's loss along the steepest step that the fine-tune can take, from below.

    Less what a sample of rows may add to it: the norm of the steepest step of a rank is a norm of
    the gradient too, so it moves by no more than the gradient does.
    """
    land = side.landscape
    norm = land.gradient_norms["task"]
    steepest = norm.value if land.task_descent is None else land.task_descent
    return max(steepest - norm.standard_error, 0.0)


def straight_step(side: ModelSide, radius: float) -> StepForecast:
    """The quadratic model of both losses along ``-grad f_f``, at distance ``radius``."""
    land = side.landscape
    cosine = land.cosines["safety_task"]
    downhill = np.nan if cosine is None else -cosine * land.gradient_norms["safety"].value
    return StepForecast(
        radius=radius,
        safety_change=radius * downhill + 0.5 * radius**2 * land.curvatures["safety"].along_start,
        task_change=-radius * land.gradient_norms["task"].value
        + 0.5 * radius**2 * land.curvatures["task"].along_start,
    )
