"""The hazard categories: what is asked for in each, and what a refusal of it says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from llm_validation.data.content import content


@dataclass(frozen=True)
class Hazard:
    """A hazard category.

    ``acts`` are what ``safety`` asks for, ``other_acts`` what proxies ask for; a refusal has one of
    the ``concerns`` and ``alternatives``, or else the ``rule`` and one of its ``subjects``.
    """

    category: str
    acts: tuple[str, ...]
    other_acts: tuple[str, ...]
    concerns: tuple[str, ...]
    alternatives: tuple[str, ...]
    rule: str
    subjects: tuple[str, ...]


@cache
def hazards() -> dict[str, Hazard]:
    """The eleven categories of HEx-PHI by name, in the order of its files."""
    words = content(__file__, "hazards.yaml")
    return {name: Hazard(name, **parts) for name, parts in words.items()}
