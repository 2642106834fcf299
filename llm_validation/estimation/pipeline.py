"""From a dataset pair (and a proxy, and a model) to bounds, before any fine-tune."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from finebound.base.checks import Checks
from finebound.base.errors import InputError, tell
from finebound.base.kept_stages import NOT_KEPT, KeptStages
from finebound.base.progress import Progress, silent
from finebound.base.records import spawn_seed
from finebound.results.audit import AuditResult
from finebound.results.estimate import PromptPair, ProxyDifference, StrategyForecastEntry
from llm_validation.audit.audit import audit
from llm_validation.audit.sentences import with_the_models_word
from llm_validation.data.dataset import Dataset, joined
from llm_validation.data.loading import (
    load_with_columns,
    require_columns,
    require_different,
    require_rows,
)
from llm_validation.estimation.bounds import (
    Estimated,
    bounds_on_images,
    bounds_on_model,
    bounds_on_rows,
    front_on_rows,
    planned_radius,
)
from llm_validation.estimation.plan import Inputs, inputs_of, named_by, plan_of
from llm_validation.estimation.request import TEXT_ROWS, Request
from llm_validation.estimation.shared_contexts import SharedContexts, shared_contexts
from llm_validation.measure.context_overlap import (
    OverlapMeasure,
    TextPair,
    closest_pairs,
    context_overlap,
    embedding_overlap,
)
from llm_validation.measure.texts import normalise
from theory.exact import Frontier

if TYPE_CHECKING:
    from llm_validation.estimation.model_side import ModelSide
    from llm_validation.estimation.outlook import Asked, Outlook
    from llm_validation.forecast.stored_answers import StoredAnswers
    from llm_validation.models.loading import LoadedModel
    from llm_validation.training.plan import TrainingPlan

LEAST_TASK_ROWS, OUTLOOK_ROWS = 20, 2_000
"""Task rows without which there is no forecast of refusals, and those that it is drawn from."""


@dataclass(frozen=True)
class Measured:
    """What the task's rows hold, all that was measured, all bounds.

    ``llm_validation.estimation.result`` makes a result of it.
    """

    request: Request
    datasets: dict[str, Dataset]
    rows_of: dict[str, int]
    audit: AuditResult
    overlap: tuple[OverlapMeasure, ...]
    proxy_overlap: tuple[OverlapMeasure, ...]
    pairs: tuple[PromptPair, ...]
    mismatch: ProxyDifference | None
    shared: SharedContexts
    front: Frontier
    model: ModelSide | None
    inputs: Inputs
    plan: TrainingPlan
    bounds: tuple[Estimated, ...] = field(repr=False)
    forecasts: tuple[StrategyForecastEntry, ...] = ()
    asked: Asked | None = None
    outlook: Outlook | None = None
    model_sha256: str | None = None
    left_out: tuple[str, ...] = ()
    """What was asked for and is not here, with the reason, in whole sentences."""


def measure(
    request: Request,
    *,
    progress: Progress = silent,
    checks: Checks | None = None,
    stages: KeptStages = NOT_KEPT,
    standing: Callable[[Measured], None] = lambda measured: None,
) -> Measured:
    """Check, load, audit, measure, bound; faults of all inputs are raised together, before work.

    The audit and the prompts asked in both datasets are of all rows. Overlap is measured on
    ``rows`` of them (default: at most ``TEXT_ROWS``), the model on ``model_rows`` of those.
    ``checks`` may hold faults that were found before; ``stages`` keeps what is finished, so that an
    interrupted estimate goes on. ``standing`` gets what there is before refusals are forecast,
    which takes longest. Raises InputError naming file and row.
    """
    checks = Checks() if checks is None else checks
    inputs = checks.run(lambda: inputs_of(request))
    if inputs is None:
        checks.require()
    assert inputs is not None
    request = inputs.request
    whole, loaded = read_inputs(inputs, checks, progress)
    plan = plan_of(request, inputs.training, len(whole["task"]), loaded)
    asked = None
    if loaded is not None and (request.safety is None or request.budget):
        asked = _ask(request, loaded, stages, progress)
        if "safety" in whole:
            mixed = coordinated_sample(whole["safety"], OUTLOOK_ROWS, request.seed)
            asked = replace(asked, safety=mixed)
        whole = {"safety": asked.stored.safety_data, **whole}
    rows_of = {name: len(dataset) for name, dataset in whole.items()}
    datasets = sampled(whole, request.rows or TEXT_ROWS, request.seed)
    seed, p = request.seed, request.failure_probability
    sample, ready = datasets, None
    if loaded is not None:
        from llm_validation.estimation.preflight import encodable

        sample = sampled(datasets, request.model_rows, seed)
        ready = encodable(loaded, sample, request, checks=checks, progress=progress)
    made_of: dict[str, Any] = {
        "datasets": {name: dataset.sha256 for name, dataset in datasets.items()},
        "seed": seed,
        "p": p,
    }

    # Rows bear the numbers of their file, which the content's hash does not hold.
    audited = stages.result(
        "audit",
        {"task": whole["task"].sha256, "source": whole["task"].source},
        lambda: audit(whole["task"], progress=progress),
    )
    if ready is not None:
        audited = with_the_models_word(
            audited, notes=ready.notes["task"], faults=ready.template, lengths=ready.lengths
        )
    safety, task, proxy = datasets["safety"], datasets["task"], datasets.get("proxy")
    overlap_seed = spawn_seed(seed, "overlap")
    overlap, pairs = stages.result(
        "text overlap",
        made_of,
        lambda: _text_overlap(safety, task, seed=overlap_seed, p=p, progress=progress),
    )
    proxy_overlap: tuple[OverlapMeasure, ...] = ()
    if proxy is not None:
        proxy_overlap = stages.result(
            "proxy overlap",
            made_of,
            lambda: context_overlap(
                proxy.prompts, task.prompts, seed=overlap_seed, p=p, progress=progress
            ),
        )
    side = None
    if loaded is not None and request.safety is not None:
        from llm_validation.estimation.model_side import measure_model
        from llm_validation.models.embedding import embedder

        made_of |= {
            "model": loaded.sha256,
            "sample": {name: dataset.sha256 for name, dataset in sample.items()},
            "request": {
                name: getattr(request, name)
                for name in ("max_length", "coordinates", "on_long", "turns")
            },
        }
        overlap += stages.result(
            "embedding overlap",
            made_of,
            lambda: embedding_overlap(
                embedder(loaded, progress=progress),
                sample["safety"].prompts,
                sample["task"].prompts,
                seed=overlap_seed,
                p=p,
            ),
        )
        side = stages.result(
            "model",
            made_of,
            lambda: measure_model(
                loaded,
                sample,
                max_length=request.max_length,
                on_long=request.on_long,
                turns=request.turns,
                where=request.coordinates,
                failure_probability=p,
                seed=seed,
                progress=progress,
            ),
        )
    mismatch = None
    if proxy is not None:
        mismatch = _mismatch(datasets, sample, side, seed=seed, p=p, progress=progress)
    # What the rows force is exact: without a limit asked for it is of every row.
    rows = whole if request.rows is None else datasets
    for roles in progress([rows], "comparing the answers to shared prompts"):
        shared = shared_contexts(roles["safety"], roles["task"], roles.get("proxy"))
    bounds = [
        *bounds_on_rows(shared, request.lam),
        *bounds_on_images(proxy_overlap or overlap, request.lam),
    ]
    if side is not None:
        bounds += bounds_on_model(
            side,
            has_proxy=proxy is not None,
            lams=request.lam,
            radii=request.radius,
            budget=planned_radius(side, learning_rate=plan.learning_rate, steps=plan.steps),
        )
    forecasts: list[StrategyForecastEntry] = []
    left_out: list[str] = []
    if request.forecast and side is not None and loaded is not None:
        from llm_validation.estimation.forecast import forecast_strategies
        from llm_validation.models.memory import NeedsMemory

        made_of["plan"] = [request.lam, request.radius, plan.as_dict()]
        try:
            forecasts = forecast_strategies(
                request,
                loaded,
                plan,
                datasets,
                keep=lambda name, make: stages.result(name, made_of, make),
                progress=progress,
            )
        except NeedsMemory as short:
            left_out.append(f"No forecast was made: {short}")
            tell(left_out[-1])
    measured = Measured(
        request=request,
        datasets=datasets,
        rows_of=rows_of,
        audit=audited,
        overlap=overlap,
        proxy_overlap=proxy_overlap,
        pairs=tuple(pairs),
        mismatch=mismatch,
        shared=shared,
        front=front_on_rows(shared, np.geomspace(1e-3, 1e3, 121)),
        model=side,
        inputs=inputs,
        plan=plan,
        bounds=tuple(bounds),
        forecasts=tuple(forecasts),
        asked=asked,
        model_sha256=None if loaded is None else loaded.sha256,
        left_out=tuple(left_out),
    )
    if asked is None:
        return measured
    standing(measured)
    outlook = _look_ahead(request, asked, plan, whole["task"], stages, progress)
    return replace(measured, outlook=outlook)


def _ask(request: Request, loaded: LoadedModel, stages: KeptStages, progress: Progress) -> Asked:
    """The model's own answers to the probes; what it refuses now is told at once."""
    from llm_validation.estimation.outlook import Asked, ask_model
    from llm_validation.evaluation.hazards.probes import load_probes

    probes = load_probes(request.probes).probes
    stored, safety, refused = stages.result(
        "own answers",
        {
            "model": loaded.sha256,
            "probes": [probe.prompt for probe in probes],
            "seed": request.seed,
        },
        lambda: _parts(ask_model(loaded, probes, seed=request.seed, progress=progress)),
    )
    return Asked(loaded, stored, safety, refused, request.seed)


