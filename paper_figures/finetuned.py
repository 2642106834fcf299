"""What the figures of real fine-tunes share: the experiment of ``make validate``, in numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError
from finebound.base.integrity import require_seal
from finebound.base.records import file_sha256
from finebound.views import style
from finebound.views.claims import Claim
from paper_figures import paths

if TYPE_CHECKING:
    pass

SAFETY_RISE = "safety loss rise"
PROXY_COLOURS = {
    "same-teacher": style.BLUE,
    "self-generated": style.GREEN,
    "other-teacher": style.RED,
    "original": style.ORANGE,
}
_FILES = ("validate.json", "comparison.json", "prepared.json")


@dataclass(frozen=True)
class Finetuned:
    """A finished experiment: its three files as they are, and what made them."""

    found: dict[str, Any]
    compared: list[dict[str, Any]]
    prepared: dict[str, Any]
    about: dict[str, Any]

    @property
    def done(self) -> list[dict[str, Any]]:
        """The finished runs' entries of ``validate.json``."""
        return [run for run in self.found["runs"] if run["status"] == "done"]


def read_finetuned(configuration: str = "small") -> Finetuned:
    """The finished experiment of a configuration, by default that of ``make validate``.

    Raises InputError where it is not finished.
    """
    folder = {
        "small": paths.VALIDATED,
        "forecasts": paths.FORECAST,
        "defence_regimes": paths.REGIMES,
    }[configuration]
    files = {name: folder / name for name in _FILES}
    remedy = f"Make it with `finebound validate {configuration} --out {folder.name}`."
    found, compared, prepared = (read_part(file, remedy) for file in files.values())
    return Finetuned(found, compared, prepared, _about(found, prepared, files))


def read_part(file: Path, remedy: str) -> dict[str, Any]:
    """A file of a finished experiment. Raises InputError with ``remedy`` where there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            require_seal(content, file, remedy=remedy)
        return content
    except FileNotFoundError:
        raise InputError(
            "is missing: the fine-tunes are not finished.", remedy=remedy, file=file
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}.", remedy=remedy, file=file) from None


def _about(
    found: dict[str, Any], prepared: dict[str, Any], files: dict[str, Path]
) -> dict[str, Any]:
    """The experiment's manifest, and the hashes of the files that the numbers are from."""
    done = [run for run in found["runs"] if run["status"] == "done"]
    return {
        "model": prepared["model"]["name"],
        "vocabulary": prepared["vocabulary"],
        "rows": {name: entry["rows"] for name, entry in prepared["sets"].items()},
        "runs_done": len(done),
        "runs_planned": len(found["runs"]),
        "steps": max((run["steps"] for run in done), default=0),
        "files": {name: file_sha256(file) for name, file in files.items()},
        "manifest": found["manifest"],
    }


def run_of(run: dict[str, Any]) -> dict[str, Any]:
    """A finished run: its names, its held-out changes with intervals, its exact training ones.

    All changes are of losses from theta_s, in nats per token; ``task`` is negative for a gain.
    """
    strategy = run["strategy"]
    low, high = run["capability_gain_interval"]
    training = run["training_sets"]
    return {
        "id": run["id"],
        "task": run["task"],
        "proxy": run["proxy"],
        "kind": strategy["kind"],
        "lam": strategy.get("lam"),
        "radius": strategy.get("radius"),
        "safety": [run["safety_gap"], *run["safety_interval"]],
        "task_change": [-run["capability_gain"], -high, -low],
        "training_safety": training["safety_gap"],
        "training_task": -training["capability_gain"],
        "failed": failed_gates(run),
    }


def failed_gates(run: dict[str, Any]) -> list[str]:
    """The names of the gates that a run of ``validate.json`` failed."""
    return [name for name, passed in run["gates"].items() if not passed]


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
