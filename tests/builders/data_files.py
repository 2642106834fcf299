"""Small data files, and what ``load_dataset`` makes of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from llm_validation.data.dataset import Dataset
from llm_validation.data.loading import load_dataset


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def load_rows(folder: Path, *rows: dict[str, Any], **options: Any) -> Dataset:
    """The data set of these rows, written to a JSON Lines file."""
    return load_dataset(write_jsonl(folder / "rows.jsonl", list(rows)), **options)


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}
