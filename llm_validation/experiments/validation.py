"""An experiment from its configuration to its verdicts: prepared, run, compared, judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

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
from finebound.results.comparison import (
    BoundCounts,
    ComparedBound,
    ComparisonResult,
    violated_certain,
)
from finebound.results.experiment import (
    Checkpoint,
    DoneRun,
    ExperimentResult,
    Onset,
    OpenRun,
    OwnStart,
    PopulationInterval,
)
from finebound.results.result import Manifest
from llm_validation.experiments import behaviour_summary
from llm_validation.experiments.answers import rates
from llm_validation.experiments.behaviour import FOLDER as BEHAVIOUR
from llm_validation.experiments.behaviour import STARTS, THETA_S, measure_starts
from llm_validation.experiments.comparison import compare, tightest
from llm_validation.experiments.config import Experiment, expand, find_run
from llm_validation.experiments.datasets import SAFETY, held_out, proxy_set
from llm_validation.experiments.findings import findings
from llm_validation.experiments.forecasts import forecast_runs, judge_forecasts
from llm_validation.experiments.gates import Gate, gates_of, same_budgets, shortfalls
from llm_validation.experiments.grid import ExecutorName, Outcome, run_grid
from llm_validation.experiments.landscape import measure_landscapes, read_side
from llm_validation.experiments.prepare import Prepared, prepare
from llm_validation.experiments.relabelling import relabel
from llm_validation.experiments.run import Measured, read_measured
from llm_validation.experiments.sizing import fitted
from llm_validation.experiments.split import envelopes, splits
from llm_validation.experiments.statistics import change, population_change
from llm_validation.experiments.worker import EXPERIMENT

HASHES = "hashes.json"
"""In the folder of the starts' behaviour."""
AGAIN = "Start the experiment again with `finebound validate`: it makes that anew."
_P = 0.05


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
) -> ExperimentResult:
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
    found = judge(prepared, outcomes, left_out=left_out)
    compared = ComparisonResult(entries=found.compared or []).save(out)
    result = found.model_copy(update={"files": hashes_of(out, [compared.name])})
    result.save(out)
    return result


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


def judge(
    prepared: Prepared, outcomes: Sequence[Outcome], *, left_out: Sequence[str] = ()
) -> ExperimentResult:
    """Everything that follows from the records of the finished runs; loads no model."""
    _require_starts(prepared)
    measured = [read_measured(o.run, prepared) for o in outcomes if o.status == "done"]
    compared = [
        c
        for m in measured
        for c in compare(m, prepared, read_side(prepared, m.run.task, m.run.proxy, m.run.method))
    ]
    seed, document = prepared.experiment.seed, prepared.document
    done = _done(prepared, measured, compared, {o.run.id: _attempts(o) for o in outcomes})
    routers, parts = splits(measured, prepared)
    by_id = {run.id: run for run in done}
    return ExperimentResult(
        runs=[by_id.get(o.run.id) or _open(o) for o in outcomes],
        bounds=BoundCounts.of(compared),
        violated=violated_certain(compared),
        findings=findings(measured, seed=seed),
        forecasts=judge_forecasts(prepared, measured, compared),
        routers=routers,
        splits=parts,
        envelopes=envelopes(measured),
        behaviour=behaviour_summary.of_experiment(
            measured, done, behaviour_summary.theta_s_records(prepared), seed=seed
        ),
        left_out=list(left_out),
        aligned=document["aligned"],
        sets=document["sets"],
        audit=document.get("audit", {}),
        manifest=Manifest(
            **manifest(
                given=prepared.experiment.model_dump(mode="json", exclude_defaults=True),
                inputs={name: entry["sha256"] for name, entry in document["sets"].items()}
                | {"model": document["model"]["sha256"]},
                seed=seed,
            )
        ),
        compared=compared,
        model=document["model"]["name"],
    )


def _attempts(outcome: Outcome) -> list[str]:
    return [attempt["outcome"] for attempt in outcome.attempts]


def _open(outcome: Outcome) -> OpenRun:
    return OpenRun(
        id=outcome.run.id,
        status="failed" if outcome.status == "failed" else "pending",
        safety_gap=None,
        capability_gap=None,
        gates={},
        error=outcome.error,
        attempts=_attempts(outcome),
    )


