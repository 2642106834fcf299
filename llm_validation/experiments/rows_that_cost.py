"""Whether the rows that are said to cost the safety do.

``python -m llm_validation.experiments.rows_that_cost --out FOLDER`` goes through the registry
(``rows_that_cost.json``). Each task's rows are scored beside the coarse unroll of an estimate. The
plan is then run with all rows, without the costliest, without those that the plain gradient cosine
names, and without as many at random. A small fine-tune is run once more without each of its rows.
One record holds all; a second call goes on with what is missing. No score reads an answer that a
fine-tune is measured on. The record so far is in ``records``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finebound.base.errors import InputError
from finebound.base.progress import Progress, bar, silent
from finebound.base.records import manifest, spawn_seed
from finebound.results.result import Manifest
from finebound.results.rows_that_cost import (
    COSINE,
    NOTHING,
    RANDOM,
    SCORES,
    Agreement,
    BeyondRandom,
    DroppedRows,
    LeaveOneOut,
    RowsThatCostResult,
    WithoutRows,
)
from finebound.results.spans import Limits
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import Encoded
from llm_validation.data.loading import load_dataset
from llm_validation.defences.row_features import gradient_space, gradients
from llm_validation.defences.row_matching import highest
from llm_validation.estimation.options import unroll_of
from llm_validation.estimation.outlook import TASK_ROWS, Asked, ask_model
from llm_validation.estimation.unroll_sizes import PLAN_ROWS, PLAN_SHARE
from llm_validation.evaluation.hazards.probes import load_probes
from llm_validation.evaluation.refusal.classifier import classify
from llm_validation.evaluation.refusal.labels import Label
from llm_validation.evaluation.statistics.correlation import correlation, spearman
from llm_validation.evaluation.statistics.intervals import difference_over_items_and_seeds
from llm_validation.experiments.evidence import (
    measured,
    plan_of,
    registry_options,
    task_of,
)
from llm_validation.forecast.optimiser import train
from llm_validation.forecast.outcome import Outcome, outcome, unchanged
from llm_validation.forecast.rows_that_cost import RowsThatCost, rows_that_cost
from llm_validation.forecast.stored_answers import PREFIX
from llm_validation.forecast.unroll import CoarseUnroll
from llm_validation.forecast.world import World, prepared
from llm_validation.measure.gradients import loss_and_gradient
from llm_validation.measure.losses import measure_losses
from llm_validation.models.loading import load_model
from llm_validation.training.plan import TrainingPlan
from llm_validation.training.streams import Stream, Streams

REGISTRY = Path(__file__).with_suffix(".json")
RECORD = Path(__file__).parent / "records" / RowsThatCostResult.file
_ORDERS = 2000


@dataclass(frozen=True)
class _Without(Stream):
    """A stream whose steps come without the row at one place; the others keep their steps."""

    place: int = -1

    def indices(self, step: int) -> np.ndarray:
        found = super().indices(step)
        return found[found != self.place]


def run_registry(
    registry: Mapping[str, Any],
    out: Path,
    *,
    only: Sequence[str] = (),
    progress: Progress = silent,
) -> RowsThatCostResult:
    """The whole record, with what of it is asked for and missing made.

    Raises InputError where the folder holds the record of another registry.
    """
    file = out / RowsThatCostResult.file
    known = RowsThatCostResult.load(file) if file.is_file() else None
    if known and known.manifest.given != registry:
        raise InputError(
            "the record is of another registry.", remedy="Give another folder.", file=file
        )
    tasks = {task.id: task for task in (known.tasks if known else [])}
    left_out = known.leave_one_out if known else None
    alone = registry["leave_one_out"]
    wanted = only or [alone["id"], *(entry["id"] for entry in registry["tasks"])]
    entries = [e for e in registry["tasks"] if e["id"] in wanted and e["id"] not in tasks]
    if known and not entries and (left_out or alone["id"] not in wanted):
        return known
    asked = ask_model(
        load_model(registry["model"], progress=progress),
        load_probes(registry["probes"]).probes,
        progress=progress,
    )

    def saved() -> RowsThatCostResult:
        inputs = {task.id: task.task_sha256 for task in tasks.values()}
        result = RowsThatCostResult(
            model_sha256=asked.loaded.sha256,
            fraction=registry["fraction"],
            tasks=list(tasks.values()),
            leave_one_out=left_out,
            manifest=Manifest(**manifest(given=registry, inputs=inputs, seed=asked.seed)),
        )
        result.save(out)
        return result

    for entry in entries:
        tasks[entry["id"]] = drop_rows(asked, entry, registry, progress=progress)
        saved()
    if left_out is None and alone["id"] in wanted:
        left_out = leave_one_out(asked, alone, plan_of(alone, registry["plan"]), progress=progress)
    return saved()


def drop_rows(
    asked: Asked,
    entry: Mapping[str, Any],
    registry: Mapping[str, Any],
    *,
    progress: Progress = silent,
) -> DroppedRows:
    """Run a task's plan with all rows, without each rule's and without as many at random."""
    started = time.perf_counter()
    plan, fraction = plan_of(entry, registry["plan"]), registry["fraction"]
    world, safety, planted = _known(asked, entry, plan)
    numbers = np.array([row.row for row in world.encoded("task")])
    unroll = unroll_of(world, plan, PLAN_SHARE, PLAN_ROWS)
    scored = _scores(world, plan, unroll, safety, progress)
    choices = [(NOTHING, ()), (SCORES, scored.costliest(fraction))]
    cosines = _cosines(world, safety, entry["seed"], progress)
    choices.append((COSINE, tuple(numbers[list(highest(cosines, fraction))].tolist())))
    for draw in range(registry["random_draws"]):
        rng = np.random.default_rng(spawn_seed(entry["seed"], f"random rows {draw}"))
        drawn = rng.permutation(numbers)[: round(fraction * len(numbers))]
        choices.append((RANDOM, tuple(np.sort(drawn).tolist())))
    measured_rows = world.sample("task_measured", TASK_ROWS)
    before = unchanged(asked.loaded, asked.stored, measured_rows)
    runs, found = [], []
    for by, dropped in choices:
        after = _run_without(asked, world, plan, dropped, measured_rows, progress)
        found.append((by, after))
        runs.append(
            WithoutRows(
                by=by,
                rows=list(dropped),
                planted=len(planted & set(dropped)),
                measured=measured(before, after),
            )
        )
    rng = np.random.default_rng(spawn_seed(entry["seed"], "intervals"))
    return DroppedRows(
        id=entry["id"],
        entry=dict(entry),
        task_sha256=world.task.sha256,
        rows=len(numbers),
        planted=len(planted & set(numbers.tolist())),
        cost_share=scored.tokens / world.finetune_tokens(plan),
        runs=runs,
        beyond_random=[_beyond_random(by, found, rng) for by in (SCORES, COSINE)],
        seconds=time.perf_counter() - started,
    )


def leave_one_out(
    asked: Asked, entry: Mapping[str, Any], plan: TrainingPlan, *, progress: Progress = silent
) -> LeaveOneOut:
    """Run the plan with all rows, then without each, whose place in its steps stays empty."""
    started = time.perf_counter()
    world, safety, _ = _known(asked, entry, plan)
    exact = CoarseUnroll(steps=plan.steps)
    scored = _scores(world, plan, exact, safety, progress)
    streams, rows = exact.streams(world, plan), world.encoded("task")

    def safety_loss(task: Stream) -> float:
        harmful = [
            row for row, mine in zip(asked.stored.rows, asked.stored.harmful, strict=True) if mine
        ]
        with prepared(asked.loaded, plan) as (model, _):
            rates = plan.learning_rates()
            train(model, plan, Streams(task), rates, pad_id=world.pad_id)
            return measure_losses(model, harmful, pad_id=world.pad_id).per_token

    whole = safety_loss(streams.task)
    places = progress(range(len(rows)), "leaving one row out")
    changes = [whole - safety_loss(_Without(**vars(streams.task), place=i)) for i in places]
    scores = {
        SCORES: scored.changes[np.argsort(scored.rows)],
        COSINE: _cosines(world, safety, entry["seed"], progress),
    }
    rng = np.random.default_rng(spawn_seed(entry["seed"], "leave one out"))
    chance = [spearman(rng.permutation(len(rows)), changes) for _ in range(_ORDERS)]
    low, high = np.quantile(chance, (0.05, 0.95))
    return LeaveOneOut(
        entry=dict(entry),
        task_sha256=world.task.sha256,
        rows=[row.row for row in rows],
        changes=changes,
        scores={by: values.tolist() for by, values in scores.items()},
        agreement=[
            Agreement(
                by=by,
                spearman=Limits.from_interval(correlation(values, changes, rng=rng).spearman),
            )
            for by, values in scores.items()
        ],
        random=(float(low), float(high)),
        seconds=time.perf_counter() - started,
    )


def _known(
    asked: Asked, entry: Mapping[str, Any], plan: TrainingPlan
) -> tuple[World, list[Encoded], frozenset[int]]:
    """What is known before the fine-tune: also the beginnings of refusals, and the planted rows.

    The refusals are answers to probes on which nothing is measured.
    """
    task, held_out = task_of(entry)
    task = task.take(entry["rows"], seed=entry["seed"])
    refusals = Dataset.of(
        (
            example
            for example in asked.safety.examples
            if classify(example.prompt, example.response) is Label.REFUSAL
        ),
        name=f"refusals of {asked.loaded.name}",
        source="self-generated",
    )
    world = World(
        asked.loaded,
        refusals,
        task,
        task_measured=held_out,
        max_length=plan.max_length,
        seed=entry["seed"],
    )
    own = set(load_dataset(entry["task"]).prompts)
    planted = (i for i, prompt in enumerate(task.prompts, start=1) if prompt not in own)
    # The end of turn after a cut answer is not the model's.
    beginnings = [row.beginning(PREFIX) for row in world.encoded("safety")]
    return world, beginnings, frozenset(planted)


def _scores(
    world: World,
    plan: TrainingPlan,
    unroll: CoarseUnroll,
    safety: Sequence[Encoded],
    progress: Progress,
) -> RowsThatCost:
    with unroll.unrolled(world, plan, progress=progress) as (model, path):
        rates = unroll.rates(plan)
        return rows_that_cost(world, plan, model, path, rates, safety, progress=progress)


def _cosines(world: World, safety: Sequence[Encoded], seed: int, progress: Progress) -> np.ndarray:
    """Minus each row's gradient cosine with the safety rows at the aligned model, to scale."""
    with gradient_space(world.model, seed=seed) as space:
        direction = loss_and_gradient(
            world.model.model, space, safety, pad_id=world.pad_id
        ).gradient
        rows = gradients(
            *(world.model, space, world.encoded("task")),
            progress=progress,
            doing="gradients of task rows",
        )
        return -np.array([float(torch.dot(row, direction)) for row in rows])


