"""Which modules a defence changes: by threshold, by count or by fraction of their scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from finebound.base.errors import InputError


@dataclass(frozen=True)
class Selection:
    """Exactly one of: scores beyond ``threshold``, the ``count`` worst, or all but ``keep``.

    ``keep`` is the fraction of all modules that stay: of N modules ``N - round(keep N)`` are
    changed. Raises InputError for settings that say nothing or too much.
    """

    threshold: float | None = None
    count: int | None = None
    keep: float | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.threshold, self.count, self.keep)) != 1:
            raise InputError(
                "a selection takes exactly one of threshold, count and keep.",
                remedy="For example `keep` 0.8, `count` 3 or `threshold` 1.",
            )
        if self.threshold is not None and math.isnan(self.threshold):
            raise InputError("the threshold is not a number.", remedy="Give a number.")
        if self.count is not None and (isinstance(self.count, bool) or self.count < 0):
            raise InputError(
                f"count is {self.count}.", remedy="Give the number of modules to change, from 0."
            )
        if self.keep is not None and not 0.0 <= self.keep <= 1.0:
            raise InputError(
                f"keep is {self.keep}.", remedy="Give the fraction of modules to keep, 0 to 1."
            )

    def wanted(self, modules: int) -> int:
        """How many of so many modules a count or a fraction changes."""
        kept = round((self.keep or 0.0) * modules)
        return modules - kept if self.count is None else self.count

    def choose(self, scores: Mapping[str, float], *, highest: bool) -> frozenset[str]:
        """Names of the modules to change: those of the highest scores, or of the lowest.

        A count is met exactly, on ties by name; modules without a score (NaN) are never chosen.
        A threshold itself is chosen with what is beyond it. Raises InputError when fewer modules
        have a score than are to be changed.
        """
        sign = -1.0 if highest else 1.0
        ranked = sorted((sign * s, name) for name, s in scores.items() if not math.isnan(s))
        if self.threshold is not None:
            limit = sign * self.threshold
            return frozenset(name for score, name in ranked if score <= limit)
        wanted = self.wanted(len(scores))
        if wanted > len(ranked):
            unscored = len(scores) - len(ranked)
            raise InputError(
                f"{wanted} modules are to be changed, and {len(ranked)} of {len(scores)} have a "
                f"score ({unscored} have none: their weights are the same in the base and the "
                "aligned model, or their update is zero).",
                remedy="Ask for fewer with `count`, or keep more with `keep`.",
            )
        return frozenset(name for _, name in ranked[:wanted])

    def as_dict(self) -> dict[str, float]:
        return {name: value for name, value in vars(self).items() if value is not None}