def _done(
    prepared: Prepared,
    runs: Sequence[Measured],
    compared: Sequence[ComparedBound],
    attempts: Mapping[str, list[str]],
) -> list[DoneRun]:
    short, budgets = shortfalls(runs), same_budgets(runs)
    best: dict[tuple[str, int], float] = {}
    for m in runs:
        key = (m.run.task, m.run.seed)
        best[key] = min(best.get(key, np.inf), m.known_loss(m.last, held_out(m.task)))
    theta_s = behaviour_summary.theta_s_records(prepared)
    return [
        _done_run(
            m,
            prepared,
            best=best[m.run.task, m.run.seed],
            shortfall=short.get(m.run.id),
            gates=gates_of(
                m, prepared, shortfall=short.get(m.run.id), equal_budget=budgets[m.run.id]
            ),
            tightest={
                when: tightest(compared, m.run.id, when=when)
                for when in ("a priori", "a posteriori")
            },
            behaviour=behaviour_summary.of_run(m, theta_s, seed=prepared.experiment.seed),
            attempts=attempts[m.run.id],
        )
        for m in runs
    ]


def _done_run(
    m: Measured,
    prepared: Prepared,
    *,
    best: float,
    shortfall: float | None,
    gates: Mapping[str, Gate],
    **others: Any,
) -> DoneRun:
    """``best`` is the least held-out loss of the task and seed, ``others`` are fields as given."""
    seed, run = prepared.experiment.seed, m.run
    rng = np.random.default_rng(spawn_seed(seed, f"intervals {run.id}"))
    safety, task = held_out(SAFETY), held_out(m.task)
    start, end = m.losses[0], m.losses[m.last]
    rise = change(end[safety], start[safety], rng=rng)
    loss = change(end[task], start[task], rng=rng)
    population = population_change(end[safety], start[safety], vocabulary=prepared.vocabulary, p=_P)
    return DoneRun(
        id=run.id,
        status="done",
        safety_gap=rise.estimate,
        capability_gap=end[task].per_token - best,
        gates={name: bool(gate.passed) for name, gate in gates.items()},
        gate_details={name: gate.because for name, gate in gates.items()},
        task=run.task,
        proxy=run.proxy,
        method=run.method,
        seed=run.seed,
        strategy=run.plan.as_dict()["strategy"],
        population="held-out rows; gaps are rises of the loss above the aligned model's",
        safety_interval=(rise.lower, rise.upper),
        safety_population_interval=PopulationInterval(
            **vars(population), of="mean over rows of a row's mean token loss (T14)"
        ),
        capability_gain=-loss.estimate,
        capability_gain_interval=(-loss.upper, -loss.lower),
        training_sets=_on_training_sets(m),
        displacement=m.displacement(m.last),
        steps=m.last,
        least_slack_T17=shortfall,
        answers=rates(m.answers),
        onset=_onset(m),
        checkpoints=[_checkpoint(m, step) for step in m.steps],
        own_start=_own_start(m, seed),
        given=run.given,
        error=None,
        **others,
    )


def _on_training_sets(m: Measured) -> dict[str, float]:
    found = {"safety_gap": m.known_change(SAFETY)}
    if (change_of_task := m.change(m.task)) is not None:
        found["capability_gain"] = -change_of_task
    if m.run.proxy is not None and (rise := m.change(proxy_set(m.run.proxy))) is not None:
        found["proxy_gap"] = rise
    return found


def _own_start(m: Measured, seed: int) -> OwnStart | None:
    """The same for every run with this start: it has no draws of its own."""
    if not m.own_start:
        return None
    safety, start = held_out(SAFETY), m.losses[0]
    rng = np.random.default_rng(spawn_seed(seed, "interval of a start"))
    rise = change(m.own_start[safety], start[safety], rng=rng)
    return OwnStart(
        safety_gap=rise.estimate,
        safety_interval=(rise.lower, rise.upper),
        loss_change={
            name: found.per_token - start[name].per_token
            for name, found in m.own_start.items()
            if name in start
        },
    )


def _onset(m: Measured) -> Onset:
    """T19's exponents of the held-out safety loss over the checkpoints; None where it never rose.

    Against the displacement and against the training time, with 90 % intervals.
    """
    from llm_validation.forecast.onset_fit import onset_of_run

    found: dict[Literal["displacement", "time"], Any] = {"displacement": None, "time": None}
    for against in () if m.own_start else tuple(found):  # T19 is about theta_s as the start
        with suppress(ValueError):
            found[against] = asdict(onset_of_run(m.finetuned, held_out(SAFETY), against=against))
    return Onset(displacement=found["displacement"], time=found["time"])


def _checkpoint(m: Measured, step: int) -> Checkpoint:
    return Checkpoint(
        step=step,
        fraction=m.fraction(step),
        displacement=m.displacement(step),
        loss_change={name: m.change(name, step) for name in m.losses[step] if name in m.losses[0]},
    )