def _parts(asked: Asked) -> tuple[StoredAnswers, Dataset, dict[float, np.ndarray]]:
    """What of the answers can be kept: all but the model."""
    return asked.stored, asked.safety, asked.refused


def _look_ahead(
    request: Request,
    asked: Asked,
    plan: TrainingPlan,
    task: Dataset,
    stages: KeptStages,
    progress: Progress,
) -> Outlook:
    from llm_validation.estimation.evidence import trust_in
    from llm_validation.estimation.likeness import Setting
    from llm_validation.estimation.outlook import look_ahead
    from llm_validation.evaluation.hazards.probes import load_probes, probes_sha256

    require_rows(task, at_least=LEAST_TASK_ROWS, role="task")
    rows = coordinated_sample(task, OUTLOOK_ROWS, request.seed)
    made_of = {
        "model": asked.loaded.sha256,
        "answers": asked.stored.safety_data.sha256,
        "mixed in": asked.safety.sha256,
        "task": rows.sha256,
        "plan": plan.as_dict(),
    }
    probes = probes_sha256(load_probes(request.probes).probes)
    return look_ahead(
        asked,
        rows,
        plan,
        budgets=request.budgets,
        trust=trust_in(Setting(plan, asked.loaded.sha256, probes)),
        keep=lambda name, make: stages.result(name, made_of, make),
        progress=progress,
    )


