"""Texts from files as they may be shown: they steer neither a terminal nor a page."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
# Controls but tab and line feed; marks that turn the direction of what follows.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def printable(text: str) -> str:
    """Text from a file as a terminal, a table or a page may show it.

    Without escape sequences, control characters (tab and line feed stay) and overrides of the
    direction; half a surrogate pair, which no UTF-8 can hold, becomes U+FFFD.
    """
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", _CONTROL.sub("", _SEQUENCE.sub("", text)))


def show(text: str) -> None:
    """Print a text that may hold names from files or folders."""
    print(printable(text))


def counted_rows(left_out: Mapping[str, int]) -> str:
    """What was left out by reason, as part of a sentence: "3 rows whose label is missing"."""
    return "; ".join(f"{count} rows {why}" for why, count in left_out.items())
