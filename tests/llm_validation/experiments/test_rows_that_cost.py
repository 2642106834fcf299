"""The record of fine-tunes without the rows that cost, and what the page says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from finebound.results.rows_that_cost import COSINE, NOTHING, RANDOM, SCORES, RowsThatCostResult
from llm_validation.experiments.rows_that_cost import RECORD, REGISTRY

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "refusals.md"


def test_the_page_says_what_the_record_holds() -> None:
    found = RowsThatCostResult.load(RECORD)
    assert found.manifest.given == json.loads(REGISTRY.read_text(encoding="utf-8"))
    assert found.beats_random
    page = PAGE.read_text(encoding="utf-8")
    tasks = {task.id: task for task in found.tasks}
    code, general = tasks["code-harmful-10"], tasks["general"]

    def refused(task, by: str) -> str:
        return f"{100 * np.mean([r.measured.refusal for r in task.runs if r.by == by]):.2g} %"

    by = {run.by: run for run in code.runs}
    assert f"code with {code.planted} harmful rows among {code.rows} | nothing | " in page
    assert f"nothing | {refused(code, NOTHING)} |" in page
    assert by[SCORES].planted == len(by[SCORES].rows) == 22
    assert f"the 22 costliest rows, all of them harmful ones | **{refused(code, SCORES)}**" in page
    assert f"22 rows at random, three times | {refused(code, RANDOM)}" in page
    assert f"cosine, {by[COSINE].planted} harmful | {refused(code, COSINE)}" in page
    kept = {refused(general, rule) for rule in (NOTHING, SCORES, RANDOM)}
    assert kept == {"2.5 %"}
    assert "or 24 at random | 2.5 % |" in page
    assert f"instructions, {general.rows} harmless rows" in page
    beyond = next(found for found in code.beyond_random if found.by == SCORES).refusal
    low, high = (round(100 * end) for end in (beyond.lower, beyond.upper))
    assert f"{100 * (beyond.estimate or 0):.0f} points more refusals ({low} to {high})" in page
