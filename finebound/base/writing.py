"""Files that are written whole or not at all, whenever their process is killed.

A file is written under a temporary name and renamed. The files of one result are made in a folder
that takes the place of the old one in one step; where the system cannot do that (a mount, a folder
with folders in it, the current folder) they are moved in, and the next start ends such a move.
Temporary names hold the process that writes there: what a dead one left is removed.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from finebound.base.errors import InputError

_COMMIT, _GONE = ".finebound-commit", ".gone"
_TEMPORARY = re.compile(
    r"\.(?P<name>.+)\.(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-(?P<begun>\d+)-[0-9a-f]{8}\.tmp"
)
LOCK = ".lock"
"""The file of a folder by which one process alone works in it."""
_ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which what another machine began to write counts as left."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_FULL = ("No space left", "os error", "PytorchStreamWriter", "unexpected pos", "File too large")


def write_atomically(path: str | Path, content: str | bytes) -> Path:
    """Write ``content`` under a temporary name, flush it to disk, rename it to ``path``.

    Raises InputError when the folder cannot be written or the disk is full; ``path`` then holds
    what it held before.
    """
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent)
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise
    return path


def require_folder(out: str | Path) -> None:
    """Raises InputError where results cannot be written to ``out``: call it before long work.

    Ends what a killed process had begun to move into ``out``, and removes what it left there.
    """
    out = Path(out)
    there = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if there.is_symlink() and not there.exists():
        raise InputError(
            "is a symbolic link to nothing, and the results need a folder.",
            remedy="Remove the link, or give another folder as `out`.",
            file=there,
        )
    if not there.is_dir():
        raise InputError(
            "is a file, and the results need a folder.",
            remedy="Give another folder as `out`.",
            file=there,
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(
            "cannot be written to.", remedy="Give another folder as `out`.", file=there
        )
    _require_no_link(out / LOCK)
    place = out.resolve()
    remove_abandoned(place.parent, of=place.name)
    if out.is_dir():
        remove_abandoned(place)
        if (place / _COMMIT).is_dir():
            try:
                with _alone(place):
                    _finish(place)
            except OSError as error:
                raise cannot_write(out, error) from error


@contextmanager
def staged_folder(out: str | Path, *, gone: Collection[str] = ()) -> Generator[Path]:
    """A temporary folder whose files take the place of those in ``out``, all of them or none.

    Other files in ``out`` stay, but for the names in ``gone``: what an older result had and this
    one may lack. On any error nothing of it is left and ``out`` is as it was. Raises InputError
    when the disk is full or the folder cannot be written.
    """
    out = Path(out)
    require_folder(out)
    stage = None
    try:
        place = out.resolve()
        stage = _stage_for(place)
        yield stage
        _commit(stage, place, gone)
    except Exception as error:
        disk = as_disk_error(error)
        if disk is None:
            raise
        raise cannot_write(out, disk) from error
    finally:
        if stage is not None:
            remove(stage)


# What no free space mends.
_NOT_SPACE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


def cannot_write(path: Path, error: OSError) -> InputError:
    """The refusal for a full disk or a folder that cannot be written."""
    choose = "Choose" if error.errno in _NOT_SPACE else "Free some space or choose"
    return InputError(
        f"cannot be written: {error.strerror or error}.",
        remedy=f"{choose} another folder; nothing is left half-written.",
        file=path,
    )


def as_disk_error(error: BaseException) -> OSError | None:
    """The failed write behind torch's and safetensors' own error types; None for other errors."""
    if isinstance(error, OSError):
        return error
    if not isinstance(error, RuntimeError) and type(error).__name__ != "SafetensorError":
        return None
    text = str(error)
    return OSError(text.splitlines()[0]) if any(mark in text for mark in _FULL) else None


def open_lock(path: Path) -> BinaryIO:
    """The file at ``path``, made if need be, to be locked: no link is followed, nothing emptied.

    Raises InputError where it cannot be opened so.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(path, flags, 0o644), "r+b", buffering=0)
    except OSError as error:
        _require_no_link(path)
        raise cannot_write(path.parent, error) from error


def _require_no_link(lock: Path) -> None:
    if lock.is_symlink():
        raise InputError(
            "is a symbolic link, and the lock has to be a file of this folder.",
            remedy="Remove the link.",
            file=lock,
        )


