"""All statements as the Markdown files in ``text`` state them, each in a file of its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from theory.symbolic import text

# The files may wrap assumptions and references; the document has each of them on one line.
_WRAPPED = re.compile(r"^(?:\*\*Assumptions|- \*\*).*(?:\n  .*)+", re.MULTILINE)
_STATEMENT = re.compile(r"^### (T\d+)\. (.+)\n((?:(?!#).*\n)*)", re.MULTILINE)


@dataclass(frozen=True)
class Statement:
    """Where a statement is computed, tested and drawn.

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


def written() -> str:
    """The text of all files, without what ``document`` adds to it.

    The set-up comes first, then the statements by their numbers, then the quadratic model.
    """
    files = {file.stem: file for folder in text.__path__ for file in Path(folder).glob("*.md")}
    numbered = sorted((name for name in files if name[0] == "T"), key=lambda name: int(name[1:]))
    order = (files[name] for name in ("setup", *numbered, "quadratic"))
    whole = "\n".join(file.read_text(encoding="utf-8") for file in order)
    return _WRAPPED.sub(lambda found: re.sub(r"\n +", " ", found.group()), whole)


def statements() -> dict[str, Statement]:
    """Every statement by its id, in order."""
    return {
        name: Statement(name, title, *(_named(key, body) for key in ("Function", "Test", "Figure")))
        for name, title, body in _STATEMENT.findall(written())
    }


def _named(key: str, body: str) -> tuple[str, ...]:
    line = re.search(rf"^- \*\*{key}:\*\* (.+)$", body, re.MULTILINE)
    return tuple(re.findall(r"`([^`]+)`", line.group(1))) if line else ()
