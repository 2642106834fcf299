"""Where the rows are that a configuration names: files of this machine, or datasets of the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_validation.data.formats import data_extension
from llm_validation.training.configurations.reading import Reading

BUILDERS = ("json", "csv", "parquet", "text", "arrow")
"""Names that ``datasets.load_dataset`` takes in place of a dataset, where files are given."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SPLIT = re.compile(r"([\w.-]+)(.*)")
_SOME = "{} The forecast takes all rows; `task` says others."
_CHANGES = {
    "data_files": _SOME.format("Some files of the dataset are trained on."),
    "name": _SOME.format("One configuration of the dataset is trained on."),
    "config": _SOME.format("One configuration of the dataset is trained on."),
    "subset": _SOME.format("One configuration of the dataset is trained on."),
    "split": _SOME.format("A part of the split is trained on."),
    "shards": _SOME.format("A part of the rows is trained on."),
    "weight": _SOME.format("A share of the rows is trained on."),
    "num_samples": _SOME.format("So many rows are trained on, with repetition if there are fewer."),
    "test_split_size": "Rows are kept for evaluation: an epoch has fewer steps than forecast.",
}
_NO_CHANGE = {"weight": 1, "config": "default", "name": "default", "subset": "default"}


def reference(path: str, beside: Path, split: str | None = None) -> str:
    """What ``load_dataset`` takes for the dataset that a file in ``beside`` calls ``path``.

    Trainers look from where they are started. What is not there is looked for beside the file.
    """
    for place in (Path(path).expanduser(), beside / path):
        if path and os.path.exists(place):  # False for what no file system can look up
            is_part = place.is_dir() and split not in (None, "train")
            return f"hf:{place}:{split}" if is_part else str(place)
    if not _HUB_ID.fullmatch(path) or path.startswith(".") or data_extension(Path(path)):
        return path
    return f"hf:{path}:{split}" if split else f"hf:{path}"


def references(reading: Reading, key: str, entry: Mapping[str, Any]) -> list[str]:
    """Those of an entry as ``datasets.load_dataset`` is called with it; ``key`` is its list's.

    What of it is not in the forecast is said in ``reading``.
    """
    path, files = str(entry.get("path") or entry.get("id")), entry.get("data_files")
    beside = reading.file.parent
    note_parts(reading, key, entry, left_out=("data_files",) if path in BUILDERS else ())
    if path in BUILDERS and files:
        files = files.get("train", files) if isinstance(files, dict) else files
        return [reference(str(f), beside) for f in (files if isinstance(files, list) else [files])]
    split = entry.get("split")
    found = _SPLIT.fullmatch(split) if isinstance(split, str) else None
    return [reference(path, beside, found[1] if found else None)]


def note_parts(
    reading: Reading, key: str, entry: Mapping[str, Any], left_out: tuple[str, ...] = ()
) -> None:
    """Say what an entry leaves out of its dataset."""
    for name, what in _CHANGES.items():
        value = entry.get(name)
        if name in left_out or value in (None, _NO_CHANGE.get(name)):
            continue
        if name == "split":
            found = _SPLIT.fullmatch(str(value))
            if found is None or not found[2]:
                continue
        reading.change(f"{key}: {name}", what, value)
