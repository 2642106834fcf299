"""The outcome of an experiment for people at a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finebound.base.output import number
from finebound.results.experiment import AnswerRates, ExperimentResult, Share
from finebound.results.result import Known
from finebound.views.experiment import table, tables
from finebound.views.tables import Table
from finebound.views.terminal import console


def print_table(table: Table) -> None:
    """One table on stdout."""
    console().print(table.rich())


def print_experiment(result: ExperimentResult, folder: Path) -> None:
    """Runs beside their bounds, the bounds' verdicts, the split, the findings."""
    out = console()
    for line in _before_the_tables(result):
        out.print(line, markup=False)
    out.print(table(result).rich())
    for line in _after_the_runs(result):
        out.print(line, markup=False)
    for one in tables(result):
        out.print(one.rich())
    for line in _closing(result):
        out.print(line, markup=False)
    out.print(f"Written: {folder / result.file}, comparison.json", markup=False, soft_wrap=True)


def _before_the_tables(result: ExperimentResult) -> list[str]:
    aligned = result.aligned
    answers = aligned.answers.after
    if aligned.as_it_is:
        told = (
            f"Aligned model: {result.model} as it is, loss {_two(aligned.safety_loss[1])} "
            f"nats/token on the safety rows, {_two(aligned.held_out_safety_loss[1])} on held-out "
            "ones."
        )
        if answers:
            told += (
                f" It refuses {_of(answers.refusal)} held-out harmful prompts and "
                f"{_of(answers.over_refusal)} harmless look-alikes."
            )
        return [told]
    told = (
        f"Aligned model: loss {_from_to(aligned.safety_loss)} nats/token on its training rows, "
        f"{_from_to(aligned.held_out_safety_loss)} on held-out ones."
    )
    before = aligned.answers.before
    return [f"{told} {_refusals(before, answers)}" if before and answers else told]


def _refusals(before: AnswerRates, after: AnswerRates) -> str:
    return (
        f"It refuses {_of(after.refusal)} held-out harmful prompts (before: "
        f"{_of(before.refusal)}) and {_of(after.over_refusal)} harmless look-alikes (before: "
        f"{_of(before.over_refusal)})."
    )


def _after_the_runs(result: ExperimentResult) -> list[str]:
    lines = [f"{run.id} failed: {run.error}" for run in result.runs if run.status == "failed"]
    if pending := sum(run.status == "pending" for run in result.runs):
        lines.append(f"{pending} runs are not done yet; the next start goes on with them.")
    lines += [
        f"VIOLATED: {c.run} at step {c.step}: {c.statement} ({c.form}) says {number(c.value)}, "
        f"measured {number(c.measured)}."
        for c in result.violated
    ]
    lines += [
        f"Router of {r.task}, {r.method}, seed {r.seed}: balanced accuracy "
        f"{r.balanced_accuracy:.3f}, change in safety loss {r.losses.safety_increase:+.3f}, "
        f"capability gap {r.losses.capability_gap:+.3f} nats/token."
        for r in result.routers
    ]
    return lines


def _closing(result: ExperimentResult) -> list[str]:
    lines = []
    if not any(finding.effects for finding in result.findings):
        lines.append("The paper's findings: this grid has no pairs of runs that test one.")
    by_reason: dict[str, list[str]] = {}
    for run in result.done:
        for gate in run.failed_gates:
            by_reason.setdefault(f"{gate}: {run.gate_details[gate]}", []).append(run.id)
    if by_reason:
        lines.append("\nGates failed:")
    lines += [f"  {reason} ({', '.join(runs)})" for reason, runs in by_reason.items()]
    counts = result.bounds
    lines.append(
        f"\nBounds: {counts.held} held, {counts.violated} violated ({counts.violated_certain} of "
        f"them certain), {counts.vacuous} vacuous, {counts.premise_failed} whose premise failed."
    )
    return lines


def _from_to(losses: Sequence[Known]) -> str:
    return f"{_two(losses[0])} before, {_two(losses[1])} after"


def _two(loss: Known) -> str:
    return "-" if loss is None else f"{loss:.2f}"


def _of(share: Share) -> str:
    return f"{share.count} of {share.n}"
