"""``estimate.json``: everything that was measured and bounded, as plain values."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Any

from finebound.base.output import strategy_as_json, strategy_words
from finebound.results.bounds import BoundEntry
from llm_validation.audit.sentences import audit_result
from llm_validation.data.reading import readings_as_json
from llm_validation.estimation.model_side import (
    ModelSide,
    StraightStep,
    constants_of,
    straight_step,
)
from llm_validation.estimation.pipeline import Estimate
from llm_validation.estimation.summary import advice, rows
from llm_validation.measure.overlap_measure import OverlapMeasure
from llm_validation.training.strategies import strategy_as_dict


def document(estimate: Estimate, *, manifest: dict[str, Any]) -> dict[str, Any]:
    """The estimate as nested dicts and lists of plain values; numbers say their unit."""
    return {
        "datasets": {
            name: {
                "name": dataset.name,
                "source": dataset.source,
                "rows": len(dataset),
                "rows_of": estimate.rows_of[name],
                "sha256": dataset.sha256,
            }
            for name, dataset in estimate.datasets.items()
        },
        "reading": readings_as_json(estimate.datasets),
        "advice": advice(estimate),
        "left_out": list(estimate.left_out),
        "audit": audit_result(estimate.audit).to_dict(),
        "table": [_row(row) for row in rows(estimate)],
        "overlap": [_overlap(measure) for measure in estimate.overlap],
        "closest_pairs": [asdict(pair) for pair in estimate.pairs],
        "shared_prompts": {
            "shared": estimate.shared.shared,
            "conflicting": estimate.shared.conflicting,
        },
        "frontier": {
            "unit": "nats/response",
            "lam": estimate.front.lams,
            "safety_gap": estimate.front.safety_gap,
            "capability_gap": estimate.front.capability_gap,
        },
        "proxy_mismatch": _mismatch(estimate),
        "model": None if estimate.model is None else _model(estimate.model),
        "constants": _constants(estimate),
        "forecast": [asdict(step) for step in straight_steps(estimate)],
        **_strategy_forecasts(estimate),
        "bounds": [
            {
                "strategy": strategy_as_json(e.strategy),
                "basis": e.basis,
                **BoundEntry.of(e.bound).to_dict(),
            }
            for e in estimate.bounds
        ],
        "manifest": manifest,
    }


def straight_steps(estimate: Estimate) -> list[StraightStep]:
    """The straight step at each radius asked for; none without a model."""
    if estimate.model is None:
        return []
    return [straight_step(estimate.model, radius) for radius in estimate.request.radii]


def _strategy_forecasts(estimate: Estimate) -> dict[str, Any]:
    """The forecast of each strategy; without ``--forecast`` nothing is added."""
    if not estimate.forecasts:
        return {}
    return {
        "strategy_forecast": [
            {
                **_plain(made),
                "strategy": strategy_as_dict(made.strategy),
                "in_words": strategy_words(made.strategy),
                "unit": "nats/token",
                "status": str(made.status),
            }
            for made in estimate.forecasts
        ]
    }


def _row(row) -> dict[str, Any]:
    verdicts = {
        name: value if value is None or isinstance(value, float) else _plain(value)
        for name, value in vars(row).items()
        if name != "strategy"
    }
    return {
        "strategy": strategy_as_json(row.strategy),
        "in_words": strategy_words(row.strategy),
        **verdicts,
    }


def _overlap(measure: OverlapMeasure) -> dict[str, Any]:
    left_out = ("safety_images", "task_images")
    entries = {k: _plain(v) for k, v in vars(measure).items() if k not in left_out}
    return entries | {"status": str(measure.status)}


def _mismatch(estimate: Estimate) -> dict[str, Any] | None:
    if estimate.mismatch is None:
        return None
    context = vars(estimate.mismatch.context)
    return {
        "context": {k: _plain(v) for k, v in context.items() if k != "measures"}
        | {"measures": [_overlap(m) for m in estimate.mismatch.context.measures]},
        "teacher": _plain(estimate.mismatch.teacher),
    }


def _model(side: ModelSide) -> dict[str, Any]:
    return {
        "name": side.name,
        "sha256": side.sha256,
        "parameters": side.parameters,
        "vocabulary": side.vocabulary,
        "unit": "nats/token",
        "losses": _plain(side.losses),
        "landscape": _plain(side.landscape),
    }


def _constants(estimate: Estimate) -> dict[str, Any] | None:
    if estimate.model is None:
        return None
    constants = constants_of(estimate.model, has_proxy=estimate.mismatch is not None)
    return {name: _plain(constant) for name, constant in constants.items()}


def _plain(value: Any) -> Any:
    """Nested plain values of dataclasses, mappings and sequences; numbers stay numbers."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: _plain(item) for key, item in vars(value).items()}
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
