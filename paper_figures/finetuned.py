"""What the figures of real fine-tunes share: a finished experiment, in numbers and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from finebound.base.integrity import read_record
from finebound.base.records import file_sha256
from finebound.results.comparison import ComparisonResult
from finebound.results.experiment import DoneRun, ExperimentResult
from finebound.views import style
from finebound.views.claims import Claim
from paper_figures import paths

PROXY_COLOURS = {
    "same-teacher": style.BLUE,
    "self-generated": style.GREEN,
    "other-teacher": style.RED,
    "original": style.ORANGE,
}


@dataclass(frozen=True)
class ReadExperiment:
    """A finished experiment, its folder, its files' SHA-256 and how to make it."""

    result: ExperimentResult
    folder: Path
    files: dict[str, str]
    remedy: str


def read_experiment(configuration: str, *files: str) -> ReadExperiment:
    """The finished experiment of a configuration, which must have these ``files``.

    Raises InputError, with the command that makes it, where it is not finished or not as written.
    """
    folder = paths.FINETUNED[configuration]
    remedy = f"Make it with `finebound validate {configuration} --out {folder.name}`."
    for file in (folder / name for name in files):
        if not file.is_file():
            what = "is missing: the fine-tunes are not finished."
            raise InputError(what, remedy=remedy, file=file)
    try:
        result = ExperimentResult.load(folder)
    except InputError as error:
        raise InputError(error.what, remedy=remedy, file=error.file) from None
    hashes = {name: file_sha256(folder / name) for name in files}
    return ReadExperiment(result, folder, hashes, remedy)


def read_finetuned(configuration: str = "small") -> tuple[ExperimentResult, dict[str, Any]]:
    """The finished experiment of a configuration, by default that of ``make validate``.

    Beside it what made it: its manifest, its size and the hashes of the files. Raises InputError
    where it is not finished.
    """
    names = (ExperimentResult.file, ComparisonResult.file, "prepared.json")
    read = read_experiment(configuration, *names)
    result = read.result
    prepared = read_record(read.folder / names[-1], remedy=read.remedy)
    return result, {
        "model": result.model,
        "vocabulary": prepared["vocabulary"],
        "rows": {name: entry.rows for name, entry in result.sets.items()},
        "runs_done": len(result.done),
        "runs_planned": len(result.runs),
        "steps": max((run.steps for run in result.done), default=0),
        "files": read.files,
        "manifest": result.manifest.to_dict(),
    }


def run_of(run: DoneRun) -> dict[str, Any]:
    """A finished run: its names, its held-out changes with intervals, its exact training ones.

    All changes are of losses from the aligned model, in nats per token; ``task`` is negative for a
    gain.
    """
    low, high = run.capability_gain_interval
    return {
        "id": run.id,
        "task": run.task,
        "proxy": run.proxy,
        "kind": run.strategy["kind"],
        "lam": run.strategy.get("lam"),
        "radius": run.strategy.get("radius"),
        "safety": [run.safety_gap, *run.safety_interval],
        "task_change": [-run.capability_gain, -high, -low],
        "training_safety": run.training_sets["safety_gap"],
        "training_task": -run.training_sets["capability_gain"],
        "failed": run.failed_gates,
    }


def main_task(runs: Iterable[dict[str, Any]]) -> str:
    """The task that the most runs are on."""
    return Counter(run["task"] for run in runs).most_common(1)[0][0]


def words(run: dict[str, Any], *, main: str) -> str:
    """A run's strategy and proxy as a short label, with its task unless that is ``main``.

    A dagger stands behind a run that failed a gate.
    """
    parts = []
    if run["lam"] is not None:
        parts.append(rf"$\lambda$ {run['lam']:g}")
    if run["radius"] is not None:
        parts.append(f"radius {run['radius']:g}")
    if run["proxy"] is not None:
        parts.append(run["proxy"])
    told = " ".join(parts) or "unconstrained"
    named = told if run["task"] == main else f"{run['task']}: {told}"
    return f"{named} †" if run["failed"] else named


def gates_note(runs: Iterable[dict[str, Any]], sign: str) -> str:
    """A caption's last sentence: what ``sign`` (hollow, a dagger) means; empty where all passed."""
    failed = [f"{run['id']} ({', '.join(run['failed'])})" for run in runs if run["failed"]]
    return f" {sign}: behind a failed gate, {'; '.join(failed)}." if failed else ""


def setting(about: dict[str, Any]) -> str:
    """The model and the size of the experiment, for a caption."""
    rows = about["rows"]
    return (
        f"{about['model']}, {about['steps']} steps; {rows['safety']} safety training rows, "
        f"{rows['safety.held-out']} held out; {about['runs_done']} of {about['runs_planned']} "
        "planned runs finished"
    )


def of_findings(findings: Iterable[dict[str, Any]], starts: dict[str, str]) -> list[Claim]:
    """A claim for each finding whose key is in ``starts``, with how its sentence begins."""
    claims = []
    for finding in findings:
        if finding["finding"] not in starts:
            continue
        effects = [
            f"{effect['estimate']:+.3g} ({float(effect['interval'][0]):.2g} to "
            f"{float(effect['interval'][1]):.2g}) {effect['unit']} at {effect['where']}"
            for effect in finding["effects"]
        ]
        told = "; ".join(effects) or f"0 comparisons, {finding['why_not_tested']}"
        claims.append(
            Claim(
                f"{starts[finding['finding']]} {finding['claim']},",
                finding["verdict"] == "confirmed",
                f"{finding['verdict']}, effects in its favour {told}",
            )
        )
    return claims
