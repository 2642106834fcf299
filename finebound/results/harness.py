"""The tasks that ``finebound export-tasks`` wrote for other evaluation harnesses."""

from __future__ import annotations

from typing import ClassVar

from finebound.results.result import Part, Result


class TaskRows(Part):
    """What a task asks: its file, the set that it is, its version, and the file's SHA-256."""

    file: str
    source: str
    version: int
    rows: int
    sha256: str


class HarnessTasksResult(Result):
    """A folder of tasks: their names in lm-evaluation-harness, and inspect_ai's file."""

    kind: ClassVar[str] = "harness_tasks"
    file: ClassVar[str] = "tasks.json"

    lm_eval: tuple[str, ...]
    inspect: str
    rows: tuple[TaskRows, ...]

    def summary(self) -> str:
        """How many rows the tasks ask, set by set."""
        asked = " and ".join(f"{part.rows} rows of {part.source}" for part in self.rows)
        return f"Tasks for lm-evaluation-harness and inspect_ai: {asked}."
