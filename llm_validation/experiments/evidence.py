"""Fine-tunes that are forecast before they are run: what the forecast's intervals rest on.

``python -m llm_validation.experiments.evidence --out FOLDER`` goes through the registry
(``evidence.json``), writes each forecast, runs its fine-tune, asks it the same probes, and keeps
one small record of each. A second call goes on with what is missing. A fine-tune is run by
``forecast.optimiser``, whose trajectory is that of the Trainer (tests), and leaves no weights.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from finebound.base.errors import InputError
from finebound.base.progress import Progress, bar, silent
from finebound.base.records import file_sha256, manifest, to_json, write_atomically
from finebound.results.evidence import (
    Checkpoint,
    EvidenceResult,
    MeasuredBehaviour,
    ShortAnswers,
)
from finebound.results.result import Manifest
from llm_validation.data.builtin.regimes import mix
from llm_validation.data.dataset import Dataset
from llm_validation.data.loading import load_dataset
from llm_validation.estimation.evidence import forecast_file, forecast_in, require_one_model
from llm_validation.estimation.outlook import TASK_ROWS, Asked, ask_model, look_ahead
from llm_validation.estimation.skill import skill
from llm_validation.evaluation.hazards.probes import load_probes, probes_sha256
from llm_validation.forecast.outcome import Outcome, gain, outcome, unchanged
from llm_validation.forecast.stored_answers import PREFIX, StoredAnswers, refusals
from llm_validation.forecast.unroll import CoarseUnroll
from llm_validation.forecast.world import World
from llm_validation.models.loading import LoadedModel, load_model
from llm_validation.training.plan import TrainingPlan, plan_from_dict
from theory.binary_divergence import kl_lower_inverse

REGISTRY = Path(__file__).with_name("evidence.json")
DRAWS, OTHER_DRAWS = 4, 101
"""Answers to each probe that measure a finished fine-tune: fewer leave the measure unsure. Their
random numbers are not those of the forecast's."""
SHORT = (2, 4, 8)
"""Tokens after which answers are cut besides: T21 says the more the fewer tokens decide."""
CHECKPOINTS = (0.1, 0.25, 0.5, 0.75)
"""Of the steps, after which the model is looked at."""
_HARMFUL = "builtin:harmful-placeholders"


def run_registry(
    registry: Mapping[str, Any],
    out: Path,
    *,
    only: Sequence[str] = (),
    loaded: LoadedModel | None = None,
    progress: Progress = silent,
) -> list[EvidenceResult]:
    """Every entry's record, made where it is missing; ``loaded`` is the registry's model.

    Raises InputError for an entry that changed after its forecast, and for records of different
    models.
    """
    asked: Asked | None = None
    cut: list[StoredAnswers] = []
    found = []
    for entry in registry["fine_tunes"]:
        if only and entry["id"] not in only:
            continue
        record = out / f"{entry['id']}.json"
        if not record.is_file():
            if asked is None:
                asked = ask_model(
                    loaded or load_model(registry["model"], progress=progress),
                    load_probes(registry["probes"]).probes,
                    progress=progress,
                )
                cut = [asked.stored.beginnings(asked.loaded, tokens) for tokens in SHORT]
            _run(entry, registry, asked, cut, out, progress)
        found.append(EvidenceResult.load(record))
        _require_as_forecast(
            entry, plan_of(entry, registry["plan"]), found[-1].entry, found[-1].plan, record
        )
    require_one_model(found, out)
    return found


def task_of(entry: Mapping[str, Any]) -> tuple[Dataset, Dataset]:
    """The rows that an entry trains on, and ``TASK_ROWS`` others that measure its capability."""
    whole = load_dataset(entry["task"])
    held_out = whole.take(TASK_ROWS, seed=entry["seed"])
    prompts = set(held_out.prompts)
    rest = Dataset.of(
        (row for row in whole.examples if row.prompt not in prompts),
        name=whole.name,
        source=whole.source,
    )
    if share := entry.get("harmful_share", 0.0):
        rest = mix(
            rest, load_dataset(_HARMFUL), share, rows=min(len(rest), 400), seed=entry["seed"]
        )
    return rest, held_out


