"""A sweep in cells: how far forecasts lie from the truth, by design, cost and what was forecast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from sims.forecasts.interpolation import Read
from sims.forecasts.sweep import DESIGNS, OPTIMISERS, Swept
from sims.forecasts.world import Measured

DISTANCES = (0.0, 0.02, 0.04, 0.08, 0.16, 0.32, np.inf)
"""Edges of the bins of a fine-tune's distance, in lengths of the aligned weights."""
LEAST_BATCH = 8
"""Designs are compared on plans of at least so many rows a step: all of them apply there."""
SHARE = 0.05
"""Of the plan's rows, what an unroll sees where only one cost is looked at."""
CLOSE = 0.1
"""A forecast is close within so much of the refusals' probability."""

Columns = dict[str, np.ndarray]
Cell = dict[str, Any]


def columns(swept: Iterable[Swept]) -> Columns:
    """Every forecast: its design, its cost as a share of rows, its plan's settings, its errors.

    ``rows`` 0 are the plan's own; the design "fine-tune" is another fine-tune of the plan.
    """
    return _joined([part for shape in swept for part in _of_shape(shape)])


def _of_shape(shape: Swept) -> Iterator[Columns]:
    n = len(shape.plans)
    plans = {
        "optimiser": np.array([plan.optimiser for plan in shape.plans]),
        "schedule": np.array([plan.schedule for plan in shape.plans]),
        "plan_steps": np.array([plan.steps for plan in shape.plans]),
        "batch": np.array([plan.batch for plan in shape.plans]),
        "distance": shape.distance,
    }
    truth = Measured(*map(np.asarray, shape.truth))
    errors = _errors(shape.again, truth)
    fixed = {"share": 1.0, "steps": 0, "rows": 0, "cost": 1.0}
    again = {"design": np.full(n, "fine-tune"), **{k: np.full(n, v) for k, v in fixed.items()}}
    yield plans | again | errors
    for found in shape.forecasts:
        at, m = found.plan, len(found.plan)
        first = shape.plans[0]
        fixed = {
            "share": found.share,
            # Where a share of the rows chose the steps, they differ with the shape.
            "steps": 0 if found.share else found.steps,
            "rows": 0 if found.rows == first.batch else found.rows,
            "cost": found.steps * found.rows / (first.steps * first.batch),
        }
        yield {
            **{name: column[at] for name, column in plans.items()},
            "design": np.array(list(DESIGNS))[found.design],
            **{name: np.full(m, value) for name, value in fixed.items()},
            **_errors(found.changes, Measured(*(values[at] for values in truth))),
        }


def summarised(table: Columns) -> dict[str, list[Cell]]:
    """``designs``: by optimiser, design, rows a step, cost. ``noise``: fine-tunes again.

    ``distance`` and ``plans``: steps of one row on ``SHARE`` of the rows, and fine-tunes again, by
    where the fine-tune ended and by its plan.
    """
    again = table["design"] == "fine-tune"
    comparable = table["batch"] >= LEAST_BATCH
    single = again | ((table["rows"] == 1) & (table["share"] == SHARE))
    main = np.isin(table["design"], ("raised", "straight", "fine-tune"))
    binned = np.searchsorted(DISTANCES, table["distance"], side="right") - 1
    far = table | {"distance": np.array(DISTANCES)[binned]}
    how = ("optimiser", "design", "rows", "share", "steps")
    return {
        "designs": list(_cells(table, ~again & comparable, how)),
        "distance": list(_cells(far, single, ("optimiser", "design", "distance"))),
        "plans": [
            found
            for by in ("schedule", "plan_steps", "batch")
            for found in _cells(table, single & main, ("optimiser", "design", by))
        ],
        "noise": list(_cells(table, again & comparable, ("optimiser",))),
    }


def read_cells(reads: Iterable[Read]) -> list[Cell]:
    """One cell for each way to read a fine-tune off an unroll, and one for another fine-tune."""
    parts, seen = [], set()
    for read in reads:
        n = len(read.truth.refusal)
        about = {"what": read.what, "amount": read.amount}
        optimiser = np.resize(OPTIMISERS, n)  # as plans are drawn
        said_by = {read.way: read.said}
        if (read.what, read.amount) not in seen:
            seen.add((read.what, read.amount))
            said_by["fine-tune"] = read.again
        for way, said in said_by.items():
            fixed = {name: np.full(n, value) for name, value in (about | {"way": way}).items()}
            parts.append(fixed | {"optimiser": optimiser} | _errors(said, read.truth))
    by = ("optimiser", "what", "amount", "way")
    table = _joined(parts)
    return list(_cells(table, np.ones(len(table["way"]), bool), by))


def _errors(said: Measured, truth: Measured) -> Columns:
    return {
        name: np.asarray(a) - np.asarray(b)
        for name, a, b in zip(Measured._fields, said, truth, strict=True)
    }


def _cells(table: Columns, chosen: np.ndarray, by: Sequence[str]) -> Iterator[Cell]:
    places: dict[tuple, list[int]] = {}
    for i in np.flatnonzero(chosen):
        places.setdefault(tuple(table[name][i].item() for name in by), []).append(int(i))
    for key in sorted(places):
        some = {name: column[places[key]] for name, column in table.items()}
        cost = {"cost": _short(some["cost"].mean())} if "cost" in some else {}
        yield {**dict(zip(by, key, strict=True)), **cost, **_cell(some)}


def _cell(errors: Columns) -> Cell:
    """How many, and of each error the size's median, 90th percentile and mean, and its own mean.

    ``within``: the share whose refusals are forecast within ``CLOSE``.
    """
    size = {name: np.abs(errors[name]) for name in Measured._fields}
    numbers = {
        name: {
            "median": np.median(size[name]),
            "p90": np.quantile(size[name], 0.9),
            "size": np.mean(size[name]),
            "bias": np.mean(errors[name]),
        }
        for name in Measured._fields
    }
    return {
        "n": len(size["refusal"]),
        "within": _short(np.mean(size["refusal"] <= CLOSE)),
        **{name: {k: _short(x) for k, x in those.items()} for name, those in numbers.items()},
    }


def _short(value: float | np.floating) -> float:
    return float(f"{value:.4g}")


def _joined(parts: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
