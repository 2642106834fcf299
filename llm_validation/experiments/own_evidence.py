"""Fine-tunes of a person's own, around their training: does the shipped calibration hold on them?

Each is forecast before it is run. The folder keeps what was planned, every forecast and every
record, so that a second call goes on, with more fine-tunes too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.base.records import file_sha256, manifest, spawn_seed, to_json, write_atomically
from finebound.results.calibration_check import CalibrationCheckResult, CheckedRun
from finebound.results.evidence import EvidenceResult
from finebound.results.result import Manifest
from finebound.results.spans import Limits
from llm_validation.data.loading import load_dataset
from llm_validation.estimation.evidence import shipped, trust_in
from llm_validation.estimation.likeness import setting_of
from llm_validation.estimation.outlook import TASK_ROWS
from llm_validation.estimation.plan import inputs_of, plan_of
from llm_validation.estimation.request import Request
from llm_validation.estimation.skill import pair_of
from llm_validation.experiments.evidence import run_registry
from llm_validation.forecast.calibrated import Refusals
from llm_validation.models.loading import load_model
from theory.confidence import clopper_pearson

RATES = (1.0, 0.5, 2.0)
"""Times the learning rate of the given training."""
SHARES = (0.0, 0.1, 0.3)
"""Of harmful rows among the task's."""
REGISTRY, FINE_TUNES = "registry.json", "fine_tunes"


def check_calibration(
    request: Request, runs: int, out: Path, *, progress: Progress = silent
) -> CalibrationCheckResult:
    """Forecast and run ``runs`` fine-tunes around the request's training; what held of them.

    The first is the training itself. Raises InputError for what is missing, for a folder that
    was made for something else, and where the package brings too few fine-tunes.
    """
    if runs < 1:
        raise InputError(f"{runs} runs.", remedy="Give 1 or more.")
    inputs = inputs_of(request)
    given = {
        "model": inputs.request.model,
        "tasks": list(inputs.tasks),
        "training": None if request.training is None else file_sha256(Path(request.training)),
        "probes": request.probes,
        "seed": request.seed,
    }
    file, loaded = out / REGISTRY, None
    registry: dict[str, Any]
    if file.is_file():
        registry = json.loads(file.read_text(encoding="utf-8"))
        changed = [name for name in given if registry["given"][name] != given[name]]
        if changed:
            raise InputError(
                f"the folder was made for another {' and '.join(changed)}.",
                remedy="Give another `out`, or what it was made for.",
                file=file,
            )
    else:
        assert inputs.request.model is not None
        loaded = load_model(inputs.request.model, progress=progress)
        rows = len(load_dataset(inputs.tasks[0], role="task")) - TASK_ROWS
        plan = plan_of(inputs.request, inputs.training, rows, loaded)
        registry = {
            "given": given,
            "model": inputs.request.model,
            "probes": request.probes,
            "plan": plan.as_dict(),
        }
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(file, to_json(registry) + "\n")
    entries = entries_of(inputs.tasks, registry["plan"], runs, seed=request.seed)
    found = run_registry(
        {**registry, "fine_tunes": entries}, out / FINE_TUNES, loaded=loaded, progress=progress
    )
    made = manifest(
        given={**given, "runs": runs},
        inputs={one.id: one.forecast_sha256 for one in found},
        seed=request.seed,
    )
    return checked(found, Manifest(**made))


def entries_of(
    tasks: Sequence[str], plan: Mapping[str, Any], runs: int, *, seed: int
) -> list[dict[str, Any]]:
    """So many rows of a registry: the plan as it is, then its neighbours in a seeded order.

    With more runs than tasks, shares and rates have combinations, these come again with other
    seeds. More runs only add to the list.
    """
    first, *others = product(tasks, SHARES, RATES)
    found = []
    for number in range(runs):
        again, place = divmod(number, 1 + len(others))
        rng = np.random.default_rng(spawn_seed(seed, f"neighbours {again}"))
        task, share, rate = [first, *(others[i] for i in rng.permutation(len(others)))][place]
        found.append(
            {
                "id": f"{number:03d}-harmful-{100 * share:.0f}-rate-{rate:g}",
                "task": task,
                "harmful_share": share,
                "seed": spawn_seed(seed, f"fine-tune {number}") % 2**31,
                "plan": {"learning_rate": rate * plan["learning_rate"]},
            }
        )
    return found


def checked(found: Sequence[EvidenceResult], made: Manifest) -> CalibrationCheckResult:
    """The shipped calibration on these fine-tunes; InputError where there is none, or none ran."""
    found = [one for one in found if all(one.gates.values())]
    if not found:
        raise InputError(
            "no fine-tune trained: the loss on its rows did not fall.",
            remedy="Train for more steps, or with another rate.",
        )
    rows = []
    for one in found:
        trust = trust_in(setting_of(one))
        if trust is None:
            raise InputError(
                "the package brings too few fine-tunes for a calibration.",
                remedy="`finebound forecast-skill --records DIR` judges records of your own.",
            )
        said = one.forecast.refusal
        before, uncalibrated = Refusals(said.before, said.n), said.after
        low, high = trust.interval(before, uncalibrated)
        rows.append(
            CheckedRun(
                id=one.id,
                before=said.before,
                said=trust.share(before, uncalibrated),
                interval=(low, high),
                measured=one.measured.refusal,
                held=low <= one.measured.refusal <= high,
                outside=trust.outside,
            )
        )
    held = clopper_pearson(sum(row.held for row in rows), len(rows), p=0.05)
    return CalibrationCheckResult(
        level=found[0].forecast.refusal.level,
        held=Limits.from_interval(held),
        pairs=len(set(map(pair_of, found))),
        evidence=len(shipped()),
        model_sha256=found[0].model_sha256,
        runs=tuple(rows),
        manifest=made,
    )
