"""Every defence beside the undefended runs of a finished experiment, in one plane.

For the unconstrained run of a task: each defence of the stages "after" and "prompt" at several
strengths, and the grid's own defended runs, all on the same held-out rows. The baseline is swept
as well (early checkpoints, every learning rate of the grid), and a model that no longer speaks is
listed as failed and is in no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.base.records import manifest, spawn_seed, to_json, write_atomically
from finebound.results.result import Manifest
from finebound.results.tradeoff import (
    UNDEFENDED,
    FaithfulnessEntry,
    LayerEntry,
    NotApplied,
    ReferencePoint,
    TheoryCurve,
    TradeoffPlace,
    TradeoffResult,
)
from llm_validation.data.dataset import Dataset
from llm_validation.defences.lora_file import read_adapter
from llm_validation.defences.registry import compared
from llm_validation.experiments.answers import Answer, rates
from llm_validation.experiments.attempts import locked
from llm_validation.experiments.config import Experiment, Generations
from llm_validation.experiments.gates import MOST_INCOHERENT
from llm_validation.experiments.prepare import Prepared
from llm_validation.experiments.run import Measured
from llm_validation.tradeoff.coherence import incoherent_share
from llm_validation.tradeoff.finished_experiment import (
    Finished,
    base_folder,
    read_finished,
    require_base,
    task_of,
    unconstrained,
)
from llm_validation.tradeoff.folder import SETTING, require_comparison_folder, setting_of
from llm_validation.tradeoff.frontier import (
    above_forced,
    forced_frontier,
    linearised_forecasts,
)
from llm_validation.tradeoff.grid_points import faithfulness_of, sweep
from llm_validation.tradeoff.linearised_frontier import linearised_frontier
from llm_validation.tradeoff.plane import Place, coordinates, locate, scores
from llm_validation.tradeoff.points import Point
from llm_validation.tradeoff.workbench import NotApplicable, Workbench
from llm_validation.training.record import ADAPTER

GRID = "grid"
"""Among the methods: the experiment's own defended runs."""


def compare_defences(
    experiment: Path,
    out: Path,
    *,
    base: str | Path | None = None,
    task: str | None = None,
    methods: Sequence[str] | None = None,
    prompts: int | None = None,
    max_new_tokens: int | None = None,
    harmful: Dataset | None = None,
    progress: Progress = silent,
) -> TradeoffResult:
    """Make what is not made yet in ``out``, place it all and write ``defences.json``.

    ``base`` is the folder or hub id of the model before its alignment, ``prompts`` (0: none) and
    ``max_new_tokens`` are those of the answers: by default the experiment's own. ``task`` is by
    default that of the most runs, ``methods`` are by default all ``choices``. Raises InputError for
    a method that there is not, an experiment that is not finished, a base or an adapter that does
    not belong to it, and a folder of another comparison.
    """
    from llm_validation.defences.alignment import open_alignment

    methods = _known(methods)
    finished = read_finished(experiment)
    prepared = finished.prepared
    task = task_of(finished, task)
    bases = unconstrained(finished, task)
    generations = _generations(prepared.experiment, prompts, max_new_tokens)
    harmful = None if harmful is None else _without_held_out(harmful, prepared)
    setting = setting_of(finished, task, generations, bases)
    require_comparison_folder(out, setting)
    base = base_folder(prepared.experiment, base, progress=progress)
    require_base(base, prepared)
    with ExitStack() as stack:
        alignment = stack.enter_context(open_alignment(base, prepared.aligned))
        for run in bases:
            if run.finetuned.weights.name == ADAPTER:
                alignment.require(read_adapter(run.finetuned.weights))
        stack.enter_context(locked(out, wait=False))
        write_atomically(out / SETTING, to_json(setting) + "\n")
        bench = Workbench(
            prepared=prepared,
            task=task,
            base=base,
            alignment=alignment,
            out=out,
            generations=generations,
            harmful=harmful,
        )
        own = bench.own_answers()
        fronts, told = _front(bench, bases[0])
        points, not_applicable = _make(bench, finished, bases, methods, progress)
        made = manifest(
            given={"experiment": str(experiment), "methods": list(methods), **setting["asked"]},
            inputs={"aligned": prepared.aligned_sha256, **setting["sets"]}
            | ({} if harmful is None else {"harmful": harmful.sha256}),
            seed=prepared.experiment.seed,
        )
        found = place(finished, task, points, not_applicable, own, fronts, told, made)
    found.save(out)
    return found


