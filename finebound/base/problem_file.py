"""``PROBLEM.json``: read into the problems of ``theory``, with errors that name the file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError, tell
from finebound.base.records import once_each
from theory.problem import (
    Constant,
    Constants,
    Distribution,
    Problem,
    QuadraticProblem,
    TabularProblem,
)

# Seven eigendecompositions of so many take two minutes on one core.
_MOST_COORDINATES = 2000
# From so many on a person is told that it takes a while.
_MANY_COORDINATES = 300

_REMEDY = "See `finebound bound --help` for an example of each kind."


def read_problem(path: str | Path) -> Problem:
    """The problem in a JSON file of kind tabular, quadratic or constants.

    Raises InputError, naming the file and the entry, on a missing or empty file, malformed JSON,
    NaN, missing or unknown entries, and rows that are not distributions.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("does not exist.", remedy="Check the path.", file=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot be read as UTF-8 text ({error}).", remedy="Check the file.", file=path
        ) from None
    if not text.strip():
        raise InputError("is empty.", remedy=_REMEDY, file=path)
    try:
        content = json.loads(
            text,
            parse_constant=_no_number,
            parse_float=_decimal,
            parse_int=_whole,
            object_pairs_hook=once_each,
        )
    except json.JSONDecodeError as error:
        raise InputError(
            f"is not JSON: {error.msg} in column {error.colno}.",
            remedy="Mend that line.",
            file=path,
            row=error.lineno,
        ) from None
    except ValueError as error:
        raise InputError(f"cannot be used: {error}.", remedy=_REMEDY, file=path) from None
    except RecursionError:
        raise InputError("is nested too deeply.", remedy=_REMEDY, file=path) from None
    if not isinstance(content, dict):
        raise InputError("holds no JSON object.", remedy=_REMEDY, file=path)
    kinds = {"tabular": _tabular, "quadratic": _quadratic, "constants": _constants}
    kind = content.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(
            f'has "kind": {_shown(json.dumps(kind))}; it must be one of {", ".join(kinds)}.',
            remedy=_REMEDY,
            file=path,
        )
    try:
        return kinds[kind](content)
    except ValueError as error:
        raise InputError(str(error), remedy=_REMEDY, file=path) from None


def tell_size(problem: Problem, *, times: int = 1) -> None:
    """One line on stderr where a large quadratic problem takes a while."""
    if not isinstance(problem, QuadraticProblem):
        return
    size = problem.theta_s.shape[-1]
    if size >= _MANY_COORDINATES:
        seconds = times * 5.0 * (size / 700.0) ** 3
        tell(
            f"{size} coordinates: eigenvalues and bounds in double precision take some "
            f"{max(seconds, 1.0):.0f} s on one core."
        )


def _no_number(name: str) -> float:
    if name == "NaN":
        raise ValueError("it holds a NaN, which is no number")
    raise ValueError(f'it holds {name}, which is no JSON; write "inf" where a constant is infinite')


def _decimal(written: str) -> float:
    number = float(written)
    if number and math.isfinite(number):
        return number
    if number:
        raise ValueError(f"it holds {written[:40]}, too large a number for double precision")
    if any(digit in written.lower().partition("e")[0] for digit in "123456789"):
        raise ValueError(f"it holds {written[:40]}, too small a number for double precision")
    return number


def _whole(written: str) -> int:
    if len(written) > 400:
        raise ValueError(f"it holds a whole number of {len(written)} digits, too large a number")
    return int(written)


def _shown(text: str) -> str:
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _only(content: dict[str, Any], needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    missing = [name for name in needed if name not in content]
    unknown = [name for name in content if name not in (*needed, *optional)]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}.")
    if unknown:
        allowed = ", ".join((*needed, *optional))
        raise ValueError(f"it has the unknown entry {_shown(unknown[0])}; known are {allowed}.")


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
    size = len(content["theta_s"]) if isinstance(content["theta_s"], list) else 0
    if size > _MOST_COORDINATES:
        raise ValueError(
            f"theta_s has {size} coordinates; at most {_MOST_COORDINATES} are taken, because the "
            "work grows with their cube. Restrict the problem to the coordinates that matter."
        )
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
    return kinds.get(type(entry)) or _shown(json.dumps(entry))


def _row(entry: Any, name: str) -> list[float]:
    if not isinstance(entry, list):
        raise ValueError(f"{name} is {_told(entry)}, not a list of numbers.")
    if all(type(item) is float for item in entry):
        return entry
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
        told: dict[str, Any] = entry if isinstance(entry, dict) else {"value": entry}
        try:
            _only(told, ("value",), ("known", "failure_probability", "unit"))
            if not isinstance(told.get("unit", ""), str):
                raise ValueError(f"unit is {_told(told['unit'])}, not a text.")
            if "failure_probability" in told:
                _number(told["failure_probability"], "failure_probability")
            if not isinstance(told.get("known", ""), str):
                raise ValueError(f"known is {_told(told['known'])}, not a text.")
            value = math.inf if told["value"] == "inf" else _number(told["value"], "its value")
            fields: dict[str, Any] = {**told, "value": value}
            values[name] = Constant(**fields)
        except ValueError as error:
            raise ValueError(f"{_shown(name)}: {error}") from None
    if not values:
        raise ValueError("it names no constant.")
    return Constants(values)
