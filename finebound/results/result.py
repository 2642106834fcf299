"""What every result is: frozen, typed, read from its record and written as that record again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from finebound.base.errors import InputError
from finebound.base.integrity import SEAL, read_record, require_seal
from finebound.base.integrity import sealed as with_seal
from finebound.base.records import to_json, write_atomically

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from finebound.views.tables import Table


def _infinity(value: Any) -> Any:
    """JSON has no infinity: the contract writes the string "inf"."""
    return float(value) if value in ("inf", "-inf") else value


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else _infinity(value)


Number = Annotated[int | float, BeforeValidator(_infinity)]
"""A number of a record; "inf" and "-inf" are infinities. What is not known is None, not NaN."""
Known = Annotated[int | float | None, BeforeValidator(_known)]
"""A number that may not be known: a NaN becomes None, as in the record."""


class Part(BaseModel):
    """A typed part of a result. What a reader doesn't know is rejected by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def to_dict(self) -> dict[str, Any]:
        """The record's content: plain values, in the order of the fields, as far as given."""
        return self.model_dump(exclude_unset=True, by_alias=True)


class Manifest(Part):
    """What made a record: the options given, hashes of the inputs, versions, code, machine."""

    given: dict[str, Any]
    inputs: dict[str, str]
    seed: int
    versions: dict[str, str]
    python: str
    machine: str
    code: dict[str, Any]


class Result(Part):
    """A result: ``kind`` names its schema and its view, ``file`` the record's name in a folder.

    ``indent`` is that of the record's JSON, None for one line; a ``sealed`` record ends with the
    hash of its content. A subclass fills its fields completely; ``finebound.views.KIND`` draws
    them and computes nothing. A field that is excluded is no entry of the record: ``load`` reads
    it from the files beside.
    """

    kind: ClassVar[str]
    file: ClassVar[str]
    indent: ClassVar[int | None] = 2
    sealed: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def to_json(self) -> str:
        """The record's text, without a last line feed; infinity is "inf", a NaN is null."""
        content = self.to_dict()
        return to_json(with_seal(content) if self.sealed else content, indent=self.indent)

    def save(self, path: str | Path) -> Path:
        """Write the record, whole or not at all, and return where it is.

        ``path`` is a folder, which then holds ``file``, or a file's name that ends with ``.json``.
        """
        path = Path(path)
        target = path if path.suffix == ".json" else path / self.file
        return write_atomically(target, self.to_json() + "\n")

    @classmethod
    def of(cls, content: Mapping[str, Any], *, file: str | Path | None = None) -> Self:
        """The result that a record's content holds.

        Raises InputError, naming the entry, for what is missing, unknown or of another type, and
        Damaged for a sealed record whose content is not what was sealed.
        """
        if cls.sealed:
            require_seal(content, Path(file or cls.file), remedy="Make it again.")
        plain = {name: value for name, value in content.items() if name != SEAL}
        beside = {name for name, field in cls.model_fields.items() if field.exclude}
        try:
            # What is read from beside has another name here, so that a record with it is rejected.
            return cls.model_validate({f"{n}?" if n in beside else n: v for n, v in plain.items()})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the record"
            more = error.error_count() - 1
            raise InputError(
                f"this is no record of the kind {cls.kind!r} in version {cls.version}: "
                f"{where}: {first['msg']}" + (f" ({more} more such)." if more else "."),
                remedy="Make it again with this version, or read it with the one that wrote it.",
                file=file,
            ) from None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The result of a record's file, or of the folder that holds it. Raises InputError."""
        path = Path(path)
        target = path / cls.file if path.is_dir() else path
        remedy = f"Give a {cls.file} as finebound writes it."
        return cls.of(read_record(target, remedy=remedy), file=target)

    @classmethod
    def json_schema(cls) -> str:
        """The JSON schema of the record, as ``docs/reference`` holds it."""
        schema = cls.model_json_schema(by_alias=True)
        return json.dumps(schema | {"title": f"{cls.kind} {cls.version}"}, indent=2)

    def summary(self) -> str:
        """The result in words, one sentence per line; the most decisive first."""
        raise NotImplementedError

    def table(self) -> Table:
        """The result's main table."""
        return self._view().table(self)

    def to_frame(self) -> pandas.DataFrame:
        """The main table as a pandas frame, a column of intervals in three. Raises InputError."""
        try:
            import pandas
        except ImportError:
            raise InputError("pandas is not installed.", remedy="pip install pandas") from None
        columns, rows = self.table().spread()
        return pandas.DataFrame(rows, columns=columns)

    def plot(self) -> Figure:
        """The result's main figure."""
        return self._view().plot(self)

    def __repr__(self) -> str:
        first = self.summary().partition("\n")[0]
        return f"<{type(self).__name__}: {shorten(first, 120, placeholder=' ...')}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        first_screen = getattr(self._view(), "first_screen", None)
        return first_screen(self) if first_screen else self.table().html()

    def _view(self) -> ModuleType:
        # By name, as results stand below views and know nothing of them.
        return import_module(f"finebound.views.{self.kind}")
