"""One cell of a row: a text to learn from, or a list that a table wrote as text."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]

_LONGEST_REPR = 20_000_000
_OBJECT_LIST = re.compile(r"\s*\[\s*\{")
_STRING_OR_GAP = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|\}(\s*)(?=\{)""", re.DOTALL)


class BadRowError(Exception):
    """A row that no reading can mend: ``what`` is wrong and the ``remedy``."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


class UnusableRowError(Exception):
    """A well-formed row with nothing to learn from; ``what`` is wrong, the same for its kind."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class MarkedRowError(Exception):
    """A row that its source marks as not to be learnt; ``what`` says by which mark."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing: null, not a number, blank text, an empty list or object."""
    if isinstance(value, str):
        return not value or value.isspace()
    if value is None or isinstance(value, list | dict | tuple):
        return not value
    return isinstance(value, float) and value != value


def filled(value: Any, label: str) -> str:
    """The text of a cell that must hold one. Raises UnusableRowError when it is empty."""
    if is_missing(value) and not isinstance(value, list | dict | tuple):
        raise UnusableRowError(f"{label} is empty" + (" (null)" if value is None else ""))
    return text(value, label)


def text(value: Any, label: str) -> str:
    """The cell if it is text that UTF-8 can hold. Raises BadRowError elsewhere."""
    if not isinstance(value, str):
        raise BadRowError(f"{label} is {kind(value)}, not text.", "Write it as a string.")
    if "\0" in value:
        raise BadRowError(
            f"{label} contains a NUL character.", "Remove it: the file may be damaged."
        )
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadRowError(
                f"{label} contains half of a surrogate pair, which is no character.",
                "Write the file again as UTF-8, with whole characters.",
            ) from None
    return value


def objects_in(value: str) -> list[Any] | None:
    """The list of objects that a cell holds as text, or None when it holds no such list.

    JSON, the ``repr`` of a Python list, or that of a NumPy array (objects without commas between
    them), as pandas writes lists to CSV. Literals alone are read: nothing is evaluated.
    """
    if not _OBJECT_LIST.match(value):
        return None
    found = as_json(value)
    if found is None and len(value) <= _LONGEST_REPR:
        found = _literal(value)
        if found is None:
            found = _literal(_STRING_OR_GAP.sub(lambda m: m[1] or "}," + m[2], value))
    return found if isinstance(found, list) else None


def written_in(value: str) -> Any:
    """The value that a table's cell holds as JSON or as Python writes it, or None."""
    found = as_json(value)
    return _literal(value) if found is None and len(value) <= _LONGEST_REPR else found


def as_json(value: str) -> Any:
    """The JSON value that a text holds, or None."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def to_json(value: Any, label: str) -> str:
    """A value as JSON text. Raises BadRowError for what JSON cannot hold."""
    try:
        return text(json.dumps(value, ensure_ascii=False), label)
    except (TypeError, ValueError, RecursionError):
        raise BadRowError(
            f"{label} holds what JSON cannot express.", "Write texts, numbers, lists and objects."
        ) from None


def _literal(value: str) -> Any:
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def listed(names: Iterable[Any], *, most: int = 12) -> str:
    """Names in quotes with commas between, long ones shortened, at most ``most`` of them."""
    texts = map(str, names)
    shown = [repr(name if len(name) <= 40 else name[:37] + "...") for name in texts]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def kind(value: Any) -> str:
    """What a cell is, in words."""
    if value is None:
        return "null"
    names = {str: "text", bool: "true or false", dict: "an object", list: "a list", bytes: "bytes"}
    if type(value) in names:
        return names[type(value)]
    if isinstance(value, int) and abs(value) > 10**12:
        return "a number"
    return f"a number ({value})" if isinstance(value, int | float) else type(value).__name__