def choices() -> tuple[str, ...]:
    """The methods that can be compared: every defence that declares its trials, and the grid."""
    return (*compared(), GRID)


def _known(methods: Sequence[str] | None) -> Sequence[str]:
    known = choices()
    if methods is None:
        return known
    unknown = [method for method in methods if method not in known]
    if unknown or not methods:
        raise InputError(
            f"there is no method {unknown[0]!r}." if unknown else "no method is named.",
            remedy=f"There are {', '.join(known)}.",
        )
    return methods


def _front(bench: Workbench, run: Measured) -> tuple[list[TheoryCurve], list[str]]:
    """T16's front, and a note where there is none."""
    try:
        return [linearised_frontier(bench.prepared, run, bench.theta_s, bench.out)], []
    except InputError as error:
        return [], [f"The linearised front (T16) is not drawn: {error.what}"]


def _make(
    bench: Workbench,
    finished: Finished,
    bases: Sequence[Measured],
    methods: Sequence[str],
    progress: Progress,
) -> tuple[list[Point], list[NotApplied]]:
    points: list[Point] = []
    not_applicable: list[NotApplied] = []
    mine = [m for m in finished.runs if m.run.task == bench.task]
    of_grid: list[tuple[Measured, int, Measured]] = []
    for base in bases:
        bench.check(base)
        of_grid += [(m, step, base) for m, step in sweep(mine, base)]
        if GRID in methods:
            of_grid += [
                (m, m.last, base)
                for m in mine
                if m.run.plan.strategy is not None
                and (m.run.method, m.run.seed) == (base.run.method, base.run.seed)
            ]
    points += [bench.from_grid(*of) for of in progress(of_grid, "reading the grid's runs")]
    kinds = compared()
    trials = [trial for name in kinds if name in methods for trial in kinds[name].trials()]
    # Those that need whole weights last: theta_s is loaded anew for each.
    trials.sort(key=lambda trial: trial.on == "merged")
    pairs = [(trial, base) for trial in trials for base in bases]
    for trial, base in progress(pairs, "defending and measuring"):
        try:
            points.append(bench.trial(trial, base))
        except NotApplicable as error:
            not_applicable.append(
                NotApplied(
                    method=trial.method, strength=trial.strength, run=base.run.id, why=error.what
                )
            )
    return points, not_applicable


def place(
    finished: Finished,
    task: str,
    points: Sequence[Point],
    not_applicable: Sequence[NotApplied],
    own_answers: Sequence[Answer],
    fronts: Sequence[TheoryCurve],
    told: Sequence[str],
    made: dict[str, Any],
) -> TradeoffResult:
    """The points in the plane, one place for the seeds of a strength, beside the frontiers.

    ``fronts`` are curves that were measured, ``told`` what a reader must know of them, ``made`` is
    the manifest.
    """
    prepared = finished.prepared
    gates = {id(p): p.gate(prepared.vocabulary, own_answers) for p in points}
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.label, []).append(point)
    places = [
        Place(
            id=label,
            family=group[0].family,
            safety={p.seed: p.safety for p in group},
            task={p.seed: p.task for p in group},
            counts=all(gates[id(p)].passed for p in group),
        )
        for label, group in groups.items()
    ]
    seed = spawn_seed(prepared.experiment.seed, f"defences of {task}")
    plane = locate(places, rng=np.random.default_rng(seed))
    curves = [forced_frontier(prepared, task, largest_gain=plane.largest_gain), *fronts]
    mine = [m.run.id for m in finished.runs if m.run.task == task]
    if (curve := linearised_forecasts(finished.document.get("forecasts"), mine)) is not None:
        curves.append(curve)
    methods = dict.fromkeys([*(p.method for p in points), *(e.method for e in not_applicable)])
    return TradeoffResult(
        experiment=prepared.experiment.name,
        model=prepared.document["model"],
        task=task,
        unit="nats per token, changes from theta_s on held-out rows",
        places=tuple(
            TradeoffPlace(
                id=where.id,
                family=where.family,
                counts=where.counts,
                **position,
                above_forced=above_forced(
                    curves[0], position["gain"].estimate, position["rise"].estimate
                )
                if where.counts
                else None,
                seeds=tuple(point.entry(gates[id(point)]) for point in groups[where.id]),
            )
            for where, position in zip(
                plane.places, coordinates(plane, baseline=UNDEFENDED), strict=True
            )
        ),
        reference=ReferencePoint(gain=0.0, rise=plane.largest_rise),
        scores=tuple(scores(plane, baseline=UNDEFENDED)),
        frontiers=tuple(curves),
        not_applicable=tuple(not_applicable),
        aligned_answers=rates(own_answers),
        layers=tuple(
            LayerEntry(id=p.id, method=p.method, strength=p.strength, modules=p.report["modules"])
            for p in points
            if any(module["distance"] is not None for module in p.report.get("modules", ()))
        ),
        faithfulness={
            method: FaithfulnessEntry(**vars(faithfulness_of(method))) for method in methods
        },
        notes=(*_notes(finished, task, points, own_answers), *told),
        manifest=Manifest(**made),
    )


