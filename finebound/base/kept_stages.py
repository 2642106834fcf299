"""Finished stages of a long job, kept until its result is written: a second start goes on.

A stage's result is kept by the hash of everything that made it, the project's code included, so
that no other one is ever taken for it. Values are dataclasses, parts of results, arrays and plain
values of this project; a file can name no other class, and holds no code.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from finebound.base.errors import InputError, tell
from finebound.base.records import to_json
from finebound.base.writing import write_atomically

T = TypeVar("T")

_OURS = ("finebound", "theory", "llm_validation")
_ROOT = Path(__file__).resolve().parents[2]


class KeptStages:
    """The finished stages of one result, in a hidden folder beside it.

    ``out`` is the result's folder; with None nothing is kept and every stage is made.
    """

    def __init__(self, out: str | Path | None) -> None:
        here = None if out is None else Path(out).absolute()
        self._folder = None if here is None else here.parent / f".{here.name}.stages"

    def result(self, name: str, made_of: Mapping[str, Any], make: Callable[[], T]) -> T:
        """What ``make`` gives; taken from an earlier start if ``made_of`` and the code are equal.

        ``made_of`` holds plain values: settings, and hashes of the data.
        """
        if self._folder is None:
            return make()
        content = to_json({"name": name, "made_of": made_of, "code": _code()}, indent=None)
        key = hashlib.sha256(content.encode()).hexdigest()[:16]
        file = self._folder / f"{name.replace(' ', '-')}-{key}.json.z"
        with suppress(OSError, ValueError, TypeError, LookupError, zlib.error, AttributeError):
            found = _decoded(json.loads(zlib.decompress(file.read_bytes())))
            tell(f"finebound: {name}: taken from an earlier start.")
            return found
        found = make()
        written = zlib.compress(json.dumps(_encoded(found)).encode(), 1)
        # Nothing is lost but time where it cannot be kept.
        with suppress(InputError):
            write_atomically(file, written)
        return found

    def forget(self) -> None:
        """Remove what is kept: the result is written."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


NOT_KEPT = KeptStages(None)
"""Every stage is made, and nothing is kept."""


@cache
def _code() -> str:
    """A hash of this project's source, so that a stage made by other code is made anew."""
    digest = hashlib.sha256()
    for package in _OURS:
        for file in sorted((_ROOT / package).rglob("*")):
            if file.suffix in (".py", ".json", ".yaml") and file.is_file():
                digest.update(str(file.relative_to(_ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()


def _encoded(value: Any) -> Any:
    if value is None or (type(value) in (bool, int, float, str)):
        return value
    if isinstance(value, Enum):
        return {"enum": _name(type(value)), "value": value.value}
    if isinstance(value, BaseModel):
        names = [name for name in type(value).model_fields if name in value.model_fields_set]
        content = {name: _encoded(getattr(value, name)) for name in names}
        return {"class": _name(type(value)), "fields": content}
    if is_dataclass(value):
        content = {f.name: _encoded(getattr(value, f.name)) for f in fields(value) if f.init}
        return {"class": _name(type(value)), "fields": content}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_encoded(item) for item in value]}
    if isinstance(value, Mapping):
        return {"dict": [[_encoded(key), _encoded(item)] for key, item in value.items()]}
    if hasattr(value, "dtype"):
        import numpy as np

        array = np.asarray(value)
        if array.dtype.hasobject:
            raise TypeError("an array of objects cannot be kept")
        data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
        return {"array": data, "dtype": array.dtype.str, "shape": list(array.shape)}
    raise TypeError(f"a stage cannot keep a {type(value).__name__}")


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        raise ValueError("a bare list is no value of a stage")
    if not isinstance(value, dict):
        return value
    match value:
        case {"enum": name, "value": content}:
            return _class(name, Enum)(content)
        case {"class": name, "fields": content}:
            return _class(name)(**{key: _decoded(item) for key, item in content.items()})
        case {"tuple": items}:
            return tuple(map(_decoded, items))
        case {"list": items}:
            return list(map(_decoded, items))
        case {"dict": items}:
            return {_decoded(key): _decoded(item) for key, item in items}
        case {"array": data, "dtype": dtype, "shape": shape}:
            import numpy as np

            flat = np.frombuffer(base64.b64decode(data), dtype=np.dtype(dtype))
            array = flat.reshape(shape).copy()
            return array if shape else array[()]
        case _:
            raise ValueError("unknown value of a stage")


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _class(name: str, parent: type | None = None) -> Any:
    module, _, qualified = name.partition(":")
    if module.split(".")[0] not in _OURS:
        raise ValueError(f"{name} is no class of this project")
    kind = getattr(import_module(module), qualified)
    if not isinstance(kind, type):
        raise ValueError(f"{name} is no class")
    if not (
        issubclass(kind, parent) if parent else is_dataclass(kind) or issubclass(kind, BaseModel)
    ):
        raise ValueError(f"{name} is no class of values")
    return kind
