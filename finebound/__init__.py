"""finebound: how much safety must, may and will a fine-tune cost, and what buys it back?

The names below are imported when they are first used, so that ``import finebound`` is instant:
``finebound.bounds(problem, strategy)``, ``finebound.estimate(safety=..., task=...)``, ...
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names once more, for editors and type checkers
    from finebound.api import (
        bounds,
        calibrate,
        certify,
        compare,
        defend,
        estimate,
        evaluate,
        finetune,
        forecast_skill,
        load,
        validate,
    )
    from finebound.base.errors import InputError
    from llm_validation.data.loading import load_dataset
    from llm_validation.estimation.request import Request
    from llm_validation.evaluation.harness.export import export_tasks
    from llm_validation.models.loading import load_model
    from theory.bound import Bound, Direction, Quantity, Status
    from theory.evaluation import best
    from theory.exact import exact, frontier
    from theory.problem import (
        Constant,
        Constants,
        Distribution,
        QuadraticProblem,
        TabularProblem,
    )
    from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

__all__ = [
    "Bound",
    "Constant",
    "Constants",
    "Direction",
    "Distribution",
    "Hybrid",
    "InputError",
    "LossConstraint",
    "ParameterConstraint",
    "QuadraticProblem",
    "Quantity",
    "Request",
    "Status",
    "TabularProblem",
    "best",
    "bounds",
    "calibrate",
    "certify",
    "compare",
    "defend",
    "estimate",
    "evaluate",
    "exact",
    "export_tasks",
    "finetune",
    "forecast_skill",
    "frontier",
    "load",
    "load_dataset",
    "load_model",
    "validate",
]

_HOMES = {
    "finebound.api": (
        "bounds",
        "calibrate",
        "certify",
        "compare",
        "defend",
        "estimate",
        "evaluate",
        "finetune",
        "forecast_skill",
        "load",
        "validate",
    ),
    "theory.problem": (
        "Constant",
        "Constants",
        "Distribution",
        "QuadraticProblem",
        "TabularProblem",
    ),
    "theory.strategy": ("Hybrid", "LossConstraint", "ParameterConstraint"),
    "theory.bound": ("Bound", "Direction", "Quantity", "Status"),
    "theory.evaluation": ("best",),
    "theory.exact": ("exact", "frontier"),
    "llm_validation.data.loading": ("load_dataset",),
    "llm_validation.evaluation.harness.export": ("export_tasks",),
    "llm_validation.models.loading": ("load_model",),
    "llm_validation.estimation.request": ("Request",),
    "finebound.base.errors": ("InputError",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'finebound' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
