"""An experiment's configuration: read from JSON or YAML, checked, expanded into its runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from finebound.base.errors import InputError
from llm_validation.experiments.entries import (
    ORIGINAL,
    Experiment,
    Generations,
    LandscapeSettings,
    Method,
    Mixed,
    SelfGenerated,
)
from llm_validation.experiments.planned import (
    RunConfig,
    alignment_plan,
    expand,
    find_run,
    plan_of,
)
from llm_validation.training.configurations.files import read_settings

__all__ = [
    "NAMED",
    "ORIGINAL",
    "Experiment",
    "Generations",
    "LandscapeSettings",
    "Method",
    "Mixed",
    "RunConfig",
    "SelfGenerated",
    "alignment_plan",
    "expand",
    "experiment_of",
    "find_run",
    "plan_of",
    "read_experiment",
]

_DEEPEST = 20
NAMED = Path(__file__).with_name("configurations")
"""The folder of the configurations that can be named without a path."""
_EXAMPLE = f"See {NAMED / 'smoke.json'} for an example."


def read_experiment(ref: str | Path) -> Experiment:
    """The experiment in a JSON or YAML file, or of this name among ``NAMED``.

    Raises InputError naming the file and the entry for an unknown key or a wrong value.
    """
    file = _find(ref)
    return experiment_of(read_settings(file, remedy=_EXAMPLE), file=file)


def experiment_of(content: Any, *, file: str | Path = "the configuration") -> Experiment:
    """The experiment of plain values; checks every plan and every name that the grid uses."""
    if not isinstance(content, Mapping):
        raise InputError("holds no object.", remedy=_EXAMPLE, file=file)
    if _is_deep(content):
        raise InputError(
            f"has entries more than {_DEEPEST} deep in one another.",
            remedy=_EXAMPLE,
            file=file,
        )
    try:
        experiment = Experiment.model_validate(content)
    except ValidationError as error:
        raise _as_input_error(error, file) from None
    try:
        alignment_plan(experiment)
        expand(experiment)
    except InputError as error:
        raise InputError(error.what, remedy=error.remedy, file=file) from None
    return experiment


def _is_deep(content: Any) -> bool:
    """Whether lists and objects lie deeper in one another than any entry needs."""
    seen: set[int] = set()
    level = [content]
    for _ in range(_DEEPEST):
        inside: list[Any] = []
        for value in level:
            if isinstance(value, Mapping | list | tuple) and id(value) not in seen:
                seen.add(id(value))
                inside += value.values() if isinstance(value, Mapping) else value
        level = inside
    return bool(level)


def _find(ref: str | Path) -> Path:
    path = Path(ref)
    if path.is_file():
        return path
    named = sorted(file.stem for file in NAMED.glob("*.json"))
    if str(ref) in named:
        return NAMED / f"{ref}.json"
    raise InputError(
        f"there is neither a file nor an experiment called {str(ref)!r}.",
        remedy=f"Check the path, or use one of {', '.join(named)}." if named else "Check the path.",
    )


def _as_input_error(error: ValidationError, file: str | Path) -> InputError:
    first = error.errors()[0]
    entry = ".".join(str(part) for part in first["loc"]) or "the object"
    if first["type"] == "extra_forbidden":
        what = f"has the unknown entry {entry}."
    elif first["type"] == "missing":
        what = f"lacks the entry {entry}."
    else:
        what = f"has a wrong value in {entry}: {first['msg']}."
    more = error.error_count() - 1
    return InputError(
        what + (f" ({more} more such.)" if more else ""),
        remedy=f"{_EXAMPLE} `finebound validate --help` says what each entry means.",
        file=file,
    )
