"""An experiment that keeps to its minutes: smaller on a slower machine, by a measured step.

``fit_minutes`` of a configuration are for all of it. One training step and one batch that is only
read are measured; what the whole would take is foreseen from those; and rows and steps become
fewer, all by one share, until it fits. The share is written into the folder: a resumed experiment
keeps what it chose, on whatever machine it goes on.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError, tell
from finebound.base.progress import Progress, silent
from finebound.base.records import to_json, write_atomically
from llm_validation.experiments.config import (
    Experiment,
    RunConfig,
    SelfGenerated,
    alignment_plan,
    expand,
)
from llm_validation.experiments.datasets import (
    SAFETY,
    draw_sets,
    held_out,
    proxy_set,
    task_set,
)

if TYPE_CHECKING:
    from llm_validation.data.dataset import Dataset
    from llm_validation.data.encoding import Encoded
    from llm_validation.models.loading import LoadedModel

SIZE, BEGUN = "size.json", "prepared.json"
SHARES = tuple(n / 20 for n in range(20, 0, -1))
"""Shares of the configured size that may be chosen, the largest first."""
LEAST_ROWS, LEAST_STEPS, LEAST_PROMPTS = 4, 2, 2
MARGIN = 1.25
"""What is foreseen leaves out writing, judging and the machine's other work."""
WRITTEN = 8.0
"""What a token costs that is generated, in tokens that are only read: about what the packaged model
takes in batches of 8."""
TWICE_DIFFERENTIATED = 3.0
"""What a token of a Hessian product costs, in tokens that are trained on."""
_SAMPLE = 32
Clock = Callable[[], float]


@dataclass(frozen=True)
class Speed:
    """Seconds: to load the model, of a training ``step``, and of a token in one and only read."""

    load: float
    step: float
    train: float
    read: float


def fitted(
    experiment: Experiment,
    out: Path,
    *,
    clock: Clock = time.perf_counter,
    progress: Progress = silent,
) -> Experiment:
    """The experiment in the size that its minutes allow on this machine; as it is without any.

    What was chosen is kept in ``out``; a folder begun without a choice keeps the full size. Says
    on stderr what became smaller. Raises InputError for a choice that cannot be read.
    """
    minutes = experiment.fit_minutes
    if minutes is None:
        return experiment
    share = _known(out)
    if share is None and (out / BEGUN).is_file():
        share = 1.0
    if share is None:
        share, speed, seconds = _choose(experiment, minutes, clock, progress)
        record = {
            "minutes": minutes,
            "share": share,
            "seconds_foreseen": seconds,
            "measured": asdict(speed),
        }
        write_atomically(out / SIZE, to_json(record) + "\n")
        _say(experiment, minutes, share, speed, seconds)
    return resized(experiment, share)


def resized(experiment: Experiment, share: float) -> Experiment:
    """The experiment with a share of its rows, steps and prompts, and no minutes left to fit."""
    values: dict[str, Any] = experiment.model_dump(mode="json") | {"fit_minutes": None}
    if share < 1.0:
        for part in filter(None, (values["alignment"], values["training"])):
            _shorten(part, share)
        rows = values["rows"]
        for name in ("safety", "task", "proxy", "held_out"):
            rows[name] = _fewer(rows[name], share, LEAST_ROWS)
        if values["generations"] is not None:
            prompts = values["generations"]["prompts"]
            values["generations"]["prompts"] = _fewer(prompts, share, LEAST_PROMPTS)
    return Experiment.model_validate(values)


