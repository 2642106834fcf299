"""The folder of a comparison: what it is of, so that no other one is continued in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from finebound.base.records import require_folder, to_json
from llm_validation.experiments.config import Generations
from llm_validation.experiments.run import Measured
from llm_validation.tradeoff.finished_experiment import Finished

SETTING = "setting.json"


def setting_of(
    finished: Finished, task: str, generations: Generations | None, bases: Sequence[Measured]
) -> dict[str, Any]:
    """What a folder's comparison is of."""
    prepared = finished.prepared
    return {
        "comparison_of_defences": prepared.experiment.name,
        "aligned_sha256": prepared.aligned_sha256,
        "runs": {m.run.id: m.run.sha256 for m in bases},
        "sets": {
            name: data.sha256 for name, data in prepared.sets.items() if name.endswith("held-out")
        },
        "asked": {
            "task": task,
            "prompts": 0 if generations is None else generations.prompts,
            "max_new_tokens": None if generations is None else generations.max_new_tokens,
        },
    }


def require_comparison_folder(out: Path, setting: dict[str, Any]) -> None:
    """Raises InputError for a folder that holds something else than this comparison."""
    require_folder(out)
    if not out.is_dir() or not any(file.name != ".lock" for file in out.iterdir()):
        return
    try:
        known = json.loads((out / SETTING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if not isinstance(known, dict) or "comparison_of_defences" not in known:
        known = {}
    differs = [
        name for name, value in json.loads(to_json(setting)).items() if known.get(name) != value
    ]
    if differs:
        what = "another comparison; what differs: " + ", ".join(differs)
        raise InputError(
            f"the folder holds {what if known else 'no comparison of defences'}.",
            remedy="Give another folder as `out`; nothing is overwritten.",
            file=out,
        )
