"""Whether files are still those that were written: their hashes in a record, and a record's own.

A record made before there were hashes has none: it is read as it is, with a word to the reader.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from finebound.base.records import file_sha256, to_json

FILES, SEAL = "files", "content_sha256"
"""Entries of a record: the hashes of files beside it, and that of its own other entries."""

_OF_A_RESULT = ("record.json", "run.json", "defend.json")


class Damaged(InputError):
    """A file is not what was written; whoever can make it anew does so."""


def hashes_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of files by their path in ``folder``; a name of a folder stands for what is in it."""
    found: dict[str, str] = {}
    for name in names:
        place = folder / name
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in files:
            if file.is_file() and not any(
                p.startswith(".") for p in file.relative_to(folder).parts
            ):
                found[file.relative_to(folder).as_posix()] = _hash(file)
    return found


def changed(folder: Path, hashes: Any) -> list[str]:
    """What is no longer as recorded in ``hashes``: "PATH is missing", "PATH is another file"."""
    if not isinstance(hashes, Mapping):
        return [f"{FILES} are no hashes"]
    told = []
    for name, sha256 in hashes.items():
        file = folder / name
        try:
            if _hash(file) != sha256:
                told.append(f"{name} is not the file that was written")
        except (OSError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            told.append(f"{name} is missing" if missing else f"{name} cannot be read")
    return told


def require_unchanged(folder: Path, hashes: Any, *, remedy: str) -> None:
    """Raises Damaged, naming the first file, where a file is no longer as recorded."""
    if told := changed(folder, hashes):
        name, _, what = told[0].partition(" ")
        more = f" ({len(told) - 1} more such.)" if len(told) > 1 else ""
        raise Damaged(
            f"{what}: damaged, or of another run.{more}", remedy=remedy, file=folder / name
        )


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with the hash of itself, as ``read_record`` checks it."""
    plain = {name: value for name, value in content.items() if name != SEAL}
    return plain | {SEAL: _seal(json.loads(to_json(plain)))}


def read_record(file: Path, *, remedy: str) -> dict[str, Any]:
    """A record's JSON object, by its own hash if it has one.

    Raises Damaged where it is missing, cut, no object, or not as it was written.
    """
    content = read_json(file, remedy=remedy)
    if not isinstance(content, dict):
        raise Damaged("holds no JSON object.", remedy=remedy, file=file)
    require_seal(content, file, remedy=remedy)
    return content


def read_json(file: Path, *, remedy: str) -> Any:
    """What a JSON file holds. Raises Damaged where it is missing or no JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Damaged(f"cannot be read: {error.strerror}.", remedy=remedy, file=file) from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"is not JSON: {error}.", remedy=remedy, file=file) from error


def require_seal(content: Mapping[str, Any], file: Path, *, remedy: str) -> None:
    """Raises Damaged where the content has a hash of itself and it is another's."""
    if SEAL in content:
        plain = {name: value for name, value in content.items() if name != SEAL}
        if content[SEAL] != _seal(plain):
            raise Damaged(
                f"is not as it was written (its {SEAL} is another's).", remedy=remedy, file=file
            )


def require_of_its_run(path: Path) -> None:
    """Raises Damaged where the record of the run, or result, around ``path`` has other hashes.

    ``path`` is a file of it or a folder; without such a record anything is believed.
    """
    path = path.resolve()
    for folder in (path, *path.parents[:3]):
        for name in _OF_A_RESULT:
            try:
                content = read_record(folder / name, remedy="")
            except Damaged:
                continue
            files = content.get(FILES)
            if SEAL not in content or not isinstance(files, dict):
                continue
            if mine := {n: h for n, h in files.items() if (folder / n).is_relative_to(path)}:
                require_unchanged(
                    folder,
                    mine,
                    remedy="Make the run again; if the change is meant, use a copy "
                    "that lies elsewhere.",
                )
                return


@contextmanager
def as_written(content: Mapping[str, Any], file: Path, *, remedy: str) -> Generator[None]:
    """A record without a hash of itself may lack anything: what fails in reading it is its fault.

    Raises Damaged for it. With a hash that holds, a failure is a fault of the program.
    """
    try:
        yield
    except Exception as error:
        if SEAL in content or isinstance(error, InputError):
            raise
        what = f"{type(error).__name__} {error}" if str(error) else type(error).__name__
        raise Damaged(
            f"is not laid out as this record is: {what}.", remedy=remedy, file=file
        ) from error


def _seal(plain: Any) -> str:
    try:
        text = json.dumps(plain, sort_keys=True)
    except RecursionError:
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def _hash(file: Path) -> str:
    stat = file.stat()
    return _hash_once(file.resolve(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@lru_cache(maxsize=4096)
def _hash_once(file: Path, *_: int) -> str:
    """A process reads a file of gigabytes once, as long as it stays the same."""
    return file_sha256(file)
