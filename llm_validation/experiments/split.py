"""Unavoidable or interference (T18), and what the finished runs prove of all others (T17)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, cast

import numpy as np
import scipy.sparse as sp

from finebound.results.experiment import (
    Brackets,
    Envelope,
    EnvelopeLines,
    EnvelopeRun,
    Router,
    RouterLosses,
    SafetySplit,
)
from llm_validation.experiments.data_limits import data_limits
from llm_validation.experiments.datasets import SAFETY, held_out, proxy_set, task_set
from llm_validation.experiments.gates import grouped, objective_lam
from llm_validation.experiments.prepare import Prepared
from llm_validation.experiments.run import Measured
from llm_validation.measure.classifier import fit_classifier
from llm_validation.measure.texts import (
    fold,
    hashed_ngrams,
    inverse_document_frequency,
    normalise,
    tfidf,
)
from theory.envelope import Run as FinishedRun
from theory.envelope import bracket, envelope, undertrained
from theory.routing import PairedLosses, measured_routing, split_safety_gap

_FEATURES = 2**18
_BRACKETS = 5


def route(prepared: Prepared, task: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Which held-out safety and task rows go to the task model, ``[n]`` and ``[m]`` bool.

    A ridge logistic regression on hashed n-grams of the training prompts; its threshold is
    calibrated by two folds of those, so the held-out rows see only the finished rule. Also its
    balanced accuracy on the held-out rows.
    """
    names = (SAFETY, task_set(task), held_out(SAFETY), held_out(task_set(task)))
    texts = [[normalise(p) for p in prepared.sets[name].prompts] for name in names]
    counts = [fold(hashed_ngrams(part), _FEATURES) for part in texts]
    fitted = cast("sp.csr_matrix", sp.vstack(counts[:2], format="csr"))
    idf = inverse_document_frequency(fitted)
    safety, rows, safety_out, task_out = (tfidf(part, idf) for part in counts)
    threshold = _threshold(safety, rows)
    model = fit_classifier(safety, rows, strength=10.0)
    to_task = [model.predict_proba(part)[:, 1] < threshold for part in (safety_out, task_out)]
    accuracy = 0.5 * (float((~to_task[0]).mean()) + float(to_task[1].mean()))
    return to_task[0], to_task[1], accuracy


def _threshold(safety: Any, task: Any) -> float:
    """The score of "safety" with the best balanced accuracy on rows that were not fitted."""
    scores: list[list[np.ndarray]] = [[], []]
    for half in (0, 1):
        model = fit_classifier(safety[half::2], task[half::2], strength=10.0)
        for place, rows in enumerate((safety, task)):
            scores[place].append(model.predict_proba(rows[1 - half :: 2])[:, 1])
    of_safety, of_task = (np.concatenate(part) for part in scores)
    candidates = np.unique(np.concatenate([of_safety, of_task, [0.5]]))
    right = [
        0.5 * ((of_safety >= c).mean() + (of_task < c).mean()) - 1e-9 * abs(c - 0.5)
        for c in candidates
    ]
    return float(candidates[int(np.argmax(right))])


