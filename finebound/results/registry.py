"""Every kind of result: how its record is known, and the result of any record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from finebound.results.result import Result


@dataclass(frozen=True)
class _Kind:
    """Where a result's class stands, its record's file, and entries that no other record has."""

    home: str
    name: str
    file: str
    entries: tuple[str, ...]

    @property
    def of(self) -> type[Result]:
        return getattr(import_module(f"finebound.results.{self.home}"), self.name)


KINDS = (
    _Kind("experiment", "ExperimentResult", "validate.json", ("runs", "findings", "violated")),
    _Kind("run", "RunResult", "record.json", ("configuration_sha256", "aligned_sha256", "plan")),
    _Kind("estimate", "EstimateResult", "estimate.json", ("closest_pairs", "frontier", "audit")),
    _Kind("calibrate", "CalibrateResult", "calibrate.json", ("budget", "unconstrained")),
    _Kind("choice", "ChoiceResult", "calibrate.json", ("decision", "chosen", "apply")),
    _Kind("bounds", "BoundsResult", "bounds.json", ("exact", "bounds")),
    _Kind("comparison", "ComparisonResult", "comparison.json", ("verdict", "premise", "measured")),
    _Kind("compare", "CompareResult", "compare.json", ("comparisons",)),
    _Kind("tradeoff", "TradeoffResult", "defences.json", ("places", "frontiers")),
    _Kind("tradeoff", "DefendResult", "defend.json", ("stage", "modules")),
    _Kind("certificate", "CertificateResult", "certificate.json", ("certified", "tests")),
    _Kind("certificate", "ProbePlanResult", "probe_plan.json", ("probes_needed", "power")),
    _Kind("gate", "GateResult", "gate.json", ("gates", "manifest")),
    _Kind("skill", "SkillResult", "skill.json", ("predictors", "pairs")),
    _Kind(
        "calibration_check",
        "CalibrationCheckResult",
        "calibration_check.json",
        ("held", "evidence"),
    ),
    _Kind("harness", "HarnessTasksResult", "tasks.json", ("lm_eval", "inspect")),
    _Kind("figure", "FigureRecord", "FIGURE.json", ("figure", "data")),
    _Kind("evaluation", "EvaluationResult", "EVALUATION.json", ("evaluation", "items")),
)
"""In the order in which a folder is searched for their files."""


def load(path: str | Path) -> Result:
    """The result of a record, known by its content, or of a folder that holds one.

    Raises InputError for what is no record of a known kind.
    """
    path = Path(path)
    file = _record_in(path) if path.is_dir() else path
    kind = _kind_of(_read(file))
    if kind is not None:
        return kind.of.load(path)
    raise InputError(
        "this is no record of a result that is known here.",
        remedy="Give a record that this version of finebound wrote.",
        file=file,
    )


def records_in(folder: Path) -> list[Path]:
    """The files of a folder that are records of a known kind, by name."""
    return [file for file in sorted(folder.glob("*.json")) if _kind_of(_read(file)) is not None]


def _kind_of(content: Mapping[str, Any]) -> _Kind | None:
    known = (kind for kind in KINDS if all(name in content for name in kind.entries))
    return next(known, None)


def _record_in(folder: Path) -> Path:
    for kind in KINDS:
        if (folder / kind.file).is_file():
            return folder / kind.file
    raise InputError(
        "no record of a result is in this folder.",
        remedy=f"Give a folder with one of {', '.join(kind.file for kind in KINDS)}.",
        file=folder,
    )


def _read(path: Path) -> Mapping[str, Any]:
    """The entries by which a record is known; of a list those of its first item."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"cannot be read: {error}.", remedy="Give a record's file or its folder.", file=path
        ) from None
    first = found[0] if isinstance(found, list) and found else found
    return first if isinstance(first, Mapping) else {}
