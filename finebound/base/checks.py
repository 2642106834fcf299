"""Checks before any work: all faults of an input are told together, not the first one alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from finebound.base.errors import InputError

T = TypeVar("T")


class Checks:
    """Runs checks, gathers what they refuse, and raises it all at once.

    A check that needs another one's result is run after ``require``.
    """

    def __init__(self) -> None:
        self._faults: list[InputError] = []

    def run(self, check: Callable[[], T]) -> T | None:
        """What ``check`` gives; None where it raised an InputError, which is kept."""
        try:
            return check()
        except InputError as fault:
            self._faults.append(fault)
            return None

    def require(self) -> None:
        """Raises the one fault as it is, or an InputError that numbers several."""
        faults, self._faults = self._faults, []
        if len(faults) == 1:
            raise faults[0]
        if faults:
            told = list(dict.fromkeys(str(fault) for fault in faults))
            numbered = " ".join(f"({number}) {words}" for number, words in enumerate(told, 1))
            raise InputError(
                f"{len(told)} things are wrong. {numbered}",
                remedy="Nothing was measured.",
            ) from faults[0]
