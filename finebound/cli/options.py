"""Options that verbs share, and the parsing of a verb's command line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

from finebound.base.errors import InputError
from finebound.base.given import given_options as given_options
from finebound.base.text import printable

if TYPE_CHECKING:
    from theory.strategy import Strategy

Options = TypeVar("Options")
_MEMORY = "FINEBOUND_MEMORY"  # llm_validation.models.memory reads it
StrategyKind = Literal["loss", "parameter", "hybrid"]


def parse(options: type[Options], arguments: Sequence[str], *, verb: str) -> Options:
    """The verb's options from its command line; exits with 2 and a message on a wrong one."""
    import tyro

    return tyro.cli(
        options,
        args=_gathered(arguments, "--budget") if _takes_many(options, "budget") else arguments,
        prog=f"finebound {verb}",
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _takes_many(options: type, name: str) -> bool:
    """Whether an option takes several values after one flag."""
    field = options.__dataclass_fields__.get(name)
    return field is not None and str(field.type).startswith("tuple[")


def _gathered(arguments: Sequence[str], flag: str) -> list[str]:
    """The arguments with every value of a repeated flag behind its first place.

    Of a flag that takes several values the parser would keep only those of the last.
    """
    rest: list[str] = []
    values: list[str] = []
    place: int | None = None
    inside = False
    for argument in arguments:
        if argument == flag or argument.startswith(f"{flag}="):
            place = len(rest) if place is None else place
            inside = argument == flag
            values += [] if inside else [argument.removeprefix(f"{flag}=")]
        elif inside and not argument.startswith("--"):
            values.append(argument)
        else:
            inside = False
            rest.append(argument)
    return rest if place is None else [*rest[:place], flag, *values, *rest[place:]]


def with_flags(text: str, options: type) -> str:
    """An error of the library as the command line says it: `model_rows` is --model-rows here.

    Of names in backquotes those are meant that are fields of ``options``.
    """
    names = "|".join(options.__dataclass_fields__)
    return re.sub(f"`({names})`", lambda found: "--" + found[1].replace("_", "-"), text)


@contextmanager
def flags_said(options: type) -> Generator[None]:
    """Inside, an error of the library names flags, as ``with_flags`` does."""
    try:
        yield
    except InputError as error:
        what, remedy = (with_flags(text, options) for text in (error.what, error.remedy))
        raise InputError(what, remedy=remedy, file=error.file, row=error.row) from error


@contextmanager
def memory_allowed(gigabytes: float | None) -> Generator[None]:
    """Inside, jobs and their workers keep to so many GB (None: to what is free).

    Raises InputError for a number that is none.
    """
    if gigabytes is not None and not 0.0 < gigabytes < float("inf"):
        raise InputError(f"--memory is {gigabytes}.", remedy="Give GB, a number greater than 0.")
    before = os.environ.get(_MEMORY)
    if gigabytes is not None:
        os.environ[_MEMORY] = repr(gigabytes)
    try:
        yield
    finally:
        os.environ.pop(_MEMORY, None)
        if before is not None:
            os.environ[_MEMORY] = before


def say(notes: Iterable[str]) -> None:
    """What a person should know about the numbers, on stderr, one line each."""
    for note in notes:
        print(f"note: {printable(note)}", file=sys.stderr)


def make_strategy(
    kind: StrategyKind, *, lam: float | None, epsilon: float | None, radius: float | None
) -> Strategy:
    """The strategy of these options. Raises InputError when they do not fit together."""
    from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

    given = {"--lam": lam, "--epsilon": epsilon, "--radius": radius}
    takes = {
        "loss": ("--lam", "--epsilon"),
        "parameter": ("--radius",),
        "hybrid": ("--lam", "--radius"),
    }
    surplus = [
        name for name, value in given.items() if value is not None and name not in takes[kind]
    ]
    if surplus:
        raise InputError(
            f"{surplus[0]} does not belong to --strategy {kind}.",
            remedy=f"It takes {' and '.join(takes[kind])}.",
        )
    try:
        match kind:
            case "loss":
                if (lam is None) == (epsilon is None):
                    raise ValueError("--strategy loss takes exactly one of --lam and --epsilon.")
                return LossConstraint(lam=lam, epsilon=epsilon)
            case "parameter":
                if radius is None:
                    raise ValueError("--strategy parameter needs --radius.")
                return ParameterConstraint(radius)
            case "hybrid":
                if lam is None or radius is None:
                    raise ValueError("--strategy hybrid needs --lam and --radius.")
                return Hybrid(lam=lam, radius=radius)
    except ValueError as error:
        raise InputError(str(error), remedy="For example --strategy loss --lam 0.5.") from None
