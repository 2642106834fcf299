"""The registry of all statements, T1 to T20, as the Markdown files in ``text`` state them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# The files of ``text`` in the order of the document.
_PARTS = ("setup", "case_one", "case_two", "limits", "practice", "finetunes", "quadratic")
# The files may wrap assumptions and references; the document has each of them on one line.
_WRAPPED = re.compile(r"^(?:\*\*Assumptions|- \*\*).*(?:\n  .*)+", re.MULTILINE)
_STATEMENT = re.compile(r"^### (T\d+)\. (.+)\n((?:(?!#).*\n)*)", re.MULTILINE)


@dataclass(frozen=True)
class Statement:
    """One of T1 to T20: where it is computed, tested and drawn.

    ``functions`` are dotted paths, ``tests`` files or ``file::name``, ``figures`` names.
    """

    id: str
    title: str
    functions: tuple[str, ...]
    tests: tuple[str, ...]
    figures: tuple[str, ...]

    @property
    def is_bound(self) -> bool:
        """Whether an audit can refute it; a forecast only has an error."""
        return "estimate" not in self.title

    @property
    def heading(self) -> str:
        return f"{self.id}. {self.title}"


@cache
def written() -> str:
    """The text of all files, without what ``document`` adds to it."""
    folder = Path(__file__).with_name("text")
    text = "\n".join((folder / f"{part}.md").read_text(encoding="utf-8") for part in _PARTS)
    return _WRAPPED.sub(lambda found: re.sub(r"\n +", " ", found.group()), text)


@cache
def statements() -> dict[str, Statement]:
    """Every statement by its id, in order."""
    return {
        name: Statement(name, title, *(_named(key, body) for key in ("Function", "Test", "Figure")))
        for name, title, body in _STATEMENT.findall(written())
    }


def _named(key: str, body: str) -> tuple[str, ...]:
    line = re.search(rf"^- \*\*{key}:\*\* (.+)$", body, re.MULTILINE)
    return tuple(re.findall(r"`([^`]+)`", line.group(1))) if line else ()