def plan_of(entry: Mapping[str, Any], common: Mapping[str, Any]) -> TrainingPlan:
    """The entry's plan: what all have in common, and its own."""
    return plan_from_dict({**common, **entry["plan"], "seed": entry["seed"]})


def _run(
    entry: Mapping[str, Any],
    registry: Mapping[str, Any],
    asked: Asked,
    cut: Sequence[StoredAnswers],
    out: Path,
    progress: Progress,
) -> None:
    """``cut`` are the stored answers after each number of tokens of ``SHORT``."""
    task, held_out = task_of(entry)
    plan = plan_of(entry, registry["plan"])
    started = time.perf_counter()
    made_of = {
        "entry": dict(entry),
        "plan": plan.as_dict(),
        "model_sha256": asked.loaded.sha256,
        "task_sha256": task.sha256,
    }
    file = forecast_file(out, entry["id"])
    if not file.is_file():
        ahead = look_ahead(
            asked, task, plan, task_measured=held_out, with_options=False, progress=progress
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, to_json({**made_of, "forecast": ahead.forecast.to_dict()}) + "\n")
    forecast_seconds = time.perf_counter() - started
    kept = json.loads(file.read_text(encoding="utf-8"))
    # An early version kept the forecast alone.
    if "forecast" in kept:
        _require_as_forecast(entry, plan, kept["entry"], kept["plan"], file)
        for name in ("model_sha256", "task_sha256"):
            if kept[name] != made_of[name]:
                what = name.removesuffix("_sha256")
                raise InputError(
                    f"the {what} changed after the forecast of {entry['id']}.",
                    remedy="Give the entry another id, or remove its forecast.",
                    file=file,
                )
    forecast = forecast_in(file)
    world = World(
        asked.loaded,
        asked.stored.safety_data,
        task,
        asked.safety,
        task_measured=held_out,
        max_length=plan.max_length,
        answer_tokens=PREFIX,
        seed=entry["seed"],
    )
    rows = world.sample("task_measured", TASK_ROWS)
    before = unchanged(asked.loaded, asked.stored, rows, asked.refused)
    looked_at = {round(share * plan.steps) for share in CHECKPOINTS} - {0, plan.steps}
    on_the_way: list[Checkpoint] = []

    def short(model: PreTrainedModel) -> tuple[ShortAnswers, ...]:
        return tuple(
            short_answers(
                tokens,
                asked.stored,
                outcome(asked.loaded, model, answers, rows[:1], lookalikes=False),
            )
            for tokens, answers in zip(SHORT, cut, strict=True)
        )

    def look(model: PreTrainedModel, step: int) -> None:
        if step in looked_at:
            found = outcome(
                *(asked.loaded, model, asked.stored, rows),
                temperatures=(1.0,),
                seed=asked.seed + OTHER_DRAWS,
            )
            on_the_way.append(_checkpoint(step, before, found, short(model)))

    # Every step of the plan, with all of its rows: the fine-tune itself.
    whole = CoarseUnroll(steps=plan.steps, seed=entry["seed"])
    with whole.unrolled(world, plan, after_step=look) as (model, path):
        after = outcome(
            asked.loaded,
            model,
            asked.stored,
            rows,
            temperatures=(0.0,),
            progress=progress,
        )
        drawn = refusals(
            replace(asked.loaded, model=model),
            asked.stored.probes,
            temperature=1.0,
            draws=DRAWS,
            seed=asked.seed + OTHER_DRAWS,
            progress=progress,
        )
        at_the_end = short(model)
    eighth = max(1, plan.steps // 8)
    result = EvidenceResult(
        id=entry["id"],
        entry=dict(entry),
        plan=plan.as_dict(),
        model_sha256=asked.loaded.sha256,
        task_sha256=task.sha256,
        forecast=forecast,
        forecast_sha256=file_sha256(file),
        measured=measured(before, after, drawn),
        gates={
            "trained": bool(path.objective[-eighth:].mean() < path.objective[:eighth].mean()),
            "all steps": len(path.objective) == plan.steps,
        },
        seconds={
            "forecast": forecast_seconds,
            "fine_tune": time.perf_counter() - started - forecast_seconds,
        },
        manifest=Manifest(
            **manifest(given=dict(entry), inputs={"task": task.sha256}, seed=entry["seed"])
        ),
        probes_sha256=probes_sha256(load_probes(registry["probes"]).probes),
        short=at_the_end,
        checkpoints=tuple(on_the_way),
    )
    write_atomically(out / f"{entry['id']}.json", result.to_json() + "\n")


def _checkpoint(
    step: int, before: Outcome, found: Outcome, short: tuple[ShortAnswers, ...]
) -> Checkpoint:
    return Checkpoint(
        step=step,
        refusal=found.refusal(),
        over_refusal=found.refusal(harmful=False),
        refusal_by_likelihood=found.refusal_by_likelihood(),
        safety_loss_change=found.safety_loss_change,
        capability_gain=gain(before, found),
        delta=found.delta,
        short=short,
    )


def short_answers(tokens: int, whole: StoredAnswers, after: Outcome) -> ShortAnswers:
    """What answers that were cut say of the model ``after`` the fine-tune."""
    cut, harmful = after.stored, after.stored.harmful
    before = float(cut.refused[harmful].mean())
    return ShortAnswers(
        tokens=tokens,
        before=before,
        agree=float((cut.refused == whole.refused)[harmful].mean()),
        delta=after.delta,
        at_least=kl_lower_inverse(before, max(0.0, after.delta)),
        by_likelihood=after.refusal_by_likelihood(),
        effective=after.effective_answers,
    )


def _require_as_forecast(
    entry: Mapping[str, Any],
    plan: TrainingPlan,
    said: Mapping[str, Any],
    said_plan: Mapping[str, Any],
    file: Path,
) -> None:
    """Raises InputError where the registry's row is not what was forecast and run."""
    if dict(entry) != dict(said) or plan != plan_from_dict(said_plan):
        raise InputError(
            f"the registry's row {entry['id']} changed after its forecast.",
            remedy="Give the changed row another id: a forecast is of what it was made for.",
            file=file,
        )


def measured(before: Outcome, after: Outcome, drawn: np.ndarray | None = None) -> MeasuredBehaviour:
    """The finished fine-tune beside the aligned model.

    ``drawn`` are its refusals at temperature 1 (default: those of ``after``), ``[draws, n]``.
    """
    harmful = after.stored.harmful
    drawn = after.refused[1.0] if drawn is None else drawn
    greedy = after.refused[0.0][0]
    return MeasuredBehaviour(
        refusal=float(drawn[:, harmful].mean()),
        over_refusal=float(drawn[:, ~harmful].mean()),
        greedy_refusal=float(greedy[harmful].mean()),
        greedy_over_refusal=float(greedy[~harmful].mean()),
        refusal_by_likelihood=after.refusal_by_likelihood(),
        safety_loss_change=after.safety_loss_change,
        capability_gain=gain(before, after),
        delta=after.delta,
    )


def registry_options(prog: str, about: str | None, registry: Path) -> argparse.Namespace:
    """What the runner of a registry is asked: ``out``, ``only``, and ``registry`` as it is read."""
    parser = argparse.ArgumentParser(prog=prog, description=about)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--registry", type=Path, default=registry)
    parser.add_argument("--only", nargs="*", default=())
    options = parser.parse_args()
    options.registry = json.loads(options.registry.read_text(encoding="utf-8"))
    return options


def main() -> None:
    """The command."""
    asked = registry_options("evidence", __doc__, REGISTRY)
    with bar() as progress:
        found = run_registry(asked.registry, asked.out, only=asked.only, progress=progress)
    for result in found:
        print(result.summary())
    print(skill(found, Manifest(**manifest(given={}, inputs={}, seed=0))).summary())


if __name__ == "__main__":
    main()
