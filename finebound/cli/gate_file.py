"""The file of ``finebound gate``: its entries read, checked, and run one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from finebound.base.errors import InputError
from finebound.cli import certify, compare, estimate, evaluate
from finebound.results.budget import BudgetCheck
from finebound.results.gate import Gate, checks_of_certificate, checks_of_estimate
from llm_validation.evaluation.registry import kind_named
from llm_validation.training.configurations.files import read_settings

if TYPE_CHECKING:
    from finebound.base.progress import Progress

_REMEDY = "Give `gates:` with a list of entries, each a verb with its options; see finebound gate."
_VERBS = ("estimate", "evaluate", "compare", "certify")
_OF_THE_COMMAND = ("json", "out", "junit", "markdown", "plan", "expected")
"""Options that are said once, for all gates, or that decide nothing."""


class _Entry(BaseModel):
    """One gate: a name and one verb with its options, as on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    estimate: dict[str, Any] | None = None
    evaluate: dict[str, Any] | None = None
    compare: dict[str, Any] | None = None
    certify: dict[str, Any] | None = None


class _File(BaseModel):
    """The gates of a team, in the order in which they run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gates: tuple[_Entry, ...]


@dataclass(frozen=True)
class Planned:
    """A gate that is checked and not run yet."""

    name: str
    verb: str
    options: Any
    run: Callable[[Any, Progress], Sequence[BudgetCheck]]

    def gate(self, out: Path | None, progress: Progress) -> Gate:
        """Run it; what it writes goes into a folder of its name in ``out``."""
        folder = None if out is None else out / _folder(self.name)
        try:
            checks = self.run(replace(self.options, out=folder), progress)
        except InputError as error:
            raise _of_gate(self.name, error) from error
        return Gate(name=self.name, verb=self.verb, checks=tuple(checks))


def read_gates(file: Path) -> tuple[Planned, ...]:
    """Every gate of a YAML or JSON file. Raises InputError before any of them runs.

    Unknown keys, options of another verb, a gate without a budget and a name that is there twice
    are rejected by name. Paths are those of the command line: from the current folder.
    """
    content = read_settings(file, remedy=_REMEDY)
    try:
        found = _File.model_validate(content)
    except ValidationError as error:
        raise _invalid(error, file) from None
    if not found.gates:
        raise InputError("holds no gate.", remedy=_REMEDY, file=file)
    planned = [_planned(entry, place, file) for place, entry in enumerate(found.gates, 1)]
    folders = [_folder(one.name) for one in planned]
    if twice := [one.name for one in planned if folders.count(_folder(one.name)) > 1]:
        raise InputError(
            f"two gates have the name {twice[0]!r}.", remedy="Give each a `name`.", file=file
        )
    return tuple(planned)


def _planned(entry: _Entry, place: int, file: Path) -> Planned:
    given = {verb: values for verb in _VERBS if (values := getattr(entry, verb)) is not None}
    if len(given) != 1:
        what = "no verb" if not given else " and ".join(given)
        raise InputError(
            f"gate {place} has {what}.",
            remedy=f"Give it one of {', '.join(_VERBS)} with its options.",
            file=file,
        )
    [(verb, values)] = given.items()
    values = {name.replace("-", "_"): value for name, value in values.items()}
    kind = values.pop("kind", None) if verb == "evaluate" else None
    name = entry.name or " ".join(filter(None, (verb, str(kind or ""))))
    try:
        options, run = _options(verb, kind, values)
    except InputError as error:
        raise _of_gate(name, error, file) from None
    return Planned(name, verb, options, run)


def _options(
    verb: str, kind: Any, values: Mapping[str, Any]
) -> tuple[Any, Callable[[Any, Progress], Sequence[BudgetCheck]]]:
    if verb == "evaluate":
        if kind is None:
            raise InputError("`kind` is missing.", remedy="For example kind: hazards.")
        made = evaluate.options_of(str(kind))
        if made is kind_named(str(kind)).Options:
            raise InputError(
                f"`kind` is {kind}, which has no budget.", remedy="It is refusal or hazards."
            )
        return _made(
            made, values
        ), lambda options, progress: evaluate.run(str(kind), options, progress)[0].checks
    made, run = {
        "estimate": (estimate.Options, lambda o, p: checks_of_estimate(estimate.run(o, p))),
        "compare": (compare.Options, lambda o, p: compare.run(o)[0].budgets),
        "certify": (certify.Options, lambda o, p: checks_of_certificate(certify.run(o, p))),
    }[verb]
    return _made(made, values), run


def _made(options: type[Any], values: Mapping[str, Any]) -> Any:
    """The options of a verb from the values of a file; types are checked. Raises InputError."""
    known = {field.name: field for field in fields(options) if field.name not in _OF_THE_COMMAND}
    if unknown := [name for name in values if name not in known]:
        raise InputError(
            f"has the unknown option {unknown[0]!r}.", remedy=f"It has {', '.join(known)}."
        )
    needed = [name for name, field in known.items() if field.default is MISSING]
    if missing := [name for name in ("budget", *needed) if values.get(name) in (None, [], {})]:
        raise InputError(f"`{missing[0]}` is missing.", remedy="A gate needs it.")
    listed = {name: _listed(name, value, known[name].type) for name, value in values.items()}
    try:
        return TypeAdapter(options).validate_python(listed)
    except ValidationError as error:
        first = error.errors()[0]
        entry = first["loc"][0] if first["loc"] else "an option"
        raise InputError(
            f"`{entry}` is {listed.get(str(entry))!r}: {first['msg']}.",
            remedy="Give it as on the command line.",
        ) from None


def _listed(name: str, value: Any, kind: Any) -> Any:
    """A value as its option takes it: one for a list, ``{refusal: 5}`` for ``refusal=5``."""
    if name == "budget" and isinstance(value, Mapping):
        return [f"{of}={limit}" for of, limit in value.items()]
    if "tuple[" in str(kind):
        many = value if isinstance(value, list) else [value]
        return [str(one) for one in many] if name == "budget" else many
    return value


def _of_gate(name: str, error: InputError, file: Path | None = None) -> InputError:
    return InputError(
        f"the gate {name!r}: {error.what}",
        remedy=error.remedy,
        file=error.file if file is None else file,
        row=error.row,
    )


def _invalid(error: ValidationError, file: Path) -> InputError:
    first = error.errors()[0]
    where = ".".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return InputError(f"has the unknown entry {where}.", remedy=_REMEDY, file=file)
    if first["type"] == "missing":
        return InputError(f"lacks the entry {where}.", remedy=_REMEDY, file=file)
    return InputError(f"has a wrong value in {where}: {first['msg']}.", remedy=_REMEDY, file=file)


def _folder(name: str) -> str:
    """A gate's name as a folder: letters, digits and single hyphens."""
    kept = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    return "-".join(filter(None, kept.split("-"))) or "gate"