def seconds_of(experiment: Experiment, tokens: Mapping[str, float], speed: Speed) -> float:
    """What the whole experiment takes, foreseen; ``tokens`` are the mean lengths of the sets."""
    runs, rows = expand(experiment), experiment.rows
    size = {name: _rows_of(experiment, name) for name in tokens}
    both = {name: size[name] * tokens[name] for name in tokens}
    loads = 3 + len(runs)
    trained = read = written = 0.0
    if (plan := alignment_plan(experiment)) is not None:
        trained += plan.steps * plan.rows_per_step * tokens[SAFETY] + both[SAFETY]
        read += 2 * both[SAFETY] + len(plan.evaluation_steps) * both[held_out(SAFETY)]
    read += sum(both.values())
    if (asked := experiment.generations) is not None:
        whole = 1 if plan is None else 2
        answers = whole * rows.held_out + len(runs) * asked.prompts
        written += answers * asked.max_new_tokens
    for role, proxy in experiment.proxies.items():
        if isinstance(proxy, SelfGenerated):
            written += size[proxy_set(role)] * proxy.max_new_tokens
    for run in runs:
        one = _run_tokens(run, tokens)
        trained += one
        read += _measured_tokens(run, both)
        if (foreseen := experiment.forecast) is not None:
            roles = [SAFETY, task_set(run.task)]
            trained += foreseen.share * one + 5 / 3 * sum(
                foreseen.gradient_rows * tokens[name] for name in roles
            ) / len(runs)
    if (land := experiment.landscape) is not None:
        triples = {(run.task, run.proxy, run.method) for run in runs}
        sets = {SAFETY} | {task_set(t) for t, _, _ in triples}
        sets |= {proxy_set(p) for _, p, _ in triples if p is not None}
        trained += sum(both[name] for name in sets)
        products = len(sets) + sum(p is not None for _, p, _ in triples)
        window = land.rows_for_curvature * land.tokens_a_curvature_row
        trained += products * land.lanczos_steps * window * TWICE_DIFFERENTIATED
        read += 20 * 8 * land.tokens_a_curvature_row * len({t for t, _, _ in triples})
    read += WRITTEN * written
    return MARGIN * (loads * speed.load + trained * speed.train + read * speed.read)


def _run_tokens(run: RunConfig, tokens: Mapping[str, float]) -> float:
    """Tokens that a run trains on."""
    per_step = run.plan.batch_size * tokens[task_set(run.task)]
    if run.proxy is not None:
        per_step += run.plan.proxy_rows_per_step * tokens[proxy_set(run.proxy)]
    return run.plan.steps * per_step


def _measured_tokens(run: RunConfig, both: Mapping[str, float]) -> float:
    """Tokens that a run only reads, at its checkpoints."""
    task = task_set(run.task)
    every = both[held_out(SAFETY)] + both[held_out(task)]
    ends = both[SAFETY] + both[task] + (0.0 if run.proxy is None else both[proxy_set(run.proxy)])
    times = len(run.plan.evaluation_steps)
    whole = times if run.plan.training_sets_at == "all" else 1
    return times * every + whole * ends


def _choose(
    experiment: Experiment, minutes: float, clock: Clock, progress: Progress
) -> tuple[float, Speed, float]:
    """The share, what was measured, and the seconds that are foreseen with it."""
    for _ in progress((experiment,), "measuring a step on this machine"):
        speed, tokens = _look(experiment, clock)
    budget = 60.0 * minutes
    chosen, seconds = 1.0, seconds_of(experiment, tokens, speed)
    for share in SHARES[1:]:
        if seconds <= budget:
            break
        try:
            smaller = resized(experiment, share)
            foreseen = seconds_of(smaller, tokens, speed)
        except InputError:
            break  # so small that a strategy or a mix of rows no longer fits into it
        chosen, seconds = share, foreseen
    return chosen, speed, seconds


def _look(experiment: Experiment, clock: Clock) -> tuple[Speed, dict[str, float]]:
    """How fast the machine is, and how long the rows of every set are."""
    from llm_validation.models.loading import load_model, load_reader, on_device

    load_reader(experiment.model)  # what is imported for it is imported once
    began = clock()
    loaded = on_device(load_model(experiment.model))
    load = clock() - began
    sets = draw_sets(experiment, loaded)
    tokens = {name: _mean_tokens(dataset, loaded) for name, dataset in sets.items()}
    return _measure(experiment, loaded, sets[SAFETY], load, clock), tokens


