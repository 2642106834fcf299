"""What a folder of exported tasks asks, as a table."""

from __future__ import annotations

from finebound.results.harness import HarnessTasksResult
from finebound.views.tables import Table


def table(result: HarnessTasksResult) -> Table:
    """A row for each set that is asked."""
    rows = tuple((x.source, x.rows, x.version, x.sha256[:16], x.file) for x in result.rows)
    columns = ("set", "rows", "version", "SHA-256", "file")
    return Table("harness_tasks", "What the tasks ask", columns, rows)
