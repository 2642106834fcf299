"""An experiment that is run, with what its folder then holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finebound.results.experiment import ExperimentResult
    from llm_validation.experiments.prepare import Prepared
    from llm_validation.experiments.run import Measured


@dataclass(frozen=True)
class Finished:
    """An experiment that was run: its result, and what its folder holds."""

    result: ExperimentResult
    prepared: Prepared
    measured: list[Measured]


def finish(content, out, *, cache=None) -> Finished:
    """Run an experiment and read its runs."""
    from llm_validation.experiments.config import expand, experiment_of
    from llm_validation.experiments.prepare import read_prepared
    from llm_validation.experiments.run import read_measured
    from llm_validation.experiments.validation import validate

    experiment = experiment_of(content)
    result = validate(experiment, out, cache=cache)
    prepared = read_prepared(experiment, out)
    done = {run.id for run in result.done}
    runs = [read_measured(run, prepared) for run in expand(experiment) if run.id in done]
    return Finished(result, prepared, runs)
