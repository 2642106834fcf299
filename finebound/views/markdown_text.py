"""Texts from files as Markdown shows them."""

from __future__ import annotations

from finebound.base.text import printable

_MARKS = frozenset("\\`*_[]<>#|~@")


def plain(text: str) -> str:
    """A text in one line that marks nothing: no emphasis, link, cell, tag or mention."""
    line = " ".join(printable(text).split())
    return "".join(f"\\{letter}" if letter in _MARKS else letter for letter in line)
