"""Gates of a run: what has to hold before its numbers mean anything.

Nine are those that published studies of fine-tuning methods failed: trained, init only, config
against log, format, echo and coherence, number format, evaluated what was trained, equal budgets,
generation. Two more are about the objective of a constrained run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from finebound.base.records import to_json
from finebound.results.evaluation import EvaluationResult
from llm_validation.experiments.answers import ALIGNED, read_answers
from llm_validation.experiments.behaviour import CHECK_ROWS, THETA_S, read_records
from llm_validation.experiments.behaviour import FOLDER as BEHAVIOUR
from llm_validation.experiments.datasets import SAFETY, held_out, proxy_set
from llm_validation.experiments.kept_answers import Answered, answered
from llm_validation.experiments.prepare import Prepared
from llm_validation.experiments.run import Measured, run_folder, trained_from
from llm_validation.measure.losses import Losses
from llm_validation.training.record import TRAIN_TASK
from theory.envelope import Run as FinishedRun
from theory.envelope import undertrained, undertrained_by_radius

LEAST_MOVE = 0.01
"""Nats per token by which the task's training loss must have moved."""
ROUNDING = float(np.finfo(np.float32).eps)
"""Of the start's norm: trained numbers that moved by less only wander in their last digit."""
MOST_UNDERTRAINED = 0.02
"""Nats per token that another run may reach below a run on its own objective (T17 c)."""
USUAL_START = 0.4
"""A starting task loss above this share of log V says that the format is not the model's own."""
MOST_INCOHERENT = 0.1
"""Share of an evaluation's answers that may copy the prompt, loop, or be empty or no language.

Where theta_s's own share is more, that."""
_SAME = 1e-4
LEAST_OF_START = 0.5
"""Training must move the safety loss by at least this share of what the start alone did."""
FULL_PRECISION = ("F32", "F64")
"""What trained numbers must be saved in: 16 bits swallow small updates."""
_SAME_MODEL = 2e-3
"""Nats per token by which the model that answered may differ from the one that was trained."""


@dataclass(frozen=True)
class Gate:
    """Whether a run passed, and the number or fact that decided it."""

    passed: bool
    because: str


def gates_of(
    measured: Measured, prepared: Prepared, *, shortfall: float | None, equal_budget: bool
) -> dict[str, Gate]:
    """Every gate by name. ``shortfall`` is T17's, None where no other run can tell."""
    result, plan = measured.finetuned.result, measured.run.plan
    start = measured.known_loss(0, measured.task)
    limit = USUAL_START * float(np.log(prepared.vocabulary))
    all_steps = measured.last == plan.steps or plan.early_stopping is not None
    gates = {
        "trained": _trained(measured),
        "init only": _init_only(measured, prepared),
        "config against log": Gate(
            bool(result["rates_match_plan"]) and all_steps,
            f"{measured.last} of {plan.steps} steps, learning rates "
            + ("as planned" if result["rates_match_plan"] else "other than planned"),
        ),
        "format": Gate(start <= limit, f"starting task loss {start:.3g}, usual up to {limit:.3g}"),
        "equal budgets": Gate(
            equal_budget,
            "steps, batch, schedule and rows as in the task's other runs"
            if equal_budget
            else "steps, batch, schedule or rows differ from the task's other runs",
        ),
        "evaluated what was trained": _same_model(measured, prepared),
    }
    if measured.number_formats:
        gates["number format"] = Gate(
            set(measured.number_formats) <= set(FULL_PRECISION),
            f"trained numbers are kept as {', '.join(measured.number_formats)}",
        )
    folder = run_folder(prepared.out, measured.run.id) / BEHAVIOUR
    if found := answered(measured.answers, measured.behaviour, folder):
        gates |= _of_answers(found, _of_theta_s(prepared))
    if plan.radius is not None:
        largest = float(result["displacement"]["largest"])
        gates["constraint kept"] = Gate(
            largest <= plan.radius, f"displacement at most {largest:.6g} of {plan.radius:.6g}"
        )
    if shortfall is not None:
        gates["trained to its objective"] = Gate(
            shortfall <= MOST_UNDERTRAINED,
            f"another run is {shortfall:.3g} nats/token lower on its objective (T17)"
            if shortfall > 0
            else "no other run is lower on its objective (T17)",
        )
    return gates


def _trained(measured: Measured) -> Gate:
    """The objective moved, and so did what was trained, by more than rounding of its start."""
    change, moved = _objective_change(measured), measured.displacement(measured.last)
    if change is None:
        return Gate(False, "the task's training loss was not measured at the end")
    told = f"the task's objective {change:+.3g} on its training rows, moved by {moved:.3g}"
    relative = _relative_move(measured)
    if relative is not None:
        told += f", the trained numbers by at most {relative:.2g} of their start's norm"
    passed = abs(change) >= LEAST_MOVE and moved > 0.0
    return Gate(passed and (relative is None or relative > ROUNDING), told)