def _run_without(
    asked: Asked,
    world: World,
    plan: TrainingPlan,
    dropped: Sequence[int],
    measured_rows: Sequence[Encoded],
    progress: Progress,
) -> Outcome:
    """The whole plan, spare rows in the places of the dropped ones; all others keep theirs."""
    streams = CoarseUnroll(steps=plan.steps).streams(world, plan)
    kept_out = {row.row for row in streams.task.encoded} | set(dropped)
    spare = iter([row for row in world.encoded("task") if row.row not in kept_out])
    filled = (next(spare, None) if row.row in dropped else row for row in streams.task.encoded)
    rows = tuple(row for row in filled if row is not None)
    with prepared(asked.loaded, plan) as (model, _):
        train(
            model,
            plan,
            Streams(replace(streams.task, encoded=rows)),
            plan.learning_rates(),
            pad_id=world.pad_id,
            progress=progress,
        )
        return outcome(
            asked.loaded,
            model,
            asked.stored,
            measured_rows,
            temperatures=(1.0, 0.0),
            seed=asked.seed + 3,
            progress=progress,
        )


def _beyond_random(
    by: str, found: Sequence[tuple[str, Outcome]], rng: np.random.Generator
) -> BeyondRandom:
    harmful = found[0][1].stored.harmful
    count = found[0][1].token_count[harmful].mean()

    def compared(values: Mapping[str, list[np.ndarray]]) -> Limits:
        difference = difference_over_items_and_seeds(values[by], values[RANDOM], rng=rng)
        return Limits.from_interval(difference)

    refusals: dict[str, list[np.ndarray]] = {}
    falls: dict[str, list[np.ndarray]] = {}
    for rule, after in found:
        refusals.setdefault(rule, []).append(after.refused[1.0][0, harmful].astype(float))
        falls.setdefault(rule, []).append(after.fall[harmful] / count)
    return BeyondRandom(by=by, refusal=compared(refusals), safety_loss=compared(falls))


def main() -> None:
    """The command."""
    asked = registry_options("rows_that_cost", __doc__, REGISTRY)
    with bar() as progress:
        result = run_registry(asked.registry, asked.out, only=asked.only, progress=progress)
    print(result.summary())


if __name__ == "__main__":
    main()