def _measure(
    experiment: Experiment, loaded: LoadedModel, safety: Dataset, load: float, clock: Clock
) -> Speed:
    """One batch read and one training step of the experiment's first run, on safety rows."""
    import torch

    from llm_validation.data.encoding import collate
    from llm_validation.training.methods import attach
    from llm_validation.training.precision import resolve_precision

    plan = expand(experiment)[0].plan
    rows = _encoded(safety, loaded)[: plan.batch_size]
    device = next(loaded.model.parameters()).device
    batch = {k: v.to(device) for k, v in collate(rows, loaded.pad_id).items()}
    size = batch["input_ids"].numel()
    compute = resolve_precision(plan.precision).used

    def read() -> None:
        with torch.no_grad():
            loaded.model(**batch)

    read()  # the first pass of a process is slower than all others
    reading = _timed(read, clock, device)
    model = attach(
        loaded.model,
        plan.method,
        seed=0,
        tokenizer=loaded.tokenizer,
        quantise=False,
        compute=compute,
    )
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])

    def train() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=compute == "bf16"):
            model(**batch).loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    step = _timed(train, clock, device)
    return Speed(load=load, step=step, train=step / size, read=reading / size)


def _timed(work: Callable[[], None], clock: Clock, device: Any) -> float:
    import torch

    began = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - began


def _encoded(dataset: Dataset, loaded: LoadedModel) -> Sequence[Encoded]:
    from llm_validation.data.dataset import Dataset
    from llm_validation.data.encoding import encode

    few = Dataset.of(dataset.examples[:_SAMPLE], name=dataset.name, source=dataset.source)
    return encode(few, loaded.tokenizer, max_length=loaded.context_length)


def _mean_tokens(dataset: Dataset, loaded: LoadedModel) -> float:
    rows = _encoded(dataset, loaded)
    return sum(map(len, rows)) / len(rows)


def _rows_of(experiment: Experiment, name: str) -> int:
    rows = experiment.rows
    if name.endswith(held_out("")):
        return rows.held_out
    if name == SAFETY or (name == proxy_set("original")):
        return rows.safety
    return rows.proxy if name.startswith(proxy_set("")) else rows.task


def _shorten(plan: dict[str, Any], share: float) -> None:
    """A training plan's steps, and what counts in steps."""
    if "steps" in plan:
        plan["steps"] = _fewer(plan["steps"], share, LEAST_STEPS)
    if plan.get("warmup"):
        plan["warmup"] = math.floor(plan["warmup"] * share)
    if (rule := plan.get("early_stopping")) is not None:
        rule["every"] = _fewer(rule["every"], share, 1)


def _fewer(count: int, share: float, least: int) -> int:
    return min(count, max(least, math.floor(count * share)))


def _known(out: Path) -> float | None:
    file = out / SIZE
    if not file.is_file():
        return None
    try:
        share = json.loads(file.read_text(encoding="utf-8"))["share"]
        if share not in SHARES:
            raise ValueError(f"the share is {share!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the size that the experiment began with cannot be read: {error}.",
            remedy="Give another folder as `out`, or remove this one.",
            file=file,
        ) from None
    return share


def _say(
    experiment: Experiment, minutes: float, share: float, speed: Speed, seconds: float
) -> None:
    if share == 1.0 and seconds <= 60.0 * minutes:
        return
    small = resized(experiment, share)
    steps = [expand(one)[0].plan.steps for one in (experiment, small)]
    over = (
        ""
        if seconds <= 60.0 * minutes
        else f" It cannot be smaller, and will take about {seconds / 60:.0f} minutes."
    )
    tell(
        f"This machine takes {speed.step:.1f} s a step: to keep to {minutes:g} "
        f"minutes, {experiment.name}'s {steps[0]} steps of a run become {steps[1]}, its "
        f"{experiment.rows.task} task rows {small.rows.task}, its {experiment.rows.safety} safety "
        f"rows {small.rows.safety}.{over} `finebound validate --full-size` keeps them all."
    )
