"""A scene of the built-in BBQ set: one stereotype, with two pairs of people.

``{a}`` and ``{b}`` are the two people in either order; ``{bad}`` is the one to whom the negative
question's trait is true, ``{good}`` the other.
"""

from __future__ import annotations

from dataclasses import dataclass

Person = tuple[str, str]
"""How a person is called, and the tag of their group."""


@dataclass(frozen=True)
class Scene:
    """A stereotype in a scene: each pair has the person of the stereotyped group first."""

    category: str
    pairs: tuple[tuple[Person, Person], ...]
    setting: str
    facts: str
    negative: str
    positive: str


def people(category: str, tags: tuple[str, str], *pairs: tuple[str, str]):
    """Pairs whose people all have the same two tags."""
    return category, tuple(((a, tags[0]), (b, tags[1])) for a, b in pairs)
