"""Seeded damage: one small mutation of a JSON value, of its text or of a file's bytes.

Every draw comes from the ``random.Random`` that is given, so a number names a case.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError

_ODD_TEXTS = (
    "",
    "  \n",
    "\0",
    "\ud800",
    "\x1b[31m",
    "\u202e",
    "=1+1",
    "nan",
    "1e400",
    "<script>",
    "{{ 7*7 }}",
    "a" * 20_000,
    "../../etc/passwd",
    "日本語 العربية 👩‍👩‍👧",
)
_ODD_VALUES = (
    None,
    True,
    False,
    0,
    -1,
    2**70,
    1e308,
    -0.0,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"role": "user"},
    "text",
    3,
    0.5,
)
_ODD_KEYS = ("", "id", "label", "weight", "content", "text", "unknown column", "\x1b[2J", "ä")
_ODD_BYTES = (
    b"\0",
    b"\xff",
    b"\xe9",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b'"',
    b"\\",
    b"{",
    b"]",
    b",",
    b"9" * 5_000,
    b"[" * 3_000,
    b'{"a":' * 3_000,
    b"NaN",
)


def mutated_value(value: Any, rng: random.Random) -> Any:
    """A copy of a JSON value with one thing changed, at a place drawn from all of its places."""
    whole = [copy.deepcopy(value)]
    places = _places(whole)
    holder, key = places[rng.randrange(len(places))]
    rng.choice(_CHANGES)(holder, key, rng)
    return whole[0] if whole else None


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """A file's bytes with one thing changed: cut, flipped, moved, repeated, encoded anew."""
    start, stop = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    piece = content[start:stop]
    kind = rng.randrange(11)
    if kind == 0:
        return content[:start]
    if kind == 1:
        return content[:start] + content[start + 1 :]
    if kind == 2:
        flipped = bytes([content[start] ^ (1 << rng.randrange(8))]) if start < len(content) else b""
        return content[:start] + flipped + content[start + 1 :]
    if kind in (3, 4):
        return content[:start] + rng.choice(_ODD_BYTES) + content[start:]
    if kind == 5:
        return content[:start] + content[stop:]
    if kind == 6:
        return content[:stop] + piece + content[stop:]
    if kind == 7:
        return piece + content[:start] + content[stop:]
    if kind == 8:
        return rng.choice((b"", b"\xef\xbb\xbf" + content, content * 2, content[::-1]))
    if kind == 9:
        encoding = rng.choice(("utf-16", "utf-32", "latin-1", "utf-7"))
        return content.decode("utf-8", "replace").encode(encoding, "replace")
    return rng.choice((gzip.compress(content, mtime=0), content.replace(b"\n", b"\r\n")))


def with_key_twice(value: dict[str, Any], rng: random.Random) -> str:
    """The JSON text of an object, one of its keys written twice with different values."""
    pairs = [*value.items()]
    key = rng.choice([*value])
    pairs.insert(rng.randrange(len(pairs) + 1), (key, rng.choice(_ODD_VALUES)))
    return "{" + ", ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in pairs) + "}"


def refusal(act: Callable[[], Any], *, file: str | Path | None = None) -> InputError | None:
    """The InputError that ``act`` raises, or None where it raises nothing.

    Fails for any other exception, for an error that is not one line with a remedy, and, where
    ``file`` is given, for one that does not name it.
    """
    try:
        act()
        return None
    except InputError as caught:
        error = caught
    text = str(error)
    assert error.remedy, text
    assert error.remedy.split()[0] in text
    assert "\n" not in text
    assert "Traceback" not in text
    assert file is None or str(file) in text, text
    return error


def _places(whole: list) -> list[tuple[list | dict, Any]]:
    found: list[tuple[list | dict, Any]] = []
    waiting: list[list | dict] = [whole]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], list | dict):
                waiting.append(holder[key])
    return found


def _replace(holder: Any, key: Any, rng: random.Random) -> None:
    holder[key] = copy.deepcopy(rng.choice(_ODD_VALUES))


def _odd_text(holder: Any, key: Any, rng: random.Random) -> None:
    holder[key] = rng.choice(_ODD_TEXTS)


def _damage_text(holder: Any, key: Any, rng: random.Random) -> None:
    text = holder[key]
    if not isinstance(text, str):
        return _replace(holder, key, rng)
    place = rng.randrange(len(text) + 1)
    holder[key] = rng.choice(
        (text[:place], text[:place] + rng.choice(_ODD_TEXTS) + text[place:], text.upper(), text * 2)
    )
    return None


def _remove(holder: Any, key: Any, rng: random.Random) -> None:
    del holder[key]


def _rename(holder: Any, key: Any, rng: random.Random) -> None:
    if isinstance(holder, dict):
        holder[rng.choice((*_ODD_KEYS, key.upper(), f"{key} ", f"{key}s"))] = holder.pop(key)
    else:
        holder.insert(key, copy.deepcopy(holder[key]))


def _add(holder: Any, key: Any, rng: random.Random) -> None:
    value = copy.deepcopy(rng.choice((*_ODD_VALUES, *_ODD_TEXTS)))
    if isinstance(holder, dict):
        holder[rng.choice(_ODD_KEYS)] = value
    else:
        holder.insert(rng.randrange(len(holder) + 1), value)


def _swap(holder: Any, key: Any, rng: random.Random) -> None:
    other = rng.choice([*holder] if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]


def _wrap(holder: Any, key: Any, rng: random.Random) -> None:
    value = holder[key]
    holder[key] = rng.choice(([value], {"value": value}, [value, value], json.dumps(value)))


def _nest(holder: Any, key: Any, rng: random.Random) -> None:
    for _ in range(rng.choice((5, 50, 400))):
        holder[key] = [holder[key]] if rng.random() < 0.5 else {"a": holder[key]}


def _number(holder: Any, key: Any, rng: random.Random) -> None:
    value = holder[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _replace(holder, key, rng)
    holder[key] = rng.choice((-value, value * 1e12, value / 3, value + 1, str(value), [value]))
    return None


_CHANGES: tuple[Callable[[Any, Any, random.Random], None], ...] = (
    _replace,
    _odd_text,
    _damage_text,
    _remove,
    _rename,
    _add,
    _swap,
    _wrap,
    _nest,
    _number,
)
