"""Runs of ``finebound validate`` as results that can be compared: blocks in place of items.

And the gates of ``validate.json`` for the records of behaviour that lie in its runs' folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finebound.base.errors import InputError
from finebound.base.integrity import read_record
from finebound.results.evaluation import EvaluationResult, ScoredItem
from finebound.results.strategies import strategy_label

By = Literal["method", "strategy", "proxy", "task"]
BY: tuple[By, ...] = ("method", "strategy", "proxy", "task")
QUANTITIES = {
    "safety_gap": "rise of the held-out safety loss, nats/token; lower is safer",
    "capability_gap": "held-out task loss above the best run's, nats/token; lower is better",
}
_VALIDATION = "validate.json"
AGAIN = "Write validate.json again with `finebound validate`."


@dataclass(frozen=True)
class Run:
    """One finished run: its place in the grid, its numbers and the gates that it failed."""

    id: str
    place: Mapping[str, str]
    seed: str
    values: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]]
    failed_gates: tuple[str, ...]


def runs_of(content: Mapping[str, Any], *, file: Path) -> list[Run]:
    """The finished runs of a ``validate.json``. Raises InputError for what is none."""
    found = _done(content, file)
    if not found:
        raise InputError("no run is done.", remedy="Finish the grid first.", file=file)
    return found


def _done(content: Mapping[str, Any], file: Path) -> list[Run]:
    entries = content.get("runs")
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise InputError(
            "this is no record of `finebound validate`: it has no list of runs.",
            remedy="Give its validate.json.",
            file=file,
        )
    return [
        _run(entry, file, row)
        for row, entry in enumerate(entries, 1)
        if entry.get("status") == "done"
    ]


def results_of_runs(
    files: Sequence[tuple[Path, Sequence[Run]]], *, by: By | None, keep_failed_gates: bool = False
) -> tuple[list[EvaluationResult], list[str]]:
    """Each group of runs as one result a quantity and seed, and a note on those behind gates.

    Runs are grouped ``by`` an attribute (default: the first with two values); the others name the
    block, as the item's id. Runs behind a failed gate make results of their own, unless they are to
    be kept. Raises InputError when no attribute has two values.
    """
    runs = [run for _, found in files for run in found]
    sound = [run for run in runs if not run.failed_gates]
    by = by or _first_that_differs(sound) or _first_that_differs(runs)
    if by is None:
        raise InputError(
            f"the runs that are done differ in none of {', '.join(BY)}.",
            remedy="Compare runs of two methods, strategies, proxies or tasks.",
            file=files[0][0],
        )
    results = []
    for quantity, means in QUANTITIES.items():
        cells: dict[tuple[str, str, bool], dict[str, list[Run]]] = {}
        for run in runs:
            if run.values[quantity] is not None:
                apart = bool(run.failed_gates) and not keep_failed_gates
                place = (_label(run, by), run.seed, apart)
                cells.setdefault(place, {}).setdefault(_block(run, by), []).append(run)
        for (label, *_), blocks in cells.items():
            items = tuple(_item(block, found, quantity) for block, found in blocks.items())
            members = [run for found in blocks.values() for run in found]
            gates = tuple(dict.fromkeys(gate for run in members for gate in run.failed_gates))
            source = str(files[0][0])
            results.append(
                EvaluationResult(
                    evaluation=quantity,
                    label=label,
                    score_means=means,
                    items=items,
                    source=source,
                    failed_gates=gates,
                )
            )
    return results, _about_gates((run.id, run.failed_gates) for run in runs)


def with_gates(
    results: Sequence[EvaluationResult],
) -> tuple[list[EvaluationResult], list[str], list[Path]]:
    """Records with the failed gates of the runs in whose ``OUT/runs/ID/behaviour`` they lie.

    And notes on runs behind a gate and on runs that nothing has judged yet, and the files that were
    read: each ``OUT/validate.json``. Records that lie elsewhere stay as they are.
    """
    judged: dict[Path, dict[str, Run]] = {}
    marked: list[EvaluationResult] = []
    found: dict[tuple[Path, str], Run | None] = {}
    for result in results:
        place = _run_of(Path(result.source))
        if place is None:
            marked.append(result)
            continue
        file, name = place
        if file not in judged:
            judged[file] = _judged(file)
        run = found[place] = judged[file].get(name)
        marked.append(result.model_copy(update={"failed_gates": run.failed_gates if run else ()}))
    notes = _about_gates((run.id, run.failed_gates) for run in found.values() if run)
    unjudged = [name for (_, name), run in found.items() if run is None]
    if unjudged:
        notes.append(
            f"not judged by gates: {', '.join(unjudged)} (`finebound validate` writes the gates "
            "into validate.json when the experiment ends)"
        )
    return marked, notes, [file for file in judged if file.is_file()]


def _run_of(record: Path) -> tuple[Path, str] | None:
    """The ``validate.json`` beside a record's run, and the run's id; None for other records."""
    folder = record.resolve().parent
    run = folder.parent
    out = run.parent.parent
    if (folder.name, run.parent.name) != ("behaviour", "runs"):
        return None
    known = any((out / name).is_file() for name in (_VALIDATION, "experiment.json"))
    return (out / _VALIDATION, run.name) if known else None


def _judged(file: Path) -> dict[str, Run]:
    if not file.is_file():
        return {}
    return {run.id: run for run in _done(read_record(file, remedy=AGAIN), file)}


def _about_gates(runs: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    broken = [f"{name} ({', '.join(failed)})" for name, failed in runs if failed]
    return [f"behind a failed gate: {'; '.join(broken)}"] if broken else []


def _item(block: str, runs: Sequence[Run], quantity: str) -> ScoredItem:
    values = [value for run in runs if (value := run.values[quantity]) is not None]
    own = runs[0].intervals.get(quantity) if len(runs) == 1 else None
    more = {} if own is None else {"interval": list(own)}
    return ScoredItem(id=block, category=block, score=sum(values) / len(values), **more)


def _run(entry: Mapping[str, Any], file: Path, row: int) -> Run:
    try:
        values = {name: entry[name] for name in QUANTITIES}
        place = {
            "task": str(entry["task"]),
            "method": str(entry["method"]),
            "proxy": str(entry.get("proxy") or "none"),
            "strategy": strategy_label(entry["strategy"]),
        }
        seed, gates = str(entry["seed"]), dict(entry.get("gates") or {})
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            f"the run {entry.get('id')!r} lacks task, method, strategy, seed or its gaps.",
            remedy=AGAIN,
            file=file,
            row=row,
        ) from None
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InputError(
                f"{name} of the run {entry.get('id')!r} is {value!r}, not a number.",
                remedy=AGAIN,
                file=file,
                row=row,
            )
    ends = entry.get("safety_interval")
    intervals = {}
    if isinstance(ends, list) and all(isinstance(end, int | float) for end in ends):
        intervals["safety_gap"] = tuple(ends)
    failed = tuple(name for name, passed in gates.items() if not passed)
    return Run(str(entry.get("id")), place, seed, values, intervals, failed)


def _first_that_differs(runs: Sequence[Run]) -> By | None:
    return next((by for by in BY if len({_label(run, by) for run in runs}) > 1), None)


def _label(run: Run, by: By) -> str:
    """The group; a strategy is one with its proxy, without which it is not defined."""
    if by == "strategy" and run.place["proxy"] != "none":
        return f"{run.place['strategy']}, proxy {run.place['proxy']}"
    return run.place[by]


def _block(run: Run, by: By) -> str:
    left = {"strategy": ("strategy", "proxy")}.get(by, (by,))
    return ", ".join(value for name, value in run.place.items() if name not in left)
