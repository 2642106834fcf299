"""``PROBLEM.json``: read into the problems of ``theory``, with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finebound.errors import InputError
from theory.problem import (
    Constant,
    Constants,
    Distribution,
    Problem,
    QuadraticProblem,
    TabularProblem,
)

_REMEDY = "See `finebound bound --help` for an example of each kind."


def read_problem(path: str | Path) -> Problem:
    """The problem in a JSON file of kind tabular, quadratic or constants.

    Raises InputError, naming the file and the entry, on a missing or empty file, malformed JSON,
    NaN, missing or unknown entries, and rows that are not distributions.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError("does not exist.", remedy="Check the path.", file=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot be read as UTF-8 text ({error}).", remedy="Check the file.", file=path
        ) from None
    if not text.strip():
        raise InputError("is empty.", remedy=_REMEDY, file=path)
    try:
        content = json.loads(text, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise InputError(
            f"is not JSON: {error.msg} in column {error.colno}.",
            remedy="Mend that line.",
            file=path,
            row=error.lineno,
        ) from None
    except ValueError as error:
        raise InputError(str(error), remedy="Give a number.", file=path) from None
    if not isinstance(content, dict):
        raise InputError("holds no JSON object.", remedy=_REMEDY, file=path)
    kinds = {"tabular": _tabular, "quadratic": _quadratic, "constants": _constants}
    kind = content.pop("kind", None)
    if kind not in kinds:
        raise InputError(
            f'has "kind": {json.dumps(kind)}; it must be one of {", ".join(kinds)}.',
            remedy=_REMEDY,
            file=path,
        )
    try:
        return kinds[kind](content)
    except (ValueError, TypeError) as error:
        raise InputError(str(error), remedy=_REMEDY, file=path) from None


def _constant(name: str) -> float:
    if name == "NaN":
        raise ValueError("it holds a NaN, which is no number.")
    return float(name.replace("Infinity", "inf"))


def _only(content: dict[str, Any], needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    missing = [name for name in needed if name not in content]
    unknown = [name for name in content if name not in (*needed, *optional)]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}.")
    if unknown:
        allowed = ", ".join((*needed, *optional))
        raise ValueError(f"it has the unknown entry {unknown[0]}; known are {allowed}.")


def _tabular(content: dict[str, Any]) -> TabularProblem:
    _only(content, ("safety", "task"), ("proxy", "aligned"))
    parts = {}
    for name in ("safety", "task", "proxy"):
        part = content.get(name)
        if part is None:
            continue
        if not isinstance(part, dict):
            raise ValueError(f"{name} must be an object with context and target.")
        try:
            _only(part, ("context", "target"))
            parts[name] = Distribution(part["context"], part["target"])
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name}: {error}") from None
        if parts[name].context.ndim != 1:
            raise ValueError(f"{name}: context must be a list of numbers.")
    return TabularProblem(
        safety=parts["safety"],
        task=parts["task"],
        proxy=parts.get("proxy"),
        aligned=content.get("aligned"),
    )


def _quadratic(content: dict[str, Any]) -> QuadraticProblem:
    _only(content, ("H_s", "H_f", "theta_s", "theta_f"))
    return QuadraticProblem(**content)


def _constants(content: dict[str, Any]) -> Constants:
    values = {}
    for name, entry in content.items():
        try:
            values[name] = Constant(**entry) if isinstance(entry, dict) else Constant(entry)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name}: {error}") from None
    if not values:
        raise ValueError("it names no constant.")
    return Constants(values)