_OF_METHODS = {
    "safe-merge": "SafeMERGE's safe adapter is the alignment's own update in the fine-tune's "
    "modules, without further training; the paper tunes one on safety data.",
    "antidote": "Antidote reads the rows given as harmful; the built-in ones are placeholders that "
    "comply and say nothing.",
    "ptst": "PTST's change is from theta_s without a safety prompt, as that of all others.",
}


def _notes(
    finished: Finished, task: str, points: Sequence[Point], own: Sequence[Answer]
) -> list[str]:
    methods = {p.method for p in points}
    notes = [
        "The best strength of a family is chosen and scored on the same held-out rows, which "
        "flatters families with many strengths; the baseline is swept for that reason.",
        *(note for method, note in _OF_METHODS.items() if method in methods),
    ]
    used = {p.run for p in points}
    left_out = [m.run.id for m in finished.runs if m.run.task == task and m.run.id not in used]
    if left_out:
        notes.append(
            f"{len(left_out)} runs of the task are of another method or seed, or were not asked "
            f"for: {', '.join(left_out)}."
        )
    if any(p.answers is None for p in points):
        notes.append(
            "Points without answers (early checkpoints, whose weights are not kept) passed the "
            "coherence gate by their losses alone; they count in the undefended sweep's favour."
        )
    if (share := incoherent_share(own)) > MOST_INCOHERENT:
        notes.append(
            f"{share:.0%} of the aligned model's own answers are incoherent, so the gate lets that "
            "many more pass (half at most): look at the answers before calling a model safe."
        )
    if len({p.seed for p in points}) < 2:
        notes.append("One seed: intervals are over rows and know nothing of other seeds.")
    if finished.missing:
        notes.append(
            f"{len(finished.missing)} runs of the grid are not done and not in the plane: "
            f"{', '.join(finished.missing)}."
        )
    return notes


def _generations(
    experiment: Experiment, prompts: int | None, max_new_tokens: int | None
) -> Generations | None:
    own = experiment.generations or Generations()
    if prompts == 0:
        return None
    return Generations(
        prompts=own.prompts if prompts is None else prompts,
        max_new_tokens=own.max_new_tokens if max_new_tokens is None else max_new_tokens,
    )


def _without_held_out(harmful: Dataset, prepared: Prepared) -> Dataset:
    """The harmful rows that no point is measured on."""
    measured = {
        " ".join(prompt.split()).casefold()
        for name, data in prepared.sets.items()
        if name.endswith("held-out")
        for prompt in data.prompts
    }
    kept = [e for e in harmful.examples if " ".join(e.prompt.split()).casefold() not in measured]
    if not kept:
        raise InputError(
            "every harmful row has a prompt that is held out for the measurement.",
            remedy="Give other rows as `harmful`.",
            file=harmful.source,
        )
    return Dataset.of(kept, name=harmful.name, source=harmful.source)
