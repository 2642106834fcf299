"""Checking a training plan's settings: what is wrong with one is said as an ``InputError``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from finebound.base.errors import InputError


def check(good: bool, what: str, remedy: str) -> None:
    """Raises InputError unless ``good``."""
    if not good:
        raise InputError(f"the training plan is wrong: {what}", remedy=remedy)


def is_count(value: Any, least: int = 1) -> bool:
    """Whether ``value`` is a whole number (no truth value) from ``least`` that a machine counts."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and bool(least <= value < 2**31)


def read(what: str, values: Any, make: Any) -> Any:
    """``make(**values)`` of a mapping; anything else is given back. InputError: unknown name."""
    if not isinstance(values, Mapping):
        return values
    try:
        return make(**values)
    except TypeError as error:
        raise InputError(
            f"the {what} cannot be read: {str(error).partition(') ')[2] or error}.",
            remedy="Check the names of its settings.",
        ) from error
