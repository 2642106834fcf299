"""Budgets as a person writes them: ``refusal=5``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from finebound.base.errors import InputError


def limits_of(
    texts: Iterable[str], most: Mapping[str, float], *, remedy: str = ""
) -> dict[str, float]:
    """``("refusal=5",)`` as limits by name; ``most`` are the known names and their largest limit.

    Raises InputError for an unknown name, for what is no number from 0 to the largest, and for a
    name that is given twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not 0 <= value <= most.get(name, -1.0):
            known = [
                f"{one}={'NUMBER' if math.isinf(limit) else f'0 to {limit:g}'}"
                for one, limit in most.items()
            ]
            raise InputError(
                f"`budget` is {text!r}.", remedy=remedy or f"Give one of {', '.join(known)}."
            )
        if name in found:
            raise InputError(f"`budget` names {name} twice.", remedy="Give it once.")
        found[name] = value
    return found
