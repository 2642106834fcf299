"""Forecasts beside a few real fine-tunes of the packaged model: errors, ranking and cost.

``python -m benchmarks.forecast`` aligns the packaged model with a few LoRA steps on the built-in
safety data, makes four short fine-tunes and asks every predictor about each, from the aligned
model alone. About twenty minutes on one core; ``--runs 3 --batch 2 --max-length 80`` is short.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from finebound.base.records import spawn_seed
from finebound.results.forecasts import JudgedForecast
from llm_validation.data.builtin import builtin_dataset
from llm_validation.data.dataset import Dataset
from llm_validation.forecast.optimiser import train
from llm_validation.forecast.predictors import all_predictors
from llm_validation.forecast.ranking import rank, table
from llm_validation.forecast.unroll import CoarseUnroll
from llm_validation.forecast.world import Predictor, World, prepared
from llm_validation.measure.losses import measure_losses
from llm_validation.models.loading import LoadedModel, load_model
from llm_validation.training.finetune import finetune
from llm_validation.training.plan import Lora, TrainingPlan
from llm_validation.training.streams import PROXY, TASK, Stream, Streams
from theory.strategy import LossConstraint

SAFETY_ROWS, TASK_ROWS = 64, 32
RUNS: tuple[tuple[str, str, str | None, float], ...] = (
    ("general", "task-general", None, 0.0),
    ("same teacher, 1", "task-general", "proxy-same-teacher", 1.0),
    ("other teacher, 1", "task-general", "proxy-other-teacher", 1.0),
    ("code", "task-code", None, 0.0),
)


@dataclass(frozen=True)
class Options:
    """Forecasts beside real fine-tunes of the packaged model."""

    folder: Path | None = None
    """Where the aligned model is kept and read again (default: nowhere)."""
    runs: int = 4
    """How many of the runs to make."""
    steps: int = 30
    batch: int = 4
    max_length: int = 128
    measured: tuple[int, int] = (48, 24)
    """Held-out safety and task rows whose losses are measured."""
    gradients: int = 12
    """Rows of each dataset for the predictors that read gradients."""

    def plan(self, lam: float = 0.0, **settings: Any) -> TrainingPlan:
        common = {
            "strategy": LossConstraint(lam=lam) if lam else None,
            "steps": self.steps,
            "batch_size": self.batch,
            "max_length": self.max_length,
            "drop_long": True,
            "checkpoint_every": 0,
            "learning_rate": 5e-4,
        }
        return TrainingPlan(**{**common, **settings})


def split(dataset: Dataset, held_out: int) -> tuple[Dataset, Dataset]:
    """Rows to train on and rows to measure, apart."""
    order = np.random.default_rng(spawn_seed(0, "split")).permutation(len(dataset))
    parts = np.sort(order[held_out:]), np.sort(order[:held_out])
    return tuple(
        Dataset.of([dataset.examples[i] for i in part], name=f"{dataset.name}-{name}")
        for part, name in zip(parts, ("train", "held-out"), strict=True)
    )


def aligned(folder: Path) -> Path:
    """theta_s: the packaged model after a few LoRA steps on the safety data, merged."""
    theta = folder / "theta"
    if not theta.is_dir():
        training, _ = split(builtin_dataset("safety"), SAFETY_ROWS)
        wide = Lora(targets=("q_proj", "v_proj", "up_proj", "down_proj"))
        plan = Options().plan(method=wide, steps=80, evaluate_at=(0.0, 1.0))
        run = finetune(
            load_model(None), training.take(200, 0), None, plan, out=folder / "alignment"
        )
        losses = (run.start["train/task"].per_token, run.end["train/task"].per_token)
        print("safety loss {:.2f} -> {:.2f}".format(*losses))
        run.model.model.merge_and_unload().save_pretrained(theta)
        run.model.tokenizer.save_pretrained(theta)
    return theta


def worlds(theta: LoadedModel, options: Options) -> dict[str, tuple[World, TrainingPlan]]:
    _, safety = split(builtin_dataset("safety"), SAFETY_ROWS)
    made, known = {}, {}
    for name, task, proxy, lam in RUNS[: options.runs]:
        training, measured = split(builtin_dataset(task), TASK_ROWS)
        world = World(
            theta,
            safety,
            training,
            None if proxy is None else builtin_dataset(proxy),
            task_measured=measured,
            max_length=options.max_length,
            known=known,
        )
        made[name] = (world, options.plan(lam))
    return made


def measured(world: World, plan: TrainingPlan, options: Options) -> tuple[float, float]:
    """Changes of the held-out safety and task loss in a real fine-tune, nats per token.

    By the forecast's own loop, whose trajectory is ``finetune``'s (tests), without its record.
    """
    task = Stream(TASK, tuple(world.encoded("task")), plan.batch_size, plan.seed)
    proxy = None
    if plan.needs_proxy_rows:
        proxy = Stream(PROXY, tuple(world.encoded("proxy")), plan.proxy_rows_per_step, plan.seed)
    rows = [
        world.sample(role, n, part="measured")
        for role, n in zip(("safety", "task_measured"), options.measured, strict=True)
    ]
    with prepared(world.model, plan) as (model, _):

        def losses() -> list[float]:
            return [measure_losses(model, r, pad_id=world.pad_id).per_token for r in rows]

        start = losses()
        path = train(model, plan, Streams(task, proxy), plan.learning_rates(), pad_id=world.pad_id)
        end = losses()
    r = path.displacements
    late = np.polyfit(np.log(np.arange(5, len(r) + 1)), np.log(r[4:]), 1)[0]
    print(
        f"  r after 1, 5, 10, {len(r)} steps: {r[0]:.3f} {r[4]:.3f} {r[9]:.3f} {r[-1]:.3f}; "
        f"from 5 on r ~ T^{late:.2f}",
        flush=True,
    )
    return tuple(b - a for a, b in zip(start, end, strict=True))


def predictors(options: Options) -> list[Predictor]:
    safety, task = options.measured
    few = CoarseUnroll(
        steps=5, safety_rows=safety, task_rows=task, name="coarse unroll, 5 whole steps"
    )
    return [few, *all_predictors(gradients=options.gradients)]


def timed(doing: str, work: Callable):
    start = time.perf_counter()
    found = work()
    print(f"{doing}: {time.perf_counter() - start:.0f} s", flush=True)
    return found


def main(options: Options, folder: Path) -> None:
    theta = timed("alignment", lambda: aligned(folder))
    runs = worlds(load_model(theta), options)
    comparisons = []
    for name, (world, plan) in runs.items():
        safety, task = timed(name, lambda world=world, plan=plan: measured(world, plan, options))
        print(f"{name}: measured safety {safety:+.3f}, task {task:+.3f}", flush=True)
        for predictor in predictors(options):
            start = time.perf_counter()
            said = predictor.predict(world, plan)
            judged = JudgedForecast(
                run=name,
                measured_safety_change=safety,
                measured_task_change=task,
                **said.to_dict(),
            )
            comparisons.append(judged)
            interval = said.interval_90
            between = "" if interval is None else "[{:+.3f}, {:+.3f}]".format(*interval.safety)
            print(
                f"  {said.name:<34} {said.safety_change:+.3f} {between:<18} "
                f"task {said.task_change:+.3f}  cost "
                f"{said.cost_tokens / world.finetune_tokens(plan):5.1%} "
                f"{time.perf_counter() - start:5.1f} s "
                + " ".join(f"{key} {value:.3f}" for key, value in said.details.items()),
                flush=True,
            )
    print()
    print(table(rank(comparisons, rng=np.random.default_rng(0))))


if __name__ == "__main__":
    chosen = tyro.cli(Options)
    if chosen.folder is not None:
        main(chosen, chosen.folder)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(chosen, Path(temporary))
