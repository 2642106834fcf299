"""What becomes of a bound where an assumption of its statement fails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finebound.base.progress import Progress, silent
from finebound.base.records import spawn_seed
from sims.assumptions import (
    calibrations,
    certificates,
    loss_constraint,
    parameter_constraint,
)
from sims.assumptions.common import Experiment

EXPERIMENTS: tuple[Experiment, ...] = tuple(
    sorted(
        (
            *loss_constraint.EXPERIMENTS,
            *parameter_constraint.EXPERIMENTS,
            *certificates.EXPERIMENTS,
            *calibrations.EXPERIMENTS,
        ),
        key=lambda experiment: int(experiment.statement[1:]),
    )
)
INSTANCES = 2_000


@dataclass(frozen=True)
class Outcome:
    """One assumption dropped: how often and by how much the bound then breaks.

    ``share`` of ``instances`` lie beyond the bound, the farthest by the factor ``worst``, which
    is inf where something that had to be 0 is not.
    """

    name: str
    statement: str
    assumption: str
    instances: int
    share: float
    worst: float

    def as_json(self) -> dict[str, object]:
        """Every field by its name."""
        return dict(vars(self))


def outcome(
    experiment: Experiment, *, seed: int, instances: int = INSTANCES, holds: bool = False
) -> Outcome:
    """The experiment on its own random instances; with ``holds`` the assumption is met.

    Raises FloatingPointError on a NaN.
    """
    n = max(instances // experiment.cost, 1)
    rng = np.random.default_rng(spawn_seed(seed, f"violated:{experiment.name}"))
    finding = experiment.run(rng, n, holds)
    ratios = finding.ratios()
    if np.isnan(ratios).any():
        raise FloatingPointError(f"the experiment {experiment.name} gave a NaN")
    return Outcome(
        name=experiment.name,
        statement=experiment.statement,
        assumption=experiment.assumption,
        instances=n,
        share=float((ratios > 1.0 + finding.resolution).mean()),
        worst=float(ratios.max()),
    )


def violated_assumptions(*, seed: int, progress: Progress = silent) -> list[Outcome]:
    """Every experiment, in the order of the statements. None of this is a statement's claim."""
    return [
        outcome(experiment, seed=seed)
        for experiment in progress(EXPERIMENTS, "dropping assumptions")
    ]