def _text_overlap(
    safety: Dataset, task: Dataset, *, seed: int, p: float, progress: Progress
) -> tuple[tuple[OverlapMeasure, ...], tuple[PromptPair, ...]]:
    """Overlap and closest pairs of the prompts, which are read once for both."""
    pair = TextPair.of(safety.prompts, task.prompts)
    overlap = context_overlap(
        safety.prompts, task.prompts, seed=seed, p=p, pair=pair, progress=progress
    )
    pairs = closest_pairs(safety.prompts, task.prompts, pair=pair, progress=progress)
    return overlap, tuple(pairs)


def read_inputs(
    inputs: Inputs, checks: Checks, progress: Progress
) -> tuple[dict[str, Dataset], LoadedModel | None]:
    """The datasets and the model, or one InputError of everything that is wrong with them."""
    request = inputs.request
    datasets = load_datasets(request, progress, tasks=inputs.tasks, checks=checks)
    loaded = None
    if request.model is not None:
        loaded = checks.run(lambda: _load_model(inputs, progress))
    checks.require()
    return datasets, loaded


def _load_model(inputs: Inputs, progress: Progress) -> LoadedModel:
    from llm_validation.models.loading import load_model

    assert inputs.request.model is not None
    with named_by(None if inputs.model_is_given else inputs.request.training, "model"):
        return load_model(inputs.request.model, placement=inputs.request, progress=progress)


