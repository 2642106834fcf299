"""What an audit found, one row a statement; rows of parts add up to the row of the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from theory.divergence import Array

# Edges of the 201 bins of truth / bound: even in its logarithm up to 0.9, then finer and finer. The
# first holds what is below 1e-4, the last what is tight to 1e-4.
_EDGES = np.concatenate([np.geomspace(1e-4, 0.9, 160), 1.0 - np.geomspace(0.1, 1e-4, 41)[1:]])
_CENTRES = np.concatenate([[0.0], np.sqrt(_EDGES[1:] * _EDGES[:-1]), [1.0]])
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_KEPT = 5

Instance = dict[str, object]


@dataclass
class Mutant:
    """A deliberately wrong statement, and the first instance that refuted it (None: survived).

    ``families`` are those that put it to the test.
    """

    name: str
    caught_by: Instance | None = None
    families: set[str] = field(default_factory=set)


class Tightness:
    """How close truths come to a bound: a histogram of truth / bound that adds up over parts."""

    def __init__(self) -> None:
        self.counts = np.zeros(len(_CENTRES), dtype=np.int64)

    def add(self, ratios: Array) -> None:
        """Count ``ratios [k]``; all above 1 - 1e-4 are as tight as can be."""
        bins = np.searchsorted(_EDGES, ratios)
        self.counts += np.bincount(bins, minlength=len(_CENTRES))

    def quantile(self, share: float) -> float:
        """The ratio that ``share`` of the instances stay below, within 3 %; 0 below 1e-4."""
        total = int(self.counts.sum())
        if total == 0:
            return float("nan")
        return float(_CENTRES[np.searchsorted(np.cumsum(self.counts), share * total)])

    def as_json(self) -> dict[str, float | int]:
        """``instances`` and the quantiles ``q05 .. q95``."""
        quantiles = {f"q{round(100 * q):02d}": self.quantile(q) for q in _QUANTILES}
        return {"instances": int(self.counts.sum()), **quantiles}


@dataclass
class StatementAudit:
    """What the audit found for one statement; ``max_ratio`` is truth / bound (or its inverse).

    ``instances`` counts problems under one strategy, ``finetunes`` the fine-tuned models these
    stand for, ``comparisons`` of a bound with a truth. ``worst`` locates the instance that came
    closest, ``broken`` the first violations; ``tightness`` is told by family, quantity,
    direction and form.
    """

    instances: int = 0
    finetunes: int = 0
    comparisons: int = 0
    violations: int = 0
    max_ratio: float = 0.0
    worst: Instance | None = None
    broken: list[Instance] = field(default_factory=list)
    mutants: dict[str, Mutant] = field(default_factory=dict)
    tightness: dict[tuple[str, str, str, str], Tightness] = field(default_factory=dict)

    @property
    def caught(self) -> int:
        return sum(mutant.caught_by is not None for mutant in self.mutants.values())

    @property
    def median(self) -> float:
        """Median of truth / bound over all forms and families; NaN without a finite bound."""
        whole = Tightness()
        for part in self.tightness.values():
            whole.counts += part.counts
        return whole.quantile(0.5)

    def violated(self, case: Instance, times: int) -> None:
        self.violations += times
        if len(self.broken) < _KEPT:
            self.broken.append(case)

    def add(self, part: StatementAudit) -> None:
        """Take in the row of a later part: of equals, what was found first stays."""
        self.instances += part.instances
        self.finetunes += part.finetunes
        self.comparisons += part.comparisons
        self.violations += part.violations
        if part.max_ratio > self.max_ratio:
            self.max_ratio, self.worst = part.max_ratio, part.worst
        self.broken.extend(part.broken[: _KEPT - len(self.broken)])
        for key, mutant in part.mutants.items():
            known = self.mutants.setdefault(key, Mutant(key))
            known.families |= mutant.families
            known.caught_by = known.caught_by or mutant.caught_by
        for key, tightness in part.tightness.items():
            self.tightness.setdefault(key, Tightness()).counts += tightness.counts

    def as_json(self) -> dict[str, object]:
        """The contract's keys, and what a person needs to look at an instance again."""
        return {
            "instances": self.instances,
            "violations": self.violations,
            "max_ratio": self.max_ratio,
            "mutants": len(self.mutants),
            "mutants_caught": self.caught,
            "finetunes": self.finetunes,
            "comparisons": self.comparisons,
            "median_tightness": self.median,
            "tightness": [
                {
                    "family": family,
                    "quantity": quantity,
                    "direction": direction,
                    "form": form,
                    **tightness.as_json(),
                }
                for (family, quantity, direction, form), tightness in sorted(self.tightness.items())
            ],
            "worst": self.worst,
            "broken": self.broken,
            "caught_by": {m.name: m.caught_by for m in self.mutants.values()},
        }


def add_rows(rows: dict[str, StatementAudit], part: Mapping[str, StatementAudit]) -> None:
    """Take the rows of a later part into ``rows``."""
    for name, row in part.items():
        rows.setdefault(name, StatementAudit()).add(row)


def caught_mutants(rows: Mapping[str, StatementAudit]) -> frozenset[tuple[str, str]]:
    """(statement, name) of every mutant that some instance refuted."""
    return frozenset(
        (name, key)
        for name, row in rows.items()
        for key, mutant in row.mutants.items()
        if mutant.caught_by is not None
    )


def surviving_families(rows: Iterable[StatementAudit]) -> set[str]:
    """The families that tested a mutant which nothing has refuted yet."""
    return {
        family
        for row in rows
        for mutant in row.mutants.values()
        if mutant.caught_by is None
        for family in mutant.families
    }
