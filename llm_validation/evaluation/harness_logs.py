"""What lm-evaluation-harness and inspect_ai log of each sample, as rows of an answers file.

lm-evaluation-harness writes samples_TASK_*.jsonl (``--log_samples``) with the task's document in
``doc``; inspect_ai writes .json and .eval logs whose samples have it in ``metadata``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from llm_validation.data.formats import read_rows

EVAL = ".eval"
"""The extension of inspect_ai's own format."""
_OF_A_PROBE = ("id", "category", "harmful")

Rows = Iterator[tuple[int, dict[str, Any]]]


def logged_rows(path: Path, rows_of: Callable[[dict[str, Any]], list[Any] | None]) -> Rows:
    """The numbered rows of a data file, or of inspect_ai's .eval log; ``rows_of`` as `read_rows`.

    Raises InputError for a log that cannot be read, and where inspect_ai is not installed.
    """
    if path.suffix == EVAL:
        return iter(enumerate(_samples(path), 1))
    return read_rows(path, rows_of=rows_of)


def document_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row of its dataset that a logged sample answers; empty for a row of another kind."""
    found = None
    if "doc_id" in row:
        found = row.get("doc")
    elif "epoch" in row and "output" in row:
        found = row.get("metadata")
    return found if isinstance(found, Mapping) else {}


def with_probe(row: dict[str, Any]) -> dict[str, Any]:
    """The row with id, category and ``harmful`` of the probe that it answers, where it logs one."""
    document = document_of(row)
    if not isinstance(document.get("harmful"), bool):
        return row
    return row | {name: document[name] for name in _OF_A_PROBE if name in document}


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    try:
        from inspect_ai.log import read_eval_log  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "only inspect_ai reads its .eval logs, and it is not installed here.",
            remedy="Install inspect_ai, or write the log as JSON where it is installed: "
            "`inspect log convert LOG --to json --output-dir DIR`.",
            file=path,
        ) from None
    try:
        samples = read_eval_log(str(path)).samples or []
    except Exception as error:  # whatever a damaged archive raises inside
        raise InputError(
            f"inspect_ai cannot read this log: {type(error).__name__}: {error}.",
            remedy="Copy it again.",
            file=path,
        ) from error
    if not samples:
        raise InputError(
            "the log has no samples.", remedy="Run the evaluation with samples.", file=path
        )
    for sample in samples:
        # Without what is None, as a .json log has it: `choices` of no question is no answer.
        yield sample.model_dump(
            mode="json", exclude_none=True, exclude={"events", "store", "attachments"}
        )
