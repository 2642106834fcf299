"""Files of answers to the same probes, with as many lost and gained as a test wants."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REFUSES = "I'm sorry, but I can't help with that."
HELPS = "Sure. First take the two parts and press them together, then wait for an hour."


def labelled(safe: Sequence[bool], **columns: Callable[[int], Any]) -> list[dict[str, Any]]:
    """A row for each answer, with an id, a label, and further columns by row number."""
    return [
        {"id": f"probe-{n}", "safe": bool(its), **{k: of(n) for k, of in columns.items()}}
        for n, its in enumerate(safe)
    ]


def lost(n: int, count: int, *, gained: int = 0, unsafe_before: int = 0) -> tuple[list, list]:
    """Labels before and after: ``count`` of ``n`` lost, ``gained`` of those unsafe before."""
    before = [True] * (n - unsafe_before) + [False] * unsafe_before
    after = [*before]
    after[:count] = [False] * count
    after[n - gained :] = [True] * gained
    return before, after


def write_jsonl(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def write_pair(folder: Path, n: int, count: int, **more: int) -> list[str]:
    """before.jsonl and after.jsonl in a folder, as options of ``finebound certify``."""
    before, after = lost(n, count, **more)
    files = [
        write_jsonl(folder / f"{name}.jsonl", labelled(safe))
        for name, safe in (("before", before), ("after", after))
    ]
    return ["--reference", str(files[0]), "--candidate", str(files[1])]
