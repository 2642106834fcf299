"""T19's exponent from the checkpoints of a finished run."""

from __future__ import annotations

from typing import Literal

import numpy as np

from llm_validation.training.record import FinetuneRun
from theory.onset import onset_exponent
from theory.power_law import PowerLaw
from theory.resampling import ratio_of_sums


def onset_of_run(
    run: FinetuneRun, monitor: str, *, against: Literal["time", "displacement"] = "time"
) -> PowerLaw:
    """The exponent p of ``rise of the monitor's loss ~ c x^p`` over the run's evaluations.

    x is the training time (sum of the learning rates so far) or the displacement reached. Errors
    are those of the paired differences over rows. ``left_out`` counts evaluations at which the
    loss had not risen. Against the displacement a quadratic onset has p = 2 whatever the
    optimiser; against time Adam's shrinking steps lower it. Raises ValueError when fewer than two
    evaluations show a rise. Source: T19 of docs/theorems.md.
    """
    steps = sorted(step for step, found in run.evaluations.items() if step and monitor in found)
    if not steps:
        raise ValueError(f"the run measured no {monitor!r} after its start.")
    start = run.start[monitor]
    rises, errors = [], []
    for step in steps:
        difference = run.evaluations[step][monitor].token_sum - start.token_sum
        rise, influence = ratio_of_sums(difference, start.token_count)
        rises.append(rise)
        errors.append(float(influence.std(ddof=1) / np.sqrt(len(influence))))
    at = np.array(steps) - 1
    time = np.cumsum(run.steps["learning_rate"])[at]
    x = time if against == "time" else run.steps["displacement"][at]
    return onset_exponent(x, rises, errors=np.maximum(errors, 1e-12))
