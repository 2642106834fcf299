"""What a run leaves behind: written whole or not at all, with a manifest that can make it again."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from finebound.errors import InputError

_VERSIONS = ("finebound", "numpy", "scipy", "scikit-learn", "torch", "transformers", "peft", "jax")


def write_atomically(path: str | Path, content: str | bytes) -> Path:
    """Write ``content`` under a temporary name, flush it to disk, rename it to ``path``.

    Raises InputError when the folder cannot be written or the disk is full; ``path`` then holds
    what it held before.
    """
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise cannot_write(path, error) from error
    return path


def require_folder(out: str | Path) -> None:
    """Raises InputError where results cannot be written to ``out``: call it before long work."""
    out = Path(out)
    there = next(path for path in (out, *out.absolute().parents) if os.path.exists(path))
    if not there.is_dir():
        raise InputError(
            "is a file, and the results need a folder.",
            remedy="Give another folder with --out.",
            file=there,
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(
            "cannot be written to.", remedy="Give another folder with --out.", file=there
        )


@contextmanager
def staged_folder(out: str | Path) -> Iterator[Path]:
    """A temporary folder whose files move into ``out`` only if all went well.

    On any error nothing of it is left and ``out`` is as it was. Raises InputError when the disk
    is full or the folder cannot be written.
    """
    out = Path(out)
    require_folder(out)
    stage = None
    try:
        # Inside a folder that exists: it may be a mount, and no file is renamed across those.
        place = out if os.path.exists(out) else out.parent
        place.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=place))
        yield stage
        out.mkdir(exist_ok=True)
        for file in sorted(stage.iterdir()):
            os.replace(file, out / file.name)
    except OSError as error:
        raise cannot_write(out, error) from error
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)


def cannot_write(path: Path, error: OSError) -> InputError:
    """The refusal for a full disk or a folder that cannot be written."""
    return InputError(
        f"cannot be written: {error.strerror or error}.",
        remedy="Free some space or choose another folder; nothing is left half-written.",
        file=path,
    )


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON where infinity is the string "inf" and a NaN is null, as DESIGN's contract says."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False, ensure_ascii=False)


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
    here = Path(__file__).resolve().parent.parent

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
