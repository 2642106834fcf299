"""The local landscape of a model's losses: the measured constants of T6, T7, T12, T13 and T16.

All of it is measured at the aligned model, without a fine-tune. Numbers are plain floats, so a
``Landscape`` goes to JSON by ``dataclasses.asdict``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from finebound.base.progress import Progress, silent
from llm_validation.data.encoding import Encoded
from llm_validation.measure.coordinates import (
    adapted_weights,
    all_weights,
    cosine,
    default_targets,
)
from llm_validation.measure.curvature import (
    Curvature,
    CurvatureProduct,
    Difference,
    Kind,
    top_curvature,
)
from llm_validation.measure.gradients import (
    LossGradient,
    NormEstimate,
    gradient_mismatch,
    loss_and_gradient,
)
from llm_validation.measure.logit_lipschitz import LogitLipschitz, logit_lipschitz
from llm_validation.measure.planned_lora import PlannedLora, planned_lora, steepest_step
from llm_validation.measure.supervised import supervised_count
from llm_validation.models.adapters import require_no_adapter

if TYPE_CHECKING:
    from torch import Tensor

    from llm_validation.models.loading import LoadedModel

Where: TypeAlias = Literal["adapter", "all"]

ROWS_FOR_LIPSCHITZ = 4
"""Rows a dataset whose logits the estimate of J watches: each costs V floats a token."""


@dataclass(frozen=True)
class RowLosses:
    """Losses of the rows that the gradients used: row numbers (0-based), nats, token counts."""

    rows: tuple[int, ...]
    token_sum: tuple[float, ...]
    token_count: tuple[int, ...]

    @property
    def per_token(self) -> float:
        """Mean token loss over these rows, nats per token."""
        return sum(self.token_sum) / sum(self.token_count)


@dataclass(frozen=True)
class Landscape:
    """Losses, gradients, curvatures and J around the aligned model, in named coordinates.

    Keys of ``losses`` and ``gradient_norms``: safety, task and proxy. Of ``cosines``:
    safety_task, safety_proxy and task_proxy (nan for a zero gradient). Of ``curvatures``: safety,
    task and mismatch, that of ``Delta = f_s - f_proxy``; their ``along_start`` is the curvature
    along the task's gradient: what a step in that direction costs safety to second order, what
    it does to the task's own slope and to Delta. ``mismatch`` is ``|| grad Delta ||`` (T12).
    Without a proxy its entries are missing and ``mismatch`` is None. ``parameter_norm`` is the
    coordinates' norm at the start. ``lora`` is the LoRA that is planned on these weights, None for
    all weights; ``task_descent`` the slope of the task's loss along the steepest step that the
    fine-tune can take: the gradient's norm, for a LoRA that of the gradient cut to its rank.
    Everything is an estimate from a sample.
    """

    coordinates: str
    dimension: int
    parameter_norm: float
    seed: int
    losses: dict[str, RowLosses]
    gradient_norms: dict[str, NormEstimate]
    cosines: dict[str, float]
    mismatch: NormEstimate | None
    curvatures: dict[str, Curvature]
    logit_lipschitz: LogitLipschitz
    lora: PlannedLora | None = None
    task_descent: float | None = None


def measure_landscape(
    loaded: LoadedModel,
    safety_encoded: Sequence[Encoded],
    task_encoded: Sequence[Encoded],
    proxy_encoded: Sequence[Encoded] | None,
    *,
    where: Where = "adapter",
    seed: int = 0,
    kind: Kind = "hessian",
    rows_for_gradient: int = 64,
    rows_for_curvature: int = 5,
    lanczos_steps: int = 6,
    tokens_a_curvature_row: int = 128,
    radius: float = 1.0,
    progress: Progress = silent,
) -> Landscape:
    """Measure the landscape; the model leaves as it came, weights bit for bit.

    ``where`` says which weights are trained: those of the modules that a LoRA changes ("adapter"),
    or "all". Either way distances are norms of the change of the weights themselves.
    Gradients use up to ``rows_for_gradient`` rows a dataset, curvatures and J fewer, each a
    seeded subsample without replacement. A row longer than ``tokens_a_curvature_row`` is cut for
    the curvatures to a window that reaches its answer, since second derivatives hold about 6 MB a
    token on a model of 135M parameters. ``radius`` is the step at which J is measured. Every
    Lanczos step adds a vector of the coordinates' size. Safety and proxy draw with one seed, so
    that the same dataset on both sides has mismatch 0. Raises ValueError when a dataset has fewer
    than two rows with a supervised token.
    """
    if where not in ("adapter", "all"):
        raise ValueError(f"where is adapter or all, not {where!r}")
    datasets = {"safety": safety_encoded, "task": task_encoded}
    if proxy_encoded is not None:
        datasets["proxy"] = proxy_encoded
    require_no_adapter(loaded.model)
    model, lora = loaded.model, None
    if where == "adapter":
        coordinates = adapted_weights(model, default_targets(model))
        lora = planned_lora(model, coordinates)
    else:
        coordinates = all_weights(model)
    pad_id = loaded.pad_id
    chosen = {
        name: subsample(encoded, rows_for_gradient, seed=seed) for name, encoded in datasets.items()
    }
    gradients = {
        name: loss_and_gradient(
            model,
            coordinates,
            [datasets[name][row] for row in rows],
            pad_id=pad_id,
            progress=progress,
            doing=f"measuring losses and gradients on {name}",
        )
        for name, rows in chosen.items()
    }
    slopes = _slopes(gradients)
    losses = {
        name: RowLosses(
            rows=tuple(chosen[name]),
            token_sum=tuple(part.losses.token_sum.tolist()),
            token_count=tuple(part.losses.token_count.tolist()),
        )
        for name, part in gradients.items()
    }
    task_gradient = gradients["task"].gradient
    descent = gradients["task"].norm
    if lora is not None:
        descent = steepest_step(coordinates, task_gradient, lora.rank, seed=seed)
    # Over all weights the other gradients would hold twice the model's memory each.
    gradients.clear()

    def product(name: str) -> CurvatureProduct:
        rows = subsample(datasets[name], rows_for_curvature, seed=seed)
        cut = [window(datasets[name][row], tokens_a_curvature_row) for row in rows]
        return CurvatureProduct(model, coordinates, cut, kind=kind, pad_id=pad_id)

    curvatures, steepest = _curvatures(
        product, datasets, task_gradient, steps=lanczos_steps, progress=progress
    )
    lipschitz = logit_lipschitz(
        model,
        coordinates,
        [
            window(encoded[row], tokens_a_curvature_row)
            for encoded in datasets.values()
            for row in subsample(encoded, ROWS_FOR_LIPSCHITZ, seed=seed)
        ],
        pad_id=pad_id,
        radius=radius,
        seed=seed,
        directions={"task gradient descent": -task_gradient, "safety curvature": steepest},
        progress=progress,
    )
    return Landscape(
        coordinates=coordinates.name,
        dimension=coordinates.dimension,
        parameter_norm=coordinates.parameter_norm,
        seed=seed,
        losses=losses,
        gradient_norms=slopes.norms,
        cosines=slopes.cosines,
        mismatch=slopes.mismatch,
        curvatures=curvatures,
        logit_lipschitz=lipschitz,
        lora=lora,
        task_descent=descent,
    )


def subsample(encoded: Sequence[Encoded], rows: int, *, seed: int) -> list[int]:
    """Up to ``rows`` row numbers drawn without replacement among those with supervised tokens."""
    usable = [index for index, row in enumerate(encoded) if supervised_count(row)]
    drawn = np.random.default_rng(seed).permutation(len(usable))[:rows]
    return [usable[index] for index in sorted(drawn)]


def window(row: Encoded, tokens: int) -> Encoded:
    """At most ``tokens`` consecutive tokens of the row, its first supervised ones included.

    The window starts at the row's start where the answer begins in its first half, and
    otherwise so that the answer begins in its middle.
    """
    first = int(row.supervised[1:].argmax()) + 1
    start = max(0, min(first - tokens // 2, len(row.input_ids) - tokens))
    cut = slice(start, start + tokens)
    return replace(row, input_ids=row.input_ids[cut], supervised=row.supervised[cut])


@dataclass(frozen=True)
class _Slopes:
    norms: dict[str, NormEstimate]
    cosines: dict[str, float]
    mismatch: NormEstimate | None


def _slopes(gradients: dict[str, LossGradient]) -> _Slopes:
    pairs = [("safety", "task"), ("safety", "proxy"), ("task", "proxy")]
    return _Slopes(
        norms={name: part.estimate for name, part in gradients.items()},
        cosines={
            f"{one}_{other}": cosine(gradients[one].gradient, gradients[other].gradient)
            for one, other in pairs
            if other in gradients
        },
        mismatch=(
            gradient_mismatch(gradients["safety"], gradients["proxy"])
            if "proxy" in gradients
            else None
        ),
    )


def _curvatures(
    product: Callable[[str], CurvatureProduct],
    datasets: dict[str, Sequence[Encoded]],
    start: Tensor,
    *,
    steps: int,
    progress: Progress,
) -> tuple[dict[str, Curvature], Tensor]:
    """Curvatures of the task's loss, the safety loss and Delta, and the safety's top vector."""
    found: dict[str, Curvature] = {}

    def measure(name: str, matrix: CurvatureProduct | Difference) -> Tensor:
        found[name], top = top_curvature(
            matrix, start, steps=steps, progress=progress, doing=f"measuring curvature of {name}"
        )
        return top

    measure("task", product("task"))
    # Kept for the mismatch: a graph is the costly part of a product.
    safety = product("safety")
    steepest = measure("safety", safety)
    if "proxy" in datasets:
        measure("mismatch", Difference(safety, product("proxy")))
    return found, steepest
