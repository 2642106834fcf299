"""T16's front of the plane: what the linearised model can reach, from gradients at theta_s alone.

Both held-out losses are taken to second order at theta_s, and every fine-tune that minimises
``m_task + lam m_safety`` within a displacement is one point; the least rise at each gain is the
front, the parallel sum of the two curvatures where nothing limits the displacement. The rows that
choose a step never measure it. An estimate, no bound: models may lie beyond it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finebound.base.integrity import Damaged, read_record, sealed
from finebound.base.records import spawn_seed, to_json, write_atomically
from finebound.results.tradeoff import TheoryCurve
from llm_validation.experiments.datasets import SAFETY, held_out, task_set
from theory.bound import Status
from theory.forecast import Kernel, Population, forecast

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from llm_validation.experiments.prepare import Prepared
    from llm_validation.experiments.run import Measured
    from llm_validation.forecast.gradient_rows import WeightMetric
    from llm_validation.models.loading import LoadedModel

FILE = "linearised.json"
ROWS = 18
_FOLDS = 6
_LAMS = np.concatenate([[0.0], np.logspace(-2.0, 2.0, 17), [np.inf]])
_SHARES = np.logspace(-2.0, 0.0, 13)
"""Displacements that are tried, as shares of the largest."""


def linearised_frontier(
    prepared: Prepared,
    run: Measured,
    theta_s: Callable[[], LoadedModel],
    folder: Path,
    *,
    rows: int = ROWS,
) -> TheoryCurve:
    """The front of fine-tunes that go no further than ``run``.

    Measured once: ``folder`` keeps it. Reads gradients of ``rows`` held-out safety rows and as many
    task rows. Raises InputError where they do not fit into memory, or the method has none.
    """
    radius = run.displacement(run.last)
    key = {
        "aligned": prepared.aligned_sha256,
        "run": run.run.sha256,
        "displacement": radius,
        "rows": rows,
        "sets": {n: prepared.sets[n].sha256 for n in (held_out(SAFETY), task_set(run.run.task))},
    }
    file = folder / FILE
    known = _read(file, key)
    if known is None:
        gram, counts = _measure(prepared, run, theta_s(), rows)
        known = {"key": key, "front": front(gram, counts, radius)}
        write_atomically(file, to_json(sealed(known)) + "\n")
        known = json.loads(to_json(known))
    found = known["front"]
    return TheoryCurve(
        statement="T16",
        form="front",
        status=str(Status.ESTIMATED),
        **found,
        says="The front of fine-tunes linearised at the aligned model that go no further than "
        f"the undefended run ({radius:.3g}), from gradients of {rows} rows of each dataset; no "
        "bound.",
    )


def front(gram: np.ndarray, counts: Mapping[str, np.ndarray], radius: float) -> dict[str, Any]:
    """The linearised front within ``radius``: gain, rise (nats/token), lambda and displacement.

    ``gram [m, m]`` are inner products, in coordinates whose length is the displacement, of the
    rows "given" and then "drawn" (``GradientRows``) of "safety" and then the same of "task";
    ``counts`` are their supervised tokens ``[n_safety]``, ``[n_task]``. A step chosen by all folds
    but one is measured on that one. Points of no gain or that others dominate are left out;
    theta_s itself is the first.
    """
    n_safety, n_task = len(counts["safety"]), len(counts["task"])
    folds = min(_FOLDS, n_safety, n_task)
    starts = {"safety": 0, "task": 2 * n_safety}
    lam, reach = np.broadcast_arrays(_LAMS[:, None], radius * _SHARES)
    gain, rise = np.zeros(lam.shape), np.zeros(lam.shape)

    def population(what: str, fold: int, *, inside: bool) -> tuple[Population, float]:
        tokens = np.asarray(counts[what], dtype=np.float64)
        chosen = np.flatnonzero((np.arange(len(tokens)) % folds == fold) == inside)
        given = starts[what] + chosen
        total, none = tokens[chosen].sum(), np.zeros(len(chosen))
        share = np.full(len(chosen), 1.0 / total)
        return Population(
            rows=np.concatenate([given, given + len(tokens)]),
            weight=np.concatenate([none, share]),
            slope=np.concatenate([share, none]),
        ), total / tokens.sum()

    for fold in range(folds):
        moving = {what: population(what, fold, inside=False)[0] for what in starts}
        step = forecast(Kernel(gram, moving["task"], moving["safety"]), lam=lam, radius=reach)
        for what, total, sign in (("task", gain, -1.0), ("safety", rise, 1.0)):
            measuring, part = population(what, fold, inside=True)
            total += sign * part * measuring.change(step.row_change)
    at = _undominated(gain.ravel(), rise.ravel())
    return {
        "gain": [0.0, *gain.ravel()[at]],
        "rise": [0.0, *rise.ravel()[at]],
        "lam": [None, *lam.ravel()[at]],
        "displacement": [0.0, *reach.ravel()[at]],
    }


def _undominated(gain: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """Points of some gain that no other one beats in both, by increasing gain."""
    order = np.lexsort((rise, -gain))
    least = np.minimum.accumulate(np.concatenate([[np.inf], rise[order][:-1]]))
    kept = order[(rise[order] < least) & (gain[order] > 0.0)]
    return kept[::-1]


def _measure(
    prepared: Prepared, run: Measured, loaded: LoadedModel, rows: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    import torch

    from llm_validation.forecast.gradient_rows import gradient_rows, weight_metric
    from llm_validation.forecast.world import World

    world = World(
        loaded,
        prepared.sets[held_out(SAFETY)],
        prepared.sets[task_set(run.run.task)],
        max_length=loaded.context_length,
        seed=spawn_seed(prepared.experiment.seed, "linearised front"),
    )
    plan = run.run.plan
    found = {"safety": gradient_rows(world, plan, "safety", rows)}
    found["task"] = gradient_rows(world, plan, "task", rows)
    matrix = torch.cat([part for each in found.values() for part in (each.given, each.drawn)])
    gram = _in_displacement(matrix, weight_metric(world, plan))
    return gram, {what: each.token_count.numpy() for what, each in found.items()}


def _in_displacement(matrix: Tensor, metric: WeightMetric) -> np.ndarray:
    """Inner products ``[n, n]`` of gradients in coordinates whose length is the displacement.

    With ``|d R|`` the displacement of a change d of a module's B, its gradients are those of
    ``d R`` times R's inverse.
    """
    import torch

    if not metric.blocks:
        return (matrix @ matrix.T).double().cpu().numpy()
    total, start = torch.zeros(len(matrix), len(matrix), dtype=torch.float64), 0
    for rows, rank, factor in metric.blocks:
        size = rows * rank
        part = matrix[:, start : start + size].reshape(-1, rank).double()
        part = (part @ torch.linalg.inv(factor.double())).reshape(len(matrix), size)
        total += (part @ part.T).cpu()
        start += size
    return total.numpy()


def _read(file: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    try:
        content = read_record(file, remedy="")
    except Damaged:
        return None
    return content if content.get("key") == json.loads(to_json(key)) else None
