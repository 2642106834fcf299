"""An experiment from its configuration to its verdicts: prepared, run, compared, judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from finebound.base.errors import tell
from finebound.base.integrity import (
    FILES,
    Damaged,
    hashes_of,
    read_record,
    require_unchanged,
    sealed,
)
from finebound.base.progress import Progress, silent
from finebound.base.records import manifest, require_folder, spawn_seed, to_json, write_atomically
from finebound.base.writing import remove
from llm_validation.experiments import behaviour_summary
from llm_validation.experiments.answers import rates
from llm_validation.experiments.behaviour import FOLDER as BEHAVIOUR
from llm_validation.experiments.behaviour import STARTS, THETA_S, measure_starts
from llm_validation.experiments.comparison import (
    Compared,
    compare,
    counts,
    tightest,
    violated_certain,
)
from llm_validation.experiments.config import Experiment, expand, find_run
from llm_validation.experiments.datasets import SAFETY, held_out, proxy_set
from llm_validation.experiments.findings import Finding, findings
from llm_validation.experiments.forecasts import Forecasts, forecast_runs, judge_forecasts
from llm_validation.experiments.gates import Gate, gates_of, same_budgets, shortfalls
from llm_validation.experiments.grid import ExecutorName, Outcome, run_grid
from llm_validation.experiments.landscape import measure_landscapes, read_side
from llm_validation.experiments.prepare import Prepared, prepare
from llm_validation.experiments.relabelling import relabel
from llm_validation.experiments.run import (
    Measured,
    read_measured,
)
from llm_validation.experiments.sizing import fitted
from llm_validation.experiments.split import Router, SafetySplit, envelopes, splits
from llm_validation.experiments.statistics import change, population_change
from llm_validation.experiments.worker import EXPERIMENT
from theory.confidence import Interval

VALIDATION, COMPARISON = "validate.json", "comparison.json"
HASHES = "hashes.json"
"""In the folder of the starts' behaviour."""
AGAIN = "Start the experiment again with `finebound validate`: it makes that anew."
_P = 0.05