def splits(runs: Sequence[Measured], prepared: Prepared) -> tuple[list[Router], list[SafetySplit]]:
    """T18 for every task that has an unconstrained run: the router, and each run's two parts."""
    routers, found = [], []
    routes: dict[str, tuple[np.ndarray, np.ndarray, float]] = {}  # of the data alone: one a task
    safety_out = held_out(SAFETY)
    for (task, method, seed), group in grouped(runs).items():
        free = next((m for m in group if m.run.plan.strategy is None), None)
        if free is None:
            continue
        task_out = held_out(task_set(task))
        if task not in routes:
            routes[task] = route(prepared, task)
        safety_rows, task_rows, accuracy = routes[task]
        pairs = [
            PairedLosses(
                aligned=free.losses[0][name].token_sum,
                task=free.losses[free.last][name].token_sum,
                to_task=chosen,
                tokens=free.losses[0][name].token_count,
            )
            for name, chosen in ((safety_out, safety_rows), (task_out, task_rows))
        ]
        router = measured_routing(*pairs)
        routers.append(
            Router(
                task=task,
                method=method,
                seed=seed,
                balanced_accuracy=accuracy,
                losses=RouterLosses(**asdict(router)),
            )
        )
        limits = data_limits(prepared, task, safety_set=safety_out, task_rows=task_out)
        tokens = float(free.losses[0][safety_out].token_count.mean())
        best = free.known_loss(free.last, task_out)
        for m in group:
            rise = m.known_change(safety_out)
            gap = m.known_loss(m.last, task_out) - best
            per_response = m.losses[m.last][task_out].per_sequence - limits.entropies[1]
            before = m.losses[0][safety_out].per_sequence - limits.entropies[0]
            if rise <= 0.0:
                continue
            # The limit is on the whole safety gap, of which theta_s has a part already.
            forced = limits.least_safety_gap(per_response) - before
            limit = min(max(forced / tokens, 0.0), rise)
            reachable = router.capability_gap <= gap
            if reachable:
                limit = min(limit, max(router.safety_increase, 0.0))
            part = split_safety_gap(
                rise,
                gap,
                limit=limit,
                router_safety_gap=max(router.safety_increase, 0.0),
                router_capability_gap=router.capability_gap,
            )
            found.append(
                SafetySplit(
                    run=m.run.id,
                    rise=rise,
                    unavoidable=(float(part.unavoidable_lower), float(part.unavoidable_upper)),
                    interference=(float(part.interference_lower), float(part.interference_upper)),
                    reachable=bool(reachable),
                )
            )
    return routers, found


def envelopes(runs: Sequence[Measured]) -> list[Envelope]:
    """T17 for every task and proxy: the envelope, and brackets of the lambdas between the runs.

    Both are on the training sets and hold if no run is further above its objective's minimum
    than the others prove; by how much that is, ``slack`` says.
    """
    found = []
    for (task, method, seed), group in grouped(runs).items():
        for role in sorted({m.run.proxy for m in group if m.run.proxy is not None}):
            name = proxy_set(role)
            members = [
                (m, lam)
                for m in group
                if m.run.plan.radius is None
                and m.run.proxy in (role, None)
                and m.loss(m.last, name) is not None
                and m.loss(m.last, m.task) is not None
                and (lam := objective_lam(m)) is not None
            ]
            points = [
                FinishedRun(m.known_loss(m.last, name), m.known_loss(m.last, m.task), lam)
                for m, lam in members
            ]
            lams = sorted({p.lam for p in points})
            if len(lams) < 2:
                continue
            slack = undertrained(points)
            runs_of = [
                FinishedRun(p.proxy_loss, p.task_loss, p.lam, float(s))
                for p, s in zip(points, slack, strict=True)
            ]
            curve = envelope(runs_of)
            between = [
                float(x)
                for low, high in pairwise(lams)
                for x in np.geomspace(max(low, high / 16.0), high, _BRACKETS + 2)[1:-1]
            ]
            limits = bracket(runs_of, np.array(between))
            found.append(
                Envelope(
                    task=task,
                    method=method,
                    seed=seed,
                    proxy=role,
                    runs=[
                        EnvelopeRun(id=m.run.id, **asdict(p))
                        for (m, _), p in zip(members, runs_of, strict=True)
                    ],
                    envelope=EnvelopeLines(lam=_list(curve.lam), intercept=_list(curve.intercept)),
                    brackets=Brackets(
                        **{name: _list(getattr(limits, name)) for name in Brackets.model_fields}
                    ),
                )
            )
    return found


def _list(values: np.ndarray) -> list[float]:
    return np.asarray(values, dtype=np.float64).tolist()
