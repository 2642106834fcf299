"""What a run leaves behind: JSON, hashes, seeds, and a manifest that can make it again."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from finebound.base.writing import cannot_write, require_folder, staged_folder, write_atomically

__all__ = [
    "KeyTwice",
    "cannot_write",
    "file_sha256",
    "manifest",
    "once_each",
    "require_folder",
    "spawn_seed",
    "staged_folder",
    "to_json",
    "write_atomically",
]

_STEERING = re.compile(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_VERSIONS = ("finebound", "numpy", "scipy", "scikit-learn", "torch", "transformers", "peft", "jax")


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON where infinity is the string "inf" and a NaN is null, as DESIGN's contract says.

    What would steer a terminal, and what UTF-8 cannot hold, is escaped as JSON can.
    """
    text = json.dumps(_plain(value), indent=indent, allow_nan=False, ensure_ascii=False)
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class KeyTwice(ValueError):
    """One JSON object names a key twice, of which parsers keep the last without a word."""


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object's entries, as the parser's ``object_pairs_hook``. Raises KeyTwice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise KeyTwice(f"the key {twice[:60]!r} is there twice in one object")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
    if isinstance(value, Path):
        return str(value)
    return value


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def spawn_seed(master: int, name: str) -> int:
    """A seed for the part called ``name``, the same on every machine and in every order."""
    digest = hashlib.sha256(f"{master}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def manifest(*, given: Mapping[str, Any], inputs: Mapping[str, str], seed: int) -> dict[str, Any]:
    """What made a record: the options given, hashes of the inputs, versions, code, machine."""
    return {
        "given": dict(given),
        "inputs": dict(inputs),
        "seed": seed,
        "versions": {name: version for name in _VERSIONS if (version := _version(name))},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "code": _code_revision(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _code_revision() -> dict[str, Any]:
    """The commit of this checkout and whether it was changed; empty outside a checkout."""
    here = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(here), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD") if (here / ".git").exists() else None
    if commit is None:
        return {}
    return {"commit": commit, "dirty": bool(git("status", "--porcelain"))}
