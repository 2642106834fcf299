"""Routers between an aligned and a task model (T18), and overlap measured on images (T15)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sims.families.draws import lambdas, tables
from sims.families.tabular import case_one_policy, gaps
from sims.family import Case, Kind, Run
from theory.bound import Direction, Quantity, bound
from theory.divergence import Array
from theory.overlap import merge, overlap_sum
from theory.problem import TabularProblem
from theory.routing import routing

_ERROR = 1e-17


class Routers:
    """A rule on contexts answers with a task model or the aligned one; the router is a policy.

    Rules: at random, everything to one model, or wherever the task has more mass. Task models:
    the task's targets, near them, or anywhere.
    """

    name = "routers"
    chunk = 2048

    def cases(self, rng: np.random.Generator, n: int) -> Iterator[Case]:
        """One case: an instance is a problem with a rule and a task model."""
        problem = tables(rng, n)
        shape = problem.task.context.shape
        kind = rng.integers(4, size=(n, 1))
        more = problem.task.context > problem.safety.context
        rule = np.choose(
            kind, [rng.random(shape) < 0.5, more, np.zeros_like(more), np.ones_like(more)]
        )
        mix = np.where(rng.random(n) < 0.4, 0.0, 10.0 ** rng.uniform(-6, 0, size=n))[:, None, None]
        other = rng.dirichlet(np.ones(problem.responses), size=shape)
        task_policy = (1 - mix) * problem.task.target + mix * other
        policy = np.where(rule[..., None], task_policy, problem.aligned)
        yield Case(
            bounds=routing(problem, rule, task_policy),
            runs=[_run(problem, policy, np.ones(n))],
            n=n,
            words="a router between the aligned and a task model",
            finetunes=n,
            problem=problem,
        )


class Images:
    """T4's sums on the images of contexts under a random map: merging can only raise them."""

    name = "images"
    chunk = 2048

    def cases(self, rng: np.random.Generator, n: int) -> Iterator[Case]:
        """One case: minimisers of the penalty, one map of contexts a batch."""
        problem = tables(rng, n)
        lam = lambdas(rng, n)
        contexts = problem.task.context.shape[-1]
        phi = rng.integers(contexts, size=contexts)
        task, proxy = (merge(d.context, phi) for d in (problem.task, problem.proxy))
        sums = {
            Quantity.PROXY_SAFETY_GAP: overlap_sum(proxy, task, lam),
            Quantity.CAPABILITY_GAP: overlap_sum(task, proxy, 1.0 / lam),
        }
        yield Case(
            bounds=[
                bound("T15", quantity, Direction.UPPER, {"overlap of images": value}, form="images")
                for quantity, value in sums.items()
            ],
            runs=[_run(problem, case_one_policy(problem, lam), lam)],
            n=n,
            words=f"LossConstraint by lam, {contexts} contexts as {len(set(phi))} images",
            finetunes=n,
            problem=problem,
        )


def _run(problem: TabularProblem, policy: Array, lam: Array) -> Run:
    truth = gaps(problem, policy)
    error = dict.fromkeys(truth, np.full(len(lam), _ERROR))
    return Run(kind=Kind.MINIMISER, truth=truth, error=error, lam=lam)
