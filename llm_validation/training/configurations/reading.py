"""One configuration while it is read: which keys decide what, and what is left of them."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from finebound.base.errors import InputError
from finebound.base.text import printable
from llm_validation.training.configurations.described import ENOUGH_ROWS
from llm_validation.training.configurations.training_file import (
    NOTHING,
    Key,
    Setting,
    TrainingFile,
    plan_for,
)

_TABLES = Path(__file__).with_name("keys")
_ALIKE = 0.88
# A few lines of YAML can describe lists that no memory holds.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring = 2, 4, 4, 80
T = TypeVar("T")
Kind = Callable[[Any], T]
"""Reads a value; raises ValueError with what to give instead."""


def number(least: float = 0.0, above: float | None = None, most: float = math.inf) -> Kind[float]:
    """A number, also where YAML reads it as text (``1e-4``)."""

    def read(value: Any) -> float:
        try:
            found = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        inside = least <= found <= most and (above is None or found > above)
        if not (math.isfinite(found) and inside):
            bound = f"above {above:g}" if above is not None else f"from {least:g}"
            raise ValueError(f"Give a number {bound}{'' if most == math.inf else f' to {most:g}'}.")
        return found

    return read


def count(least: int = 1) -> Kind[int]:
    """A whole number."""

    def read(value: Any) -> int:
        try:
            found = number(-math.inf)(value)
        except ValueError:
            found = math.nan
        if not (least <= found < 2**31 and found == int(found)):
            raise ValueError(f"Give a whole number from {least}.")
        return int(found)

    return read


def flag(value: Any) -> bool:
    """True or false."""
    found = _plain(value)
    if not isinstance(found, bool):
        raise ValueError("Give true or false.")
    return found


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError("Give a text.")
    return value


def names(value: Any) -> list[str]:
    """Names, as a list or in one text with commas."""
    found: list[Any] = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise ValueError("Give a list of names.")
    return [item.strip() for item in found if item.strip()]


def mapping(value: Any) -> dict[str, Any]:
    """Settings by name, also as JSON in a text."""
    try:
        found = yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("Give an object with its settings.")
    return found


def short(value: Any) -> str:
    """A value of the file as it may be shown."""
    return printable(_SHORT.repr(value))


class Reading:
    """The keys of ``content``, read for the format of ``library``.

    ``tables`` name the files of ``keys/`` that say of all other keys what they change. ``prefix``
    is put before a key's name where its file is not the one that was asked for.
    """

    def __init__(
        self,
        content: Mapping[str, Any],
        file: Path,
        library: str,
        tables: Iterable[str],
        prefix: str = "",
    ) -> None:
        self.content, self.file, self.library, self.prefix = content, file, library, prefix
        self.known: set[str] = set()
        self.settings: dict[str, Setting] = {}
        self.assumed: list[Key] = []
        self.contradictions: list[str] = []
        self.not_modelled: list[Key] = []
        self.unread: list[Key] = []
        self._nothing: set[str] = set()
        self._changes: dict[str, tuple[Any, str]] = {}
        for table in tables:
            nothing, changes = read_table(table)
            self._nothing |= nothing
            self._changes |= changes

    def error(self, what: str, remedy: str) -> InputError:
        """An InputError of this file."""
        return InputError(what, remedy=remedy, file=self.file)

    def get(self, kind: Kind[T], *keys: str) -> T | None:
        """The value of the one of ``keys`` (names of one setting, ``outer.inner``) that is given.

        None where none is, or null. Raises InputError for a value that is none of its ``kind``
        and for two names with two values.
        """
        self.known |= {key.partition(".")[0] for key in keys}
        found: dict[str, T] = {}
        for key in keys:
            if (value := self._look_up(key)) is not None:
                try:
                    found[key] = kind(value)
                except ValueError as error:
                    raise self.error(f"{key} is {short(value)}.", str(error)) from None
        if not found:
            return None
        (first, value), *others = found.items()
        for other, another in others:
            if another != value:
                raise self.error(
                    f"{first} is {short(value)} and {other} is {short(another)}.",
                    "Both are names of one setting: give one of them.",
                )
        return value

    def key(self, *keys: str) -> str | None:
        """The first of ``keys`` that has a value."""
        return next((key for key in keys if self._look_up(key) is not None), None)

    def _look_up(self, key: str) -> Any:
        outer, _, inner = key.partition(".")
        value = self.content.get(outer)
        return (value.get(inner) if isinstance(value, Mapping) else None) if inner else value

    def put(self, setting: str, value: Any, key: str | None) -> None:
        """Settle a setting by a key's value, or by the library's default where ``key`` is None."""
        self.settings[setting] = (
            Setting.default(value, self.library)
            if key is None
            else Setting(value, f"{self.prefix}{key}")
        )

    def settle(self, setting: str, kind: Kind[T], *keys: str, default: T) -> T:
        """``get`` and ``put`` of one setting."""
        value = self.get(kind, *keys)
        self.put(setting, default if value is None else value, self.key(*keys))
        return default if value is None else value

    def assume(self, setting: str, what: str) -> None:
        """Say what is taken for a setting that the file leaves open."""
        self.assumed.append(Key(setting, "", what))

    def change(self, key: str, what: str, value: Any = None) -> None:
        """Say, once, what a key that was read may change beyond the plan.

        ``value`` is that of a key of which ``key`` is a name alone.
        """
        name = f"{self.prefix}{key}"
        if all(name != known.name for known in self.not_modelled):
            value = self._look_up(key) if value is None else value
            self.not_modelled.append(Key(name, short(value), what))

    def idle(self, keys: Iterable[str], why: str) -> None:
        """Say of keys, where they are given, why they change nothing."""
        for key in keys:
            self.known.add(key)
            if self.content.get(key) is not None:
                self.unread.append(Key(f"{self.prefix}{key}", "", f"{NOTHING}: {why}"))

    def join(self, other: Reading) -> None:
        """Add what another file says."""
        self.settings |= other.settings
        self.assumed += other.assumed
        self.contradictions += other.contradictions
        self.not_modelled += other.not_modelled
        self.unread += other.unread

    def sort_the_rest(self) -> None:
        """Say of every key that was not read what it may change.

        Raises InputError for a key that is nearly the name of one that is read and not there.
        """
        for key, value in self.content.items():
            if key in self.known:
                continue
            name = f"{self.prefix}{key}"
            if key in self._nothing:
                if value is not None:
                    self.unread.append(Key(name, "", NOTHING))
            elif key in self._changes:
                off, what = self._changes[key]
                if not _is_off(value, off):
                    self.not_modelled.append(Key(name, short(value), what))
            else:
                absent = self.known - self.content.keys()
                if meant := get_close_matches(key, absent, n=1, cutoff=_ALIKE):
                    raise self.error(f"has the key {key!r}.", f"Did you mean {meant[0]}?")
                self.unread.append(Key(name, "", unknown_to(self.library)))

    def finish(
        self,
        name: str,
        counting: Literal["transformers", "axolotl", "finebound"],
        *,
        model: str | None,
        tasks: Iterable[str] = (),
        template: str | None = None,
        files: Iterable[Path] = (),
    ) -> TrainingFile:
        """What was understood. Raises InputError for settings that make no plan."""
        self.sort_the_rest()
        tasks = tuple(tasks)
        if len(tasks) > 1:
            self.assume("task", f"The file names {len(tasks)} datasets: all their rows are meant.")
        training = TrainingFile(
            format=name,
            files=(str(self.file), *map(str, files)),
            settings=self.settings,
            model=model,
            tasks=tasks,
            template=template,
            assumed=tuple(self.assumed),
            contradictions=tuple(self.contradictions),
            not_modelled=tuple(self.not_modelled),
            unread=tuple(self.unread),
            counting=counting,
        )
        plan_for(training, ENOUGH_ROWS)
        return training


def unknown_to(library: str) -> str:
    """What is said of a key that no table has."""
    return f"is no key of {library} that is known here: what it changes is not in the forecast"


@cache
def read_table(name: str) -> tuple[set[str], dict[str, tuple[Any, str]]]:
    """The keys of a table that change nothing; of the others the value that does not, and what
    another one may change."""
    table = yaml.safe_load((_TABLES / f"{name}.yaml").read_text(encoding="utf-8"))
    changes = {
        key: (off, what) for what, keys in table["changes"].items() for key, off in keys.items()
    }
    return set(table["nothing"].split()), changes


def _is_off(value: Any, off: Any) -> bool:
    if value is None or value in ("", [], {}):
        return True
    return _plain(value) in [_plain(item) for item in (off if isinstance(off, list) else [off])]


def _plain(value: Any) -> Any:
    """Numbers and truth values as such, also where they are written as text."""
    if not isinstance(value, str):
        return value
    told = value.strip().lower()
    if told in ("true", "yes", "on", "false", "no", "off"):
        return told in ("true", "yes", "on")
    try:
        return float(told)
    except ValueError:
        return told
