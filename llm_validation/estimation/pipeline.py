"""``estimate``: from a dataset pair (and a proxy, and a model) to bounds, before any fine-tune."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from finebound.errors import InputError
from finebound.progress import Progress, silent
from finebound.records import spawn_seed
from llm_validation.audit.audit import Audit, audit
from llm_validation.data.dataset import Dataset
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
from llm_validation.estimation.shared_contexts import SharedContexts, shared_contexts
from llm_validation.measure.context_overlap import (
    ClosePair,
    OverlapMeasure,
    TextPair,
    closest_pairs,
    context_overlap,
    embedding_overlap,
)
from llm_validation.measure.texts import normalise
from theory.exact import Frontier

if TYPE_CHECKING:
    from llm_validation.estimation.forecast import StrategyForecast
    from llm_validation.estimation.model_side import ModelSide
    from llm_validation.measure.landscape import Where
    from llm_validation.measure.proxy_mismatch import ProxyMismatch

LAMS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
RADII = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
MODEL_ROWS = 256


@dataclass(frozen=True)
class Request:
    """What to estimate. References are files, ``builtin:``, ``hf:`` or catalogue names.

    ``model`` None measures the text alone. ``rows`` limits each dataset by a seeded sample, and
    ``model_rows`` that of the model alone. ``drop_unusable`` leaves out rows that cannot be read as
    an example instead of refusing the file, and ``ignore_columns`` are left unread.
    ``learning_rate`` and ``steps`` are the planned AdamW budget. ``forecast`` adds what that
    fine-tune, with ``batch_size`` task rows a step, will change under each lambda and radius; it
    needs a model. Raises ValueError for values out of range.
    """

    safety: str
    task: str
    proxy: str | None = None
    model: str | None = None
    lams: tuple[float, ...] = LAMS
    radii: tuple[float, ...] = RADII
    learning_rate: float = 2e-4
    steps: int = 100
    rows: int | None = None
    model_rows: int = MODEL_ROWS
    max_length: int | None = None
    drop_unusable: bool = False
    ignore_columns: tuple[str, ...] = ()
    coordinates: Where = "adapter"
    forecast: bool = False
    batch_size: int = 8
    failure_probability: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for option, values in (("--lam", self.lams), ("--radius", self.radii)):
            wrong = [v for v in values if not (np.isfinite(v) and v > 0)]
            if wrong or not values:
                given = f"{wrong[0]:g}" if wrong else "empty"
                raise ValueError(f"{option} is {given}: it must be greater than 0 and finite.")
        if not 0 < self.failure_probability < 1:
            raise ValueError(
                f"--failure-probability is {self.failure_probability:g}: it must be in (0, 1)."
            )
        for name, value in (("--rows", self.rows), ("--model-rows", self.model_rows)):
            if value is not None and value < 2:
                raise ValueError(f"{name} is {value}: at least 2 rows are needed.")
        if not 0 < self.learning_rate < np.inf or self.steps < 1:
            raise ValueError("--learning-rate must be above 0 and finite, --steps at least 1.")
        if self.batch_size < 1:
            raise ValueError(f"--batch-size is {self.batch_size}: a step needs at least 1 row.")
        if self.forecast and self.model is None:
            raise ValueError(
                "--forecast needs --model: it trains that model for a few steps. Give packaged, a "
                "folder or a hub id."
            )


@dataclass(frozen=True)
class Estimate:
    """What the task's rows hold, all that was measured, all bounds.

    See ``llm_validation.estimation.document`` for JSON.
    """

    request: Request
    datasets: dict[str, Dataset]
    rows_of: dict[str, int]
    audit: Audit
    overlap: tuple[OverlapMeasure, ...]
    proxy_overlap: tuple[OverlapMeasure, ...]
    pairs: tuple[ClosePair, ...]
    mismatch: ProxyMismatch | None
    shared: SharedContexts
    front: Frontier
    model: ModelSide | None
    bounds: tuple[Estimated, ...] = field(repr=False)
    forecasts: tuple[StrategyForecast, ...] = ()


def estimate(request: Request, *, progress: Progress = silent) -> Estimate:
    """Load, measure, bound. Raises InputError for every fault of the inputs, naming file and row.

    Texts are measured on all rows (or ``rows`` of them), the model on ``model_rows`` of those.
    """
    datasets = load_datasets(request, progress)
    rows_of = {name: len(dataset) for name, dataset in datasets.items()}
    audited = audit(datasets["task"], progress=progress)
    if request.rows is not None:
        datasets = sampled(datasets, request.rows, request.seed)
    # A model that cannot be loaded is refused before minutes go into the text.
    loaded = None
    if request.model is not None:
        from llm_validation.models.loading import load_model

        for model in progress([request.model], f"loading the model {request.model}"):
            loaded = load_model(model, progress=progress)
    seed, p = request.seed, request.failure_probability
    safety, task, proxy = datasets["safety"], datasets["task"], datasets.get("proxy")
    pair = TextPair.of(safety.prompts, task.prompts)
    overlap_seed = spawn_seed(seed, "overlap")
    overlap = context_overlap(
        safety.prompts, task.prompts, seed=overlap_seed, p=p, pair=pair, progress=progress
    )
    pairs = closest_pairs(safety.prompts, task.prompts, pair=pair, progress=progress)
    proxy_overlap: tuple[OverlapMeasure, ...] = ()
    if proxy is not None:
        proxy_overlap = context_overlap(
            proxy.prompts, task.prompts, seed=overlap_seed, p=p, progress=progress
        )
    side, embed, sample = None, None, datasets
    if loaded is not None:
        from llm_validation.estimation.model_side import measure_model
        from llm_validation.models.embedding import embedder

        sample = sampled(datasets, request.model_rows, seed)
        embed = embedder(loaded, progress=progress)
        overlap += embedding_overlap(
            embed,
            sample["safety"].prompts,
            sample["task"].prompts,
            seed=overlap_seed,
            p=p,
        )
        side = measure_model(
            loaded,
            sample,
            max_length=request.max_length,
            where=request.coordinates,
            failure_probability=p,
            seed=seed,
            progress=progress,
        )
    mismatch = None
    if proxy is not None:
        mismatch = _mismatch(datasets, sample, side, seed=seed, p=p, progress=progress)
    shared = shared_contexts(safety, task, proxy)
    bounds = [
        *bounds_on_rows(shared, request.lams),
        *bounds_on_images(proxy_overlap or overlap, request.lams),
    ]
    if side is not None:
        bounds += bounds_on_model(
            side,
            has_proxy=proxy is not None,
            lams=request.lams,
            radii=request.radii,
            budget=planned_radius(side, learning_rate=request.learning_rate, steps=request.steps),
        )
    forecasts: list[StrategyForecast] = []
    if request.forecast and loaded is not None:
        from llm_validation.estimation.forecast import forecast_strategies

        forecasts = forecast_strategies(request, loaded, datasets, progress=progress)
    return Estimate(
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
        bounds=tuple(bounds),
        forecasts=tuple(forecasts),
    )


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


def load_datasets(request: Request, progress: Progress) -> dict[str, Dataset]:
    """The datasets of a request by role, refused if they cannot answer its question."""
    references = {"safety": request.safety, "task": request.task, "proxy": request.proxy}
    given = [(name, ref) for name, ref in references.items() if ref is not None]
    datasets: dict[str, Dataset] = {}
    columns: dict[str, tuple[str, ...]] = {}
    for name, ref in progress(given, "reading datasets"):
        datasets[name], columns[ref] = load_with_columns(
            ref,
            role=name,
            drop_unusable=request.drop_unusable,
            ignore_columns=request.ignore_columns,
        )
        require_rows(datasets[name], at_least=2, role=name)
    require_columns(request.ignore_columns, columns)
    require_different(datasets["safety"], datasets["task"])
    if "proxy" in datasets:
        _require_useful_proxy(datasets)
    return datasets


def _require_useful_proxy(datasets: Mapping[str, Dataset]) -> None:
    if datasets["proxy"].sha256 == datasets["task"].sha256:
        raise InputError(
            "the proxy and the task data are the same rows.",
            remedy="Give safety data as --proxy, or leave it out to penalise the safety data.",
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
) -> ProxyMismatch:
    """Contexts on all rows; the teacher, with a model, on the rows that it was measured on."""
    from llm_validation.measure.proxy_mismatch import (
        ProxyMismatch,
        context_mismatch,
        teacher_mismatch,
    )

    likelihoods = None
    if side is not None:
        likelihoods = tuple(
            -side.row_losses[name].token_sum / side.row_losses[name].token_count
            for name in ("safety", "proxy")
        )
    seed = spawn_seed(seed, "proxy mismatch")
    return ProxyMismatch(
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
