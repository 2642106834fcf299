"""Answers kept as soon as they are made: one file for a model and one way to generate."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finebound.base.records import cannot_write
from finebound.base.writing import open_to_append


@dataclass(frozen=True)
class StoredAnswer:
    """What a model wrote; ``text`` is None where ``error`` says why there is none."""

    text: str | None = None
    finished: bool = False
    tokens: int = 0
    error: str | None = None


class AnswerStore:
    """One file of answers, a JSON line each, for one model and one way to generate."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        text = json.dumps(settings, sort_keys=True)
        self.path = folder / f"{hashlib.sha256(text.encode()).hexdigest()}.jsonl"
        self.settings = dict(settings)

    def read(self) -> Iterator[tuple[str, StoredAnswer]]:
        """What is there; a line that was torn or changed is left out, and its answer made again."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise cannot_write(self.path, error) from error
        for line in lines:
            try:
                fields = json.loads(line)
                check = fields.pop("check", None)
                if check not in (None, _check(fields)):  # none: of an older version
                    continue
                yield fields.pop("key"), StoredAnswer(**fields)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue

    def add(self, answers: Mapping[str, StoredAnswer]) -> None:
        """Append, and wait until it is on the disk."""
        told = [{"key": key, **asdict(answer)} for key, answer in answers.items()]
        lines = [json.dumps({**fields, "check": _check(fields)}) for fields in told]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open_to_append(self.path) as stream:
                if stream.tell() == 0:
                    lines.insert(0, json.dumps(self.settings))
                # The line feed at the front ends a line that a kill tore.
                stream.write(("\n" + "\n".join(lines) + "\n").encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error


def _check(fields: Mapping[str, Any]) -> str:
    """16 hex digits by which a changed line is known."""
    text = json.dumps(fields, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
