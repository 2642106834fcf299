"""How a page writes numbers, texts and nested settings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from finebound.base.output import number
from finebound.base.text import printable

SIGNS = {"upper": "≤", "lower": "≥", "equality": "="}
"""Of a bound, by its direction."""
_LONGEST_TEXT = 280


def number_text(value: float | None) -> str:
    """A number in four digits with a true minus sign; "not defined" where there is none."""
    if value is None or math.isnan(value):
        return "not defined"
    return number(value).replace("-inf", "−∞").replace("inf", "∞").replace("-", "−")


def elements(lines: Iterable[str], tag: str = "p") -> str:
    """Each line as an HTML element, escaped."""
    return "".join(f"<{tag}>{escape(printable(line))}</{tag}>" for line in lines)


def short(text: str, limit: int = _LONGEST_TEXT) -> str:
    """The text in one line, cut at ``limit`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def status_words(status: str) -> str:
    """HIGH_PROBABILITY as "high probability"."""
    return str(status).replace("_", " ").lower()


def flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as ``(dotted name, text)``; what is not set is left out."""
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from flat(item, f"{before}{name}.")
        elif isinstance(item, list | tuple):
            yield f"{before}{name}", ", ".join(str(part) for part in item)
        elif isinstance(item, bool):
            yield f"{before}{name}", "yes" if item else "no"
        elif item is not None:
            yield f"{before}{name}", str(item)
