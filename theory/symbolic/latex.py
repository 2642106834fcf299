"""A statement and how it is written in GitHub-flavoured Markdown with LaTeX."""

from __future__ import annotations

import re
from dataclasses import dataclass

NOT_YET = "not implemented yet"


@dataclass(frozen=True)
class Statement:
    """One of T1 to T20, in words and LaTeX, and where the release computes and tests it.

    ``body`` and ``proof`` are Markdown; displayed formulas stand in fenced ``math`` blocks.
    ``functions`` are dotted paths, ``tests`` files or ``file::name``; both are empty exactly when
    the statement is not implemented yet.
    """

    id: str
    title: str
    body: str
    assumptions: tuple[str, ...]
    proof: str
    functions: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        return "implemented" if self.functions else NOT_YET

    @property
    def is_bound(self) -> bool:
        """Whether an audit can refute it; a forecast only has an error."""
        return "estimate" not in self.title

    @property
    def heading(self) -> str:
        return f"{self.id}. {self.title}"


def anchor(heading: str) -> str:
    """The fragment that GitHub gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


def display(formula: str) -> str:
    """A displayed formula; the fence keeps Markdown from reading its backslashes."""
    return f"```math\n{formula.strip()}\n```"


def inline_formulas(markdown: str) -> list[str]:
    """Every ``$...$`` outside fenced blocks."""
    outside = re.sub(r"```.*?```", "", markdown, flags=re.DOTALL)
    return re.findall(r"\$([^$]+)\$", outside)


def fill(template: str, **formulas: str) -> str:
    """``template`` with each ``<<name>>`` replaced by a displayed formula.

    Raises KeyError for a name that has no formula, ValueError for a formula that is not used.
    """
    used = set(re.findall(r"<<(\w+)>>", template))
    if set(formulas) - used:
        raise ValueError(f"unused formulas: {sorted(set(formulas) - used)}.")
    body = re.sub(
        r"\s*<<(\w+)>>\s*", lambda m: f"\n\n{display(formulas[m.group(1)])}\n\n", template
    )
    return body.strip()
