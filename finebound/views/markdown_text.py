"""Texts from files as Markdown shows them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from finebound.base.text import printable

_MARKS = frozenset("\\`*_[]<>#|~@")


def plain(text: str) -> str:
    """A text in one line that marks nothing: no emphasis, link, cell, tag or mention."""
    line = " ".join(printable(text).split())
    return "".join(f"\\{letter}" if letter in _MARKS else letter for letter in line)


def pipe_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts that mark nothing, without a last line feed."""
    lines = [columns, ("---",) * len(columns), *(tuple(map(plain, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code_block(text: str, language: str) -> str:
    """A text as it is in a fence that it cannot close, and without the mark of a comment."""
    text = printable(text).replace("<!--", "<!- -")
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