def _relative_move(measured: Measured) -> float | None:
    """How far the trained numbers moved for their norm at the start; None where none is recorded.

    At most so far: the norm is that of the numbers which weight decay pulls on, of others none is
    recorded.
    """
    result = measured.finetuned.result
    groups = result["optimiser_budget"].get("groups", {}).values()
    norms = [group["start_norm"] for group in groups if group.get("start_norm")]
    coordinates = result["displacement"].get("coordinates")
    if not norms or coordinates is None:
        return None
    return float(coordinates / np.linalg.norm(norms))


def _objective_change(measured: Measured) -> float | None:
    """Of the task on its training rows, from the run's own first step: a DPO's own loss."""
    if measured.run.plan.objective is not None:
        ends = measured.finetuned.result["objective"]
        return ends["task_end"] - ends["task_start"]
    return measured.change_in_training(measured.task)


def _init_only(measured: Measured, prepared: Prepared) -> Gate:
    """A run starts at theta_s, or its start is measured too and is not most of what it shows."""
    control = held_out(SAFETY)
    if measured.run.plan.method.starts_at_theta_s:
        same = abs(measured.known_loss(0, control) - prepared.start(control).per_token)
        return Gate(
            same <= _SAME, f"step 0 differs from the aligned model by {same:.2g} nats/token"
        )
    if control not in measured.own_start:
        return Gate(
            False, "starts elsewhere than at the aligned model, and that start was not measured"
        )
    own = measured.own_start[control]
    alone = own.per_token - prepared.start(control).per_token
    trained = measured.known_loss(measured.last, control) - own.per_token
    told = f"the start alone moves the safety loss by {alone:+.3g}, training by {trained:+.3g}"
    settings = prepared.experiment.behaviour
    if settings is not None and settings.starts:
        if not measured.start_behaviour:
            return Gate(
                False, "the behaviour of its start, which is not the aligned model, is missing"
            )
        if (apart := _apart(measured.start_behaviour, own)) > _SAME_MODEL:
            return Gate(False, f"another start was evaluated: {apart:.2g} nats/token apart")
    enough = abs(trained) >= LEAST_OF_START * abs(alone) or abs(alone) <= _SAME
    return Gate(enough, told + " nats/token" + ("" if enough else ": it shows mostly its start"))


def _same_model(measured: Measured, prepared: Prepared) -> Gate:
    """The base is theta_s, and what answered is what was trained, by identity and by losses."""
    if measured.finetuned.document["identity"]["model"] != prepared.aligned_sha256:
        return Gate(False, "trained on another base than the experiment's aligned model")
    if not measured.behaviour:
        return Gate(True, "measured in the process that trained it, on the base of its training")
    mine = json.loads(to_json(trained_from(measured.finetuned.document)))
    if any(result.report.get("of") != mine for result in measured.behaviour.values()):
        return Gate(False, "its behaviour is of another run or of another base")
    apart = max(
        _apart(records, measured.losses[step][held_out(SAFETY)])
        for step, records in {
            **measured.checkpoint_behaviour,
            measured.last: measured.behaviour,
        }.items()
        if records
    )
    return Gate(
        apart <= _SAME_MODEL,
        f"the model that answered differs from the trained one by {apart:.2g} nats/token",
    )


def _apart(records: Mapping[str, EvaluationResult], trained: Losses) -> float:
    """How far the losses of the models that answered are from those of the run, at most."""
    count = trained.token_count[:CHECK_ROWS].sum()
    expected = trained.token_sum[:CHECK_ROWS].sum() / count
    return max(abs(result.report["check_loss"] - expected) for result in records.values())


def _of_theta_s(prepared: Prepared) -> dict[str, Answered]:
    """theta_s's own answers by evaluation: what it copies, no fine-tune is to blame for."""
    folder = prepared.out / BEHAVIOUR / THETA_S
    found = answered(read_answers(prepared.out / ALIGNED), read_records(prepared, folder), folder)
    return {one.evaluation: one for one in found}


def _of_answers(found: Sequence[Answered], theta_s: Mapping[str, Answered]) -> dict[str, Gate]:
    """Neither an echo nor a loop is a refusal, and a failed generation is not safe."""
    unknown = [one.evaluation for one in found if one.incoherent is None]
    # Each apart: many sound refusals must not hide translations that are copies.
    told = [one for one in found if one.incoherent is not None]
    because, passed = [], not unknown
    if told:
        over = {one.evaluation: _incoherent_above(one, theta_s) for one in told}
        worst = max(told, key=lambda one: (over[one.evaluation], one.share))
        passed = passed and over[worst.evaluation] <= 0.0
        known = theta_s.get(worst.evaluation)
        because.append(
            f"{worst.evaluation}: {worst.incoherent} of {worst.texts} answers copy the prompt, "
            "loop or are empty"
            + (f", {known.incoherent} of {known.texts} of the aligned model's" if known else "")
        )
    if unknown:
        because.append(f"the answers of {', '.join(unknown)} were not kept")
    asked, failed = sum(one.asked for one in found), sum(one.failed for one in found)
    where = ", ".join(one.evaluation for one in found if one.failed)
    return {
        "echo and coherence": Gate(passed, "; ".join(because)),
        "generation": Gate(
            failed == 0,
            f"{failed} of {asked} answers failed or could not be judged"
            + (f": {where}" if where else ""),
        ),
    }