def open_to_append(path: Path) -> BinaryIO:
    """``path`` opened to append bytes; InputError where it cannot be, or is a symbolic link."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o644), "ab")
    except OSError as error:
        raise cannot_write(path, error) from error


def temporary_beside(path: Path) -> Path:
    """A new hidden name in the same folder that tells which process writes there."""
    pid = os.getpid()
    name = f".{path.name[:100]}.{_machine()}-{pid}-{_begun(pid) or 0}-{secrets.token_hex(4)}.tmp"
    return path.parent / name


def remove_abandoned(folder: Path, *, of: str | None = None) -> None:
    """Remove what dead processes were writing into ``folder``, or ``of`` this name in it."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            found = _TEMPORARY.fullmatch(entry.name)
            if found and (of is None or of[:100] == found["name"]) and not _is_alive(found, entry):
                remove(Path(entry.path))


def remove(path: Path) -> None:
    """Remove a file, a folder or a link (not what it points to), if it is there and can be."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sync_tree(folder: Path) -> None:
    """Flush every file of a folder, and the folder, to disk."""
    for entry in folder.iterdir():
        if entry.is_dir():
            sync_tree(entry)
        else:
            with entry.open("rb") as stream:
                os.fsync(stream.fileno())
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flush a folder's names; some file systems cannot, and need not."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _stage_for(out: Path) -> Path:
    """A new folder beside ``out``, or in it where it is a mount or its parent is not ours."""
    stages = [] if os.path.ismount(out) else [temporary_beside(out)]
    stages += [temporary_beside(out / out.name)] if out.is_dir() else []
    *tried, last = stages
    for stage in tried:
        with suppress(OSError):
            stage.mkdir()
            return stage
    last.parent.mkdir(parents=True, exist_ok=True)
    last.mkdir()
    return last


def _commit(stage: Path, out: Path, gone: Collection[str]) -> None:
    sync_tree(stage)
    if stage.parent == out.parent:
        with _alone(out.parent):
            if not os.path.lexists(out):
                os.rename(stage, out)
                done = True
            else:
                done = _take_the_place(stage, out, gone)
        if done:
            sync_folder(out.parent)
            return
    if older := [name for name in gone if not os.path.lexists(stage / name)]:
        (stage / _GONE).write_text("\n".join(older), encoding="utf-8")
    with _alone(out):
        _finish(out)
        try:
            os.rename(stage, out / _COMMIT)
        except OSError:  # across a mount
            copy = temporary_beside(out / out.name)
            try:
                shutil.copytree(stage, copy)
                sync_tree(copy)
                os.rename(copy, out / _COMMIT)
            finally:
                remove(copy)
        sync_folder(out)
        _finish(out)


def _take_the_place(stage: Path, out: Path, gone: Collection[str]) -> bool:
    """Whether ``stage``, with the other files of ``out`` linked into it, became ``out``.

    Not where that would take a folder away from under somebody: the current one, one with folders
    in it, one that another process writes to.
    """
    if Path.cwd().is_relative_to(out):
        return False
    linked: list[Path] = []
    try:
        for entry in os.scandir(out):
            if entry.name in gone or os.path.lexists(stage / entry.name):
                continue
            if entry.is_dir(follow_symlinks=False) or _TEMPORARY.fullmatch(entry.name):
                raise OSError
            os.link(entry.path, stage / entry.name, follow_symlinks=False)
            linked.append(stage / entry.name)
        shutil.copymode(out, stage)
        sync_folder(stage)
        exchange(stage, out)
        return True
    except OSError:
        for path in linked:
            path.unlink()
        return False


def exchange(one: Path, other: Path) -> None:
    """Let two paths change places in one step. Raises OSError where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError("no renameat2")
    names = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    if rename(*names, _RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _finish(out: Path) -> None:
    """Move in what a commit has left to move; only one process does."""
    begun = out / _COMMIT
    if begun.is_symlink() or not begun.is_dir():
        return
    for entry in sorted(begun.iterdir()):
        if entry.name == _GONE:
            continue
        if entry.is_dir():
            remove(out / entry.name)
        os.replace(entry, out / entry.name)
    if (begun / _GONE).is_file():
        for name in (begun / _GONE).read_text(encoding="utf-8").splitlines():
            remove(out / Path(name).name)
    sync_folder(out)
    remove(begun)


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Only one process at a time commits in a folder; where folders cannot be locked, unlocked."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _is_alive(found: re.Match[str], entry: os.DirEntry[str]) -> bool:
    if found["machine"] != _machine():
        return time.time() - entry.stat(follow_symlinks=False).st_mtime < _ABANDONED_AFTER
    pid, begun = int(found["pid"]), int(found["begun"])
    if begun:
        return _begun(pid) == begun
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@cache
def _machine() -> str:
    """This machine and, in a container, its own processes; 8 hex digits."""
    names = ""
    with suppress(OSError):
        names = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{platform.node()} {names}".encode()).hexdigest()[:8]


def _begun(pid: int) -> int | None:
    """When a process began, in ticks since the machine did; None where it is dead or untold."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