@dataclass(frozen=True, eq=False)
class Summary:
    """A finished run in a few numbers, nats per token.

    ``safety`` and ``task`` are the changes of the losses on held-out rows with paired bootstrap
    intervals over rows; ``population`` is T14's interval of the safety change (row means).
    ``capability_gap`` is the held-out task loss above the best run of the task and seed; the
    ``training`` entries are exact changes on the training sets; ``tightest`` has the tightest
    upper bounds on the safety loss there, by when they are known; ``onset`` T19's exponents.
    ``own_start`` is the held-out safety change that a start which is not theta_s makes by itself,
    ``behaviour`` what ``behaviour_summary.of_run`` gives.
    """

    measured: Measured
    safety: Interval
    population: Interval
    task: Interval
    capability_gap: float
    training: dict[str, float]
    gates: dict[str, Gate]
    shortfall: float | None
    tightest: dict[str, Compared | None]
    onset: dict[str, Any]
    own_start: Interval | None = None
    behaviour: dict[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether every gate was passed: else the run's numbers are flagged."""
        return all(gate.passed for gate in self.gates.values())

    def as_json(self) -> dict[str, Any]:
        """The run's entry in the record; the contract's fields first."""
        m = self.measured
        run = m.run
        return {
            "id": run.id,
            "status": "done",
            "safety_gap": self.safety.estimate,
            "capability_gap": self.capability_gap,
            "gates": {name: gate.passed for name, gate in self.gates.items()},
            "gate_details": {name: gate.because for name, gate in self.gates.items()},
            "task": run.task,
            "proxy": run.proxy,
            "method": run.method,
            "seed": run.seed,
            "strategy": run.plan.as_dict()["strategy"],
            "population": "held-out rows; gaps are rises of the loss above theta_s",
            "safety_interval": [self.safety.lower, self.safety.upper],
            "safety_population_interval": {
                "estimate": self.population.estimate,
                "lower": self.population.lower,
                "upper": self.population.upper,
                "failure_probability": self.population.failure_probability,
                "of": "mean over rows of a row's mean token loss (T14)",
            },
            "capability_gain": -self.task.estimate,
            "capability_gain_interval": [-self.task.upper, -self.task.lower],
            "training_sets": self.training,
            "displacement": m.displacement(m.last),
            "steps": m.last,
            "least_slack_T17": self.shortfall,
            "answers": rates(m.answers),
            "onset": self.onset,
            "tightest": {when: c and c.as_json() for when, c in self.tightest.items()},
            "checkpoints": [_checkpoint(m, step) for step in m.steps],
            "own_start": self.own_start
            and {
                "safety_gap": self.own_start.estimate,
                "safety_interval": [self.own_start.lower, self.own_start.upper],
                "loss_change": {
                    name: found.per_token - m.losses[0][name].per_token
                    for name, found in m.own_start.items()
                    if name in m.losses[0]
                },
            },
            "behaviour": self.behaviour,
            "given": run.given,
        }


@dataclass(frozen=True, eq=False)
class Validation:
    """Everything an experiment found."""

    prepared: Prepared
    outcomes: list[Outcome]
    summaries: list[Summary]
    compared: list[Compared]
    findings: list[Finding]
    forecasts: Forecasts | None
    routers: list[Router]
    splits: list[SafetySplit]
    envelopes: list[dict[str, Any]]
    behaviour: dict[str, Any] | None = None
    left_out: tuple[str, ...] = ()

    @property
    def violated(self) -> list[Compared]:
        """Violated bounds whose violation fails the command."""
        return violated_certain(self.compared)

    @property
    def counts(self) -> dict[str, int]:
        """How many bounds held, were violated, were vacuous."""
        return counts(self.compared)

    @property
    def passed(self) -> bool:
        """Whether no certain bound was violated and no run failed."""
        return not self.violated and all(o.status != "failed" for o in self.outcomes)

    def as_json(self) -> dict[str, Any]:
        """``validate.json``: DESIGN's contract, and what else was found."""
        done = {s.measured.run.id: s.as_json() for s in self.summaries}
        return {
            "runs": [
                {
                    **done.get(
                        o.run.id,
                        {
                            "id": o.run.id,
                            "status": o.status,
                            "safety_gap": None,
                            "capability_gap": None,
                            "gates": {},
                        },
                    ),
                    "error": o.error,
                    "attempts": [a["outcome"] for a in o.attempts],
                }
                for o in self.outcomes
            ],
            "bounds": self.counts,
            "violated": [c.as_json() for c in self.violated],
            "findings": [f.as_json() for f in self.findings],
            "forecasts": self.forecasts and self.forecasts.as_json(),
            "routers": [asdict(r) for r in self.routers],
            "splits": [asdict(s) for s in self.splits],
            "envelopes": self.envelopes,
            "behaviour": self.behaviour,
            "left_out": self.left_out,
            "aligned": self.prepared.document["aligned"],
            "sets": self.prepared.document["sets"],
        }


def validate(
    experiment: Experiment,
    out: Path,
    *,
    executor: ExecutorName = "local",
    workers: int = 1,
    address: str | None = None,
    cache: Path | None = None,
    only: str | None = None,
    progress: Progress = silent,
) -> Validation:
    """Prepare, measure the constants, run what is not done, compare and judge; resumable.

    An experiment with ``fit_minutes`` is made as large as they allow here (``sizing``). ``only``
    runs that one run of the grid; what else is done is judged with it. Writes ``validate.json``
    and ``comparison.json`` into ``out``. Raises InputError for a folder of another configuration
    and for input that no run can use.
    """
    require_folder(out)
    experiment = fitted(experiment, out, progress=progress)
    runs = expand(experiment)
    chosen = runs if only is None else [find_run(runs, only)]
    prepared = prepare(experiment, out, cache=cache, progress=progress)
    write_atomically(out / EXPERIMENT, to_json(experiment.model_dump(mode="json")) + "\n")
    # Before any run: what is foreseen must not have seen them.
    left_out = measure_landscapes(
        prepared, [(run.task, run.proxy, run.method) for run in chosen], progress=progress
    )
    for sentence in left_out:
        tell(sentence)
    forecast_runs(prepared, chosen, progress=progress)
    _relabel(prepared)
    measure_starts(prepared, chosen, progress=progress)
    _keep_starts(prepared)
    outcomes = run_grid(
        prepared,
        runs,
        chosen=[run.id for run in chosen],
        executor=executor,
        workers=workers,
        address=address,
        progress=progress,
    )
    found = replace(judge(prepared, outcomes), left_out=tuple(left_out))
    made = manifest(
        given=experiment.model_dump(mode="json", exclude_defaults=True),
        inputs={name: entry["sha256"] for name, entry in prepared.document["sets"].items()}
        | {"model": prepared.document["model"]["sha256"]},
        seed=experiment.seed,
    )
    write_atomically(
        out / COMPARISON, to_json([c.as_json() for c in found.compared], indent=None) + "\n"
    )
    audits = {"audit": prepared.document.get("audit", {})}
    content = {**found.as_json(), **audits, "manifest": made, FILES: hashes_of(out, [COMPARISON])}
    write_atomically(out / VALIDATION, to_json(sealed(content)) + "\n")
    return found


def _relabel(prepared: Prepared) -> None:
    """Labels by the rules of now; what was whole before is so afterwards."""
    _drop_damaged_starts(prepared)
    written = relabel(prepared)
    if any(path.is_relative_to(prepared.out / BEHAVIOUR) for path in written):
        _keep_starts(prepared)


def _drop_damaged_starts(prepared: Prepared) -> None:
    """Remove the starts' behaviour where a file is not what was written: it is asked for again."""
    try:
        _require_starts(prepared)
    except Damaged as error:
        tell(f"{error.file}: {error.what} The starts are evaluated again.")
        remove(prepared.out / BEHAVIOUR)


def _require_starts(prepared: Prepared) -> None:
    folder = prepared.out / BEHAVIOUR
    if (folder / HASHES).is_file():
        known = read_record(folder / HASHES, remedy=AGAIN)
        require_unchanged(folder, known.get(FILES), remedy=AGAIN)


def _keep_starts(prepared: Prepared) -> None:
    folder = prepared.out / BEHAVIOUR
    if prepared.experiment.behaviour is not None:
        record = sealed({FILES: hashes_of(folder, [THETA_S, STARTS])})
        write_atomically(folder / HASHES, to_json(record) + "\n")


def judge(prepared: Prepared, outcomes: Sequence[Outcome]) -> Validation:
    """Everything that follows from the records of the finished runs; loads no model."""
    _require_starts(prepared)
    runs = [read_measured(o.run, prepared) for o in outcomes if o.status == "done"]
    compared = [
        c
        for m in runs
        for c in compare(m, prepared, read_side(prepared, m.run.task, m.run.proxy, m.run.method))
    ]
    short, budgets = shortfalls(runs), same_budgets(runs)
    best: dict[tuple[str, int], float] = {}
    for m in runs:
        key = (m.run.task, m.run.seed)
        best[key] = min(best.get(key, np.inf), m.loss(m.last, held_out(m.task)))
    routers, parts = splits(runs, prepared)
    theta_s = behaviour_summary.theta_s_records(prepared)
    summaries = [
        _summary(m, prepared, compared, best, short.get(m.run.id), budgets[m.run.id], theta_s)
        for m in runs
    ]
    return Validation(
        prepared=prepared,
        outcomes=list(outcomes),
        summaries=summaries,
        compared=compared,
        findings=findings(runs, seed=prepared.experiment.seed),
        forecasts=judge_forecasts(prepared, runs, compared),
        routers=routers,
        splits=parts,
        envelopes=envelopes(runs),
        behaviour=behaviour_summary.of_experiment(
            runs,
            {s.measured.run.id: s.passed for s in summaries},
            {s.measured.run.id: s.behaviour for s in summaries},
            theta_s,
            seed=prepared.experiment.seed,
        ),
    )


def _summary(
    m: Measured,
    prepared: Prepared,
    compared: list[Compared],
    best: dict[tuple[str, int], float],
    shortfall: float | None,
    equal_budget: bool,
    theta_s: behaviour_summary.Records,
) -> Summary:
    rng = np.random.default_rng(spawn_seed(prepared.experiment.seed, f"intervals {m.run.id}"))
    safety, task = held_out(SAFETY), held_out(m.task)
    start, end = m.losses[0], m.losses[m.last]
    training = {"safety_gap": m.change(SAFETY)}
    if (change_of_task := m.change(m.task)) is not None:
        training["capability_gain"] = -change_of_task
    if m.run.proxy is not None and (rise := m.change(proxy_set(m.run.proxy))) is not None:
        training["proxy_gap"] = rise
    return Summary(
        measured=m,
        safety=change(end[safety], start[safety], rng=rng),
        population=population_change(
            end[safety], start[safety], vocabulary=prepared.vocabulary, p=_P
        ),
        task=change(end[task], start[task], rng=rng),
        capability_gap=end[task].per_token - best[(m.run.task, m.run.seed)],
        training=training,
        gates=gates_of(m, prepared, shortfall=shortfall, equal_budget=equal_budget),
        shortfall=shortfall,
        tightest={
            when: tightest(compared, m.run.id, when=when) for when in ("a priori", "a posteriori")
        },
        onset=_onset(m),
        own_start=_own_start(m, prepared.experiment.seed),
        behaviour=behaviour_summary.of_run(m, theta_s, seed=prepared.experiment.seed),
    )


def _own_start(m: Measured, seed: int) -> Interval | None:
    """The same for every run with this start: it has no draws of its own."""
    if not m.own_start:
        return None
    safety = held_out(SAFETY)
    rng = np.random.default_rng(spawn_seed(seed, "interval of a start"))
    return change(m.own_start[safety], m.losses[0][safety], rng=rng)


def _onset(m: Measured) -> dict[str, Any]:
    """T19's exponents of the held-out safety loss over the checkpoints; None where it never rose.

    Against the displacement and against the training time, with 90 % intervals.
    """
    from llm_validation.forecast.onset_fit import onset_of_run

    found: dict[str, Any] = {}
    if m.own_start:
        return {"displacement": None, "time": None}  # T19 is about theta_s as the start
    for against in ("displacement", "time"):
        try:
            found[against] = asdict(onset_of_run(m.finetuned, held_out(SAFETY), against=against))
        except ValueError:
            found[against] = None
    return found


def _checkpoint(m: Measured, step: int) -> dict[str, Any]:
    return {
        "step": step,
        "fraction": m.fraction(step),
        "displacement": m.displacement(step),
        "loss_change": {
            name: m.change(name, step) for name in m.losses[step] if name in m.losses[0]
        },
    }
