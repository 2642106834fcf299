"""The local landscape of a model's losses: the measured constants of T6, T7, T12, T13 and T16.

All of it is measured at the aligned model, without a fine-tune.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from finebound.base.progress import Progress, silent
from finebound.results.estimate import (
    CurvatureFound,
    GradientNorm,
    LossesOfRows,
    MeasuredLandscape,
)
from llm_validation.data.encoding import Encoded
from llm_validation.measure.coordinates import (
    adapted_weights,
    all_weights,
    cosine,
    default_targets,
)
from llm_validation.measure.curvature import (
    CurvatureProduct,
    Difference,
    Kind,
    top_curvature,
)
from llm_validation.measure.gradients import (
    LossGradient,
    gradient_mismatch,
    loss_and_gradient,
)
from llm_validation.measure.logit_lipschitz import logit_lipschitz
from llm_validation.measure.planned_lora import planned_lora, steepest_step
from llm_validation.measure.supervised import supervised_count
from llm_validation.models.adapters import require_no_adapter

if TYPE_CHECKING:
    from torch import Tensor

    from llm_validation.models.loading import LoadedModel

Where: TypeAlias = Literal["adapter", "all"]

ROWS_FOR_LIPSCHITZ = 4
"""Rows a dataset whose logits the estimate of J watches: each costs V floats a token."""


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
) -> MeasuredLandscape:
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
    norms: dict[str, GradientNorm] = {name: part.estimate for name, part in gradients.items()}
    cosines = cosines_of(gradients)
    mismatch = None
    if "proxy" in gradients:
        mismatch = gradient_mismatch(gradients["safety"], gradients["proxy"])
    losses = {name: losses_of(chosen[name], part) for name, part in gradients.items()}
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
    return MeasuredLandscape(
        coordinates=coordinates.name,
        dimension=coordinates.dimension,
        parameter_norm=coordinates.parameter_norm,
        seed=seed,
        losses=losses,
        gradient_norms=norms,
        cosines={**cosines},
        mismatch=mismatch,
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


def cosines_of(gradients: Mapping[str, LossGradient]) -> dict[str, float]:
    """Cosines of each two of the gradients, "safety_task" and so on; NaN for a zero gradient."""
    pairs = [("safety", "task"), ("safety", "proxy"), ("task", "proxy")]
    return {
        f"{one}_{other}": cosine(gradients[one].gradient, gradients[other].gradient)
        for one, other in pairs
        if other in gradients
    }


def losses_of(rows: Sequence[int], found: LossGradient) -> LossesOfRows:
    """The losses of the ``rows`` that a gradient is of."""
    return LossesOfRows(
        rows=list(rows),
        token_sum=found.losses.token_sum.tolist(),
        token_count=found.losses.token_count.tolist(),
    )


def _curvatures(
    product: Callable[[str], CurvatureProduct],
    datasets: dict[str, Sequence[Encoded]],
    start: Tensor,
    *,
    steps: int,
    progress: Progress,
) -> tuple[dict[str, CurvatureFound], Tensor]:
    """Curvatures of the task's loss, the safety loss and Delta, and the safety's top vector."""
    found: dict[str, CurvatureFound] = {}

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