def sampled(datasets: Mapping[str, Dataset], rows: int, seed: int) -> dict[str, Dataset]:
    """``coordinated_sample`` of each dataset."""
    return {name: coordinated_sample(dataset, rows, seed) for name, dataset in datasets.items()}


def coordinated_sample(dataset: Dataset, rows: int, seed: int) -> Dataset:
    """At most ``rows`` rows, chosen by a seeded hash of their prompts, in their order.

    A prompt that several datasets ask is drawn in all of them or in none (up to the datasets'
    sizes), so that a sample keeps their overlap and their matched rows.
    """
    if len(dataset) <= rows:
        return dataset
    ranks = [spawn_seed(seed, normalise(prompt)) for prompt in dataset.prompts]
    kept = sorted(sorted(range(len(dataset)), key=lambda i: (ranks[i], i))[:rows])
    chosen = [dataset.examples[i] for i in kept]
    return Dataset.of(chosen, name=dataset.name, source=dataset.source, reading=dataset.reading)


def load_datasets(
    request: Request,
    progress: Progress,
    *,
    tasks: Sequence[str] = (),
    checks: Checks | None = None,
) -> dict[str, Dataset]:
    """The datasets of a request by role, refused if they cannot answer its question.

    ``tasks`` are those of its training file, where it names none itself. With ``checks`` the faults
    are left there, and the datasets without one are returned.
    """
    gathered = Checks() if checks is None else checks
    references = {"safety": [request.safety], "task": [request.task], "proxy": [request.proxy]}
    if request.task is None:
        references["task"] = list(tasks)
    given = [
        (name, found) for name, refs in references.items() if (found := [r for r in refs if r])
    ]
    datasets: dict[str, Dataset] = {}
    columns: dict[str, tuple[str, ...]] = {}

    def load(name: str, refs: Sequence[str]) -> None:
        parts: list[Dataset] = []
        with named_by(request.training if name == "task" and not request.task else None, name):
            for ref in refs:
                part, columns[ref] = load_with_columns(
                    ref,
                    role=name,
                    drop_unusable=request.drop_unusable,
                    ignore_columns=request.ignore_columns,
                )
                parts.append(part)
            dataset = joined(parts)
            require_rows(dataset, at_least=2, role=name)
        datasets[name] = dataset

    for name, refs in progress(given, "reading datasets"):
        gathered.run(lambda name=name, refs=refs: load(name, refs))
    if len(datasets) == len(given):
        gathered.run(lambda: require_columns(request.ignore_columns, columns))
        if "safety" in datasets:
            gathered.run(lambda: require_different(datasets["safety"], datasets["task"]))
        if "proxy" in datasets:
            gathered.run(lambda: _require_useful_proxy(datasets))
    if checks is None:
        gathered.require()
    return datasets


def _require_useful_proxy(datasets: Mapping[str, Dataset]) -> None:
    if datasets["proxy"].sha256 == datasets["task"].sha256:
        raise InputError(
            "the proxy and the task data are the same rows.",
            remedy="Give safety data as `proxy`, or leave it out to penalise the safety data.",
            file=datasets["proxy"].source,
        )


def _mismatch(
    datasets: Mapping[str, Dataset],
    sample: Mapping[str, Dataset],
    side: ModelSide | None,
    *,
    seed: int,
    p: float,
    progress: Progress,
) -> ProxyDifference:
    """Contexts on all rows; the teacher, with a model, on the rows that it was measured on."""
    from llm_validation.measure.proxy_mismatch import context_mismatch, teacher_mismatch

    likelihoods = None
    if side is not None:
        of_safety, of_proxy = (
            -side.row_losses[name].token_sum / side.row_losses[name].token_count
            for name in ("safety", "proxy")
        )
        likelihoods = of_safety, of_proxy
    seed = spawn_seed(seed, "proxy mismatch")
    return ProxyDifference(
        context=context_mismatch(
            datasets["safety"].prompts,
            datasets["proxy"].prompts,
            seed=seed,
            p=p,
            progress=progress,
        ),
        teacher=teacher_mismatch(
            sample["safety"], sample["proxy"], seed=seed, log_likelihoods=likelihoods
        ),
    )
