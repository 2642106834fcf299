"""The audit: every statement against every family, and mutants that must not survive it."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np

from finebound.base.progress import Progress, silent
from finebound.base.records import spawn_seed
from sims.check import Check, holds_for, judge
from sims.family import Family
from sims.rows import Instance, StatementAudit, add_rows, caught_mutants, surviving_families

# Few instances may not include one that refutes each mutant: then more are drawn, up to these.
EXTRA_CHUNKS = 16
# A process has to import JAX and compile, which only pays with several chunks to do.
_WORTH_A_PROCESS = 4

Caught = frozenset[tuple[str, str]]
Job = tuple[Family, int, int]


def passed(rows: Mapping[str, StatementAudit]) -> bool:
    """No violation, and no mutant survived."""
    return all(row.violations == 0 and row.caught == len(row.mutants) for row in rows.values())


def audit(
    sizes: Sequence[tuple[Family, int]],
    *,
    seed: int,
    workers: int | None = 1,
    progress: Progress = silent,
) -> dict[str, StatementAudit]:
    """So many instances of each family, every strategy, every statement.

    ``workers`` processes (None: one a core) share the chunks; a small audit stays in this one. The
    result does not depend on it: chunk ``k`` of a family is drawn from its own seed, so that an
    instance is found again from what ``StatementAudit.worst`` says, and chunks are taken in in
    their order.
    While a mutant survives, families that test it go on for up to ``EXTRA_CHUNKS`` chunks. Memory
    is that of one chunk a process. Raises ValueError for fewer than 1 instance or worker.
    """
    for family, instances in sizes:
        if instances < 1:
            raise ValueError(f"an audit of {family.name} needs at least 1 instance.")
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise ValueError(f"an audit needs at least 1 process, not {workers}.")
    rows: dict[str, StatementAudit] = {}
    jobs: list[Job] = [
        (family, k, min(family.chunk, instances - k * family.chunk))
        for family, instances in sizes
        for k in range(-(-instances // family.chunk))
    ]
    workers = min(workers, max(len(jobs) // _WORTH_A_PROCESS, 1))
    parts = _here(jobs, seed, rows) if workers == 1 else _spread(jobs, seed, rows, workers)
    for _ in progress(jobs, "auditing every statement"):
        add_rows(rows, next(parts))
    parts.close()
    done = {family.name: -(-instances // family.chunk) for family, instances in sizes}
    for k in range(EXTRA_CHUNKS):
        surviving = surviving_families(rows.values())
        more = [
            (family, k, family.chunk)
            for family, _ in sizes
            if family.name in surviving and k >= done[family.name]
        ]
        for part in _here(more, seed, rows):
            add_rows(rows, part)
    return {name: rows[name] for name in sorted(rows, key=lambda name: int(name[1:]))}


def _here(
    jobs: Sequence[Job], seed: int, rows: Mapping[str, StatementAudit]
) -> Generator[dict[str, StatementAudit]]:
    for job in jobs:
        yield audit_chunk(*job, seed, caught_mutants(rows))


def _spread(
    jobs: Sequence[Job], seed: int, rows: Mapping[str, StatementAudit], workers: int
) -> Generator[dict[str, StatementAudit]]:
    """The parts in the order of their jobs. What is caught by then comes from earlier chunks."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context)
    waiting: deque[Future[dict[str, StatementAudit]]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(audit_chunk, *job, seed, caught_mutants(rows)))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def audit_chunk(
    family: Family, k: int, size: int, seed: int, caught: Caught = frozenset()
) -> dict[str, StatementAudit]:
    """The rows of one chunk, drawn from its own seed; ``caught`` mutants are not tried again."""
    rng = np.random.default_rng(spawn_seed(seed, f"{family.name}:{k}"))
    rows: dict[str, StatementAudit] = {}
    for case in family.cases(rng, size):
        touched: dict[str, np.ndarray] = {}
        for run in case.runs:
            for b in case.bounds:
                if not np.any(b.applies) or not holds_for(b, run, case):
                    continue
                where: Instance = {
                    "family": family.name,
                    "chunk": k,
                    "strategy": case.words,
                    "run": str(run.kind),
                    "quantity": str(b.quantity),
                    "form": b.form,
                }
                check = Check(b, run, case)
                judge(rows.setdefault(b.statement, StatementAudit()), check, case, where, caught)
                known = touched.setdefault(b.statement, np.zeros(case.n, dtype=bool))
                known |= check.used
        for statement, used in touched.items():
            count = int(used.sum())
            rows[statement].instances += count
            rows[statement].finetunes += count * case.finetunes // case.n
    return rows