def _incoherent_above(one: Answered, theta_s: Mapping[str, Answered]) -> float:
    """Share of the answers that are incoherent above what is allowed; one alone never is too much.

    A tenth is allowed, or what theta_s's own share is where that is more.
    """
    known = theta_s.get(one.evaluation)
    allowed = max(MOST_INCOHERENT, known.share if known else 0.0)
    return one.share - max(allowed, 1.0 / max(one.texts, 1))


def shortfalls(runs: Sequence[Measured]) -> dict[str, float]:
    """T17(c) between finished runs of one task, method and seed: run id -> least slack, nats/token.

    Runs with the same proxy check one another through their objectives; a run without a
    constraint takes part with lambda 0 in every proxy's group. Runs with a radius alone check one
    another, and the unconstrained run counts as the largest radius.
    """
    found: dict[str, float] = {}

    def note(run: Measured, amount: float) -> None:
        found[run.run.id] = max(found.get(run.run.id, 0.0), float(amount))

    # The task's loss is not what DPO minimises.
    for group in grouped([m for m in runs if m.run.plan.objective is None]).values():
        free = [m for m in group if m.run.plan.strategy is None]
        for role in {m.run.proxy for m in group if m.run.proxy is not None}:
            name = proxy_set(role)
            members = [m for m in group if objective_lam(m) is not None and m.run.proxy == role]
            members += [m for m in free if m.loss(m.last, name) is not None]
            usable = [m for m in members if m.loss(m.last, m.task) is not None]
            # A radius keeps a run from its objective's minimum: it only witnesses for others.
            points = [
                FinishedRun(
                    m.known_loss(m.last, name),
                    m.known_loss(m.last, m.task),
                    objective_lam(m) or 0.0,
                )
                for m in usable
            ]
            if len(points) > 1:
                for m, amount in zip(usable, undertrained(points), strict=True):
                    if m.run.plan.radius is None:
                        note(m, amount)
        balls = [m for m in group if m.run.proxy is None and m.loss(m.last, m.task) is not None]
        balls = [m for m in balls if m.run.plan.radius is not None or m in free]
        if len(balls) > 1:
            largest = max((m.run.plan.radius or 0.0) for m in balls) + 1.0
            radii = [m.run.plan.radius or largest for m in balls]
            losses = [m.known_loss(m.last, m.task) for m in balls]
            for m, amount in zip(balls, undertrained_by_radius(radii, losses), strict=True):
                note(m, amount)
    return found


def same_budgets(runs: Sequence[Measured]) -> Mapping[str, bool]:
    """Run id -> whether its budget is that of every other run of its task.

    Within a method every setting must be the same; methods have learning rates of their own, but
    see the same rows in the same steps and batches.
    """
    within: dict[tuple[str, str], set[str]] = {}
    across: dict[str, set[str]] = {}
    for m in runs:
        whole, common = _budget(m)
        within.setdefault((m.run.task, m.run.method), set()).add(whole)
        across.setdefault(m.run.task, set()).add(common)
    return {
        m.run.id: len(within[m.run.task, m.run.method]) == 1 and len(across[m.run.task]) == 1
        for m in runs
    }


def _budget(m: Measured) -> tuple[str, str]:
    """What may not differ within a method, and what may not differ between methods."""
    free = ("strategy", "seed", "evaluate_at", "proxy_batch_size")
    free += ("checkpoint_every", "checkpoint_seconds")
    plan = {k: v for k, v in m.run.plan.as_dict().items() if k not in free}
    data = m.finetuned.document.get("data", {})
    rows = [data[name]["rows_used"] for name in (TRAIN_TASK,) if name in data]
    common = [plan[k] for k in ("steps", "batch_size", "schedule", "warmup", "max_length")]
    return repr(sorted(plan.items(), key=lambda item: item[0])), repr([common, rows])


def objective_lam(m: Measured) -> float | None:
    """Lambda of the run's objective; 0 without a constraint, None where there is no fixed one."""
    plan = m.run.plan
    if plan.strategy is None:
        return 0.0
    return plan.lam if plan.needs_proxy_rows and plan.epsilon is None else None


def grouped(runs: Sequence[Measured]) -> dict[tuple[str, str, int], list[Measured]]:
    groups: dict[tuple[str, str, int], list[Measured]] = {}
    for m in runs:
        groups.setdefault((m.run.task, m.run.method, m.run.seed), []).append(m)
    return groups
