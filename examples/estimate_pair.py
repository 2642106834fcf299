"""Estimate what a fine-tune on a file of rows may cost: ``python examples/estimate_pair.py``.

Give your own files: ``python examples/estimate_pair.py safety.jsonl task.jsonl [MODEL]``. Without a
model the texts alone are measured, in seconds.
"""

from __future__ import annotations

import sys

import finebound as fb


def main(safety: str, task: str, model: str | None = None) -> None:
    found = fb.estimate(safety=safety, task=task, model=model, rows=100, out="estimate-out")
    print(found.summary())
    print("The page: estimate-out/report.html")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("builtin:safety", "builtin:task-general")))
