"""A run's checkpoints: which are whole and its own, so that a damaged one is not gone on with."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from finebound.base.errors import tell
from finebound.base.integrity import FILES, Damaged, changed, hashes_of, read_record, sealed
from finebound.base.records import to_json
from finebound.base.writing import remove

_HASHES = "hashes.json"
_STATE = "trainer_state.json"


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run that were written to the end, oldest first."""
    found = [p for p in folder.glob("checkpoint-*") if p.name.rpartition("-")[2].isdecimal()]
    return sorted(found, key=lambda p: int(p.name.rpartition("-")[2]))


def seal_checkpoint(folder: Path, *, of: str) -> None:
    """Write the hashes of a checkpoint's files, and the hash of the run that it is ``of``."""
    files = hashes_of(folder, sorted(file.name for file in folder.iterdir()))
    record = sealed({"run": of, FILES: files})
    (folder / _HASHES).write_text(to_json(record) + "\n", encoding="utf-8")


def last_checkpoint(folder: Path, *, of: str) -> tuple[Path | None, dict[Path, str]]:
    """The newest checkpoint that is whole and of this run; newer ones with what is wrong there."""
    faults: dict[Path, str] = {}
    for checkpoint in reversed(checkpoints(folder)):
        fault = _fault(checkpoint, of)
        if fault is None:
            return checkpoint, faults
        faults[checkpoint] = fault
    return None, faults


def discard(faults: Mapping[Path, str], *, instead: Path | None) -> None:
    """Remove damaged checkpoints, with a word on stderr."""
    for checkpoint, fault in faults.items():
        on = "from its start" if instead is None else f"at {instead.name}"
        tell(f"{checkpoint}: {fault}; the run goes on {on}.")
        remove(checkpoint)


def _fault(checkpoint: Path, of: str) -> str | None:
    if not (checkpoint / _HASHES).is_file():
        return _damaged_file(checkpoint)  # made before there were hashes
    try:
        record = read_record(checkpoint / _HASHES, remedy="")
    except Damaged:
        return f"{_HASHES} cannot be read"
    if record.get("run") != of:
        return "it is another run's"
    if not isinstance(record.get(FILES), dict) or _STATE not in record[FILES]:
        return f"{_HASHES} names no {_STATE}"
    told = changed(checkpoint, record[FILES])
    return told[0] if told else None


def _damaged_file(checkpoint: Path) -> str | None:
    """What of a checkpoint without hashes cannot be read; nothing is unpickled."""
    if not (checkpoint / _STATE).is_file():
        return f"{_STATE} is missing"
    for file in sorted(checkpoint.iterdir()):
        if not _is_readable(file):
            return f"{file.name} cannot be read"
    return None


def _is_readable(file: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        if file.suffix == ".json":
            json.loads(file.read_text(encoding="utf-8"))
        elif file.suffix == ".safetensors":
            with safe_open(file, framework="np"):
                pass
        elif file.suffix in (".pt", ".pth"):
            with zipfile.ZipFile(file) as archive:
                return archive.testzip() is None
    except (OSError, ValueError, SafetensorError, zipfile.BadZipFile, RecursionError):
        return False
    return True
