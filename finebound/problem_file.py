"""``PROBLEM.json``: read into the problems of ``theory``, with errors that name the file."""

from __future__ import annotations

import json
import math
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
    except RecursionError:
        raise InputError("is nested too deeply.", remedy=_REMEDY, file=path) from None
    if not isinstance(content, dict):
        raise InputError("holds no JSON object.", remedy=_REMEDY, file=path)
    kinds = {"tabular": _tabular, "quadratic": _quadratic, "constants": _constants}
    kind = content.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(
            f'has "kind": {json.dumps(kind)}; it must be one of {", ".join(kinds)}.',
            remedy=_REMEDY,
            file=path,
        )
    try:
        return kinds[kind](content)
    except ValueError as error:
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
    aligned = content.get("aligned")
    return TabularProblem(
        safety=_distribution(content, "safety"),
        task=_distribution(content, "task"),
        proxy=None if content.get("proxy") is None else _distribution(content, "proxy"),
        aligned=None if aligned is None else _table(aligned, "aligned"),
    )


def _distribution(content: dict[str, Any], name: str) -> Distribution:
    part = content[name]
    if not isinstance(part, dict):
        raise ValueError(f"{name} must be an object with context and target.")
    try:
        _only(part, ("context", "target"))
        return Distribution(_row(part["context"], "context"), _table(part["target"], "target"))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _quadratic(content: dict[str, Any]) -> QuadraticProblem:
    _only(content, ("H_s", "H_f", "theta_s", "theta_f"))
    read = {"H_s": _table, "H_f": _table, "theta_s": _row, "theta_f": _row}
    return QuadraticProblem(**{name: read[name](entry, name) for name, entry in content.items()})


def _number(entry: Any, name: str) -> float:
    if isinstance(entry, bool) or not isinstance(entry, int | float):
        raise ValueError(f"{name} is {_told(entry)}, not a number.")
    try:
        return float(entry)
    except OverflowError:
        raise ValueError(f"{name} is too large a number.") from None


def _told(entry: Any) -> str:
    kinds = {dict: "an object", list: "a list"}
    return kinds.get(type(entry)) or json.dumps(entry)


def _row(entry: Any, name: str) -> list[float]:
    if not isinstance(entry, list):
        raise ValueError(f"{name} is {_told(entry)}, not a list of numbers.")
    return [_number(item, f"{name}[{i}]") for i, item in enumerate(entry)]


def _table(entry: Any, name: str) -> list[list[float]]:
    if not isinstance(entry, list):
        raise ValueError(f"{name} is {_told(entry)}, not a list of rows.")
    rows = [_row(item, f"{name}[{i}]") for i, item in enumerate(entry)]
    for i, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(f"{name}[{i}] has {len(row)} entries, {name}[0] has {len(rows[0])}.")
    return rows


def _constants(content: dict[str, Any]) -> Constants:
    values = {}
    for name, entry in content.items():
        told = entry if isinstance(entry, dict) else {"value": entry}
        try:
            _only(told, ("value",), ("known", "failure_probability", "unit"))
            if not isinstance(told.get("unit", ""), str):
                raise ValueError(f"unit is {_told(told['unit'])}, not a text.")
            if "failure_probability" in told:
                _number(told["failure_probability"], "failure_probability")
            value = math.inf if told["value"] == "inf" else _number(told["value"], "its value")
            values[name] = Constant(**{**told, "value": value})
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    if not values:
        raise ValueError("it names no constant.")
    return Constants(values)
