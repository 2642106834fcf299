"""``calibrate`` for a dataset pair and a model: measure once, then search the strategy."""

from __future__ import annotations

from finebound.base.checks import Checks
from finebound.base.progress import Progress, silent
from llm_validation.data.dataset import Dataset
from llm_validation.estimation.bounds import model_bounds, planned_radius
from llm_validation.estimation.model_side import constants_of, measure_model
from llm_validation.estimation.pipeline import read_inputs, sampled
from llm_validation.estimation.plan import inputs_of, plan_of
from llm_validation.estimation.request import Request
from theory.bound import Quantity
from theory.calibrate import Calibration, calibrate


def calibrate_model(
    request: Request,
    budget: float,
    strategy_kind: str,
    *,
    radius: float | None = None,
    progress: Progress = silent,
) -> tuple[Calibration, dict[str, str], dict[str, Dataset]]:
    """The least constraining strategy whose bound on the safety loss's rise keeps ``budget``.

    ``budget`` in nats a token; the bounds rest on estimated constants. Returns it with the hashes
    of the inputs and with the data that were measured. Raises InputError for the inputs' faults,
    ValueError for the search's.
    """
    inputs = inputs_of(request)
    whole, loaded = read_inputs(inputs, Checks(), progress)
    assert loaded is not None, "the request names no model"
    datasets = sampled(whole, request.model_rows, request.seed)
    side = measure_model(
        loaded,
        datasets,
        max_length=request.max_length,
        on_long=request.on_long,
        turns=request.turns,
        where=request.coordinates,
        failure_probability=request.failure_probability,
        seed=request.seed,
        progress=progress,
    )
    has_proxy = "proxy" in datasets
    plan = plan_of(request, inputs.training, len(whole["task"]), loaded)
    reach = float(planned_radius(side, learning_rate=plan.learning_rate, steps=plan.steps).value)
    found = calibrate(
        constants_of(side, has_proxy=has_proxy),
        budget,
        strategy_kind,
        radius=radius,
        quantity=Quantity.SAFETY_LOSS_INCREASE,
        allow_estimated=True,
        evaluate=lambda _, strategy: model_bounds(side, strategy, has_proxy=has_proxy, reach=reach),
    )
    inputs = {name: dataset.sha256 for name, dataset in datasets.items()}
    return found, inputs | {"model": side.sha256}, datasets
