"""All tabular statements on 100,000 instances in one call, against one instance at a time.

``python -m benchmarks.batch_evaluation``: seconds of the vectorised call, seconds of the loop
(measured on a sample and scaled up), and their ratio, which should be at least 50.
"""

from __future__ import annotations

import time

import numpy as np

from theory.evaluation import evaluate
from theory.problem import Distribution, TabularProblem
from theory.strategy import LossConstraint

INSTANCES, CONTEXTS, RESPONSES = 100_000, 8, 6
SAMPLE = 300


def random_batch(rng: np.random.Generator, n: int) -> TabularProblem:
    """``n`` problems ``[n, X, V]`` in which a third of the contexts have no mass."""

    def distribution() -> Distribution:
        context = rng.dirichlet(np.ones(CONTEXTS), n) * (rng.random((n, CONTEXTS)) > 0.33)
        context[context.sum(axis=-1) == 0] = 1.0
        target = rng.dirichlet(np.ones(RESPONSES), (n, CONTEXTS))
        return Distribution(context / context.sum(axis=-1, keepdims=True), target)

    return TabularProblem(distribution(), distribution(), distribution())


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    rng = np.random.default_rng(0)
    problem = random_batch(rng, INSTANCES)
    lam = 10.0 ** rng.uniform(-3, 3, INSTANCES)

    def loop() -> None:
        for i in range(SAMPLE):
            parts = (
                Distribution.trusted(d.context[i], d.target[i])
                for d in (problem.safety, problem.task, problem.proxy)
            )
            safety, task, proxy = parts
            one = TabularProblem.trusted(
                safety=safety, task=task, proxy=proxy, aligned=problem.aligned[i]
            )
            evaluate(one, LossConstraint(lam=float(lam[i])))

    loop()  # warm up
    one_by_one = min(seconds(loop) for _ in range(3)) / SAMPLE * INSTANCES
    batch = min(seconds(lambda: evaluate(problem, LossConstraint(lam=lam))) for _ in range(3))
    print(f"{INSTANCES} instances, {CONTEXTS} contexts x {RESPONSES} responses, all statements")
    print(f"one call    {batch:8.2f} s")
    print(f"loop        {one_by_one:8.2f} s  (scaled up from {SAMPLE})")
    print(f"ratio       {one_by_one / batch:8.1f}  (target: at least 50)")


if __name__ == "__main__":
    main()
