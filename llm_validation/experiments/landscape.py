"""The constants of the bounds, measured at theta_s before any run, in the weights themselves.

The coordinates are the weights of the modules that a method changes, so that their Euclidean norm
is the displacement that a run records and a parameter constraint limits, whatever the LoRA's rank
and initialisation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.errors import tell
from finebound.base.integrity import Damaged, as_written, read_record, sealed
from finebound.base.progress import Progress, silent
from finebound.base.records import spawn_seed, to_json, write_atomically
from finebound.results.estimate import (
    CurvatureFound,
    GradientNorm,
    LogitMovement,
    MeasuredLandscape,
    ModelLoss,
)
from finebound.results.spans import Limits
from llm_validation.data.encoding import encode
from llm_validation.estimation.model_side import PER_TOKEN, ModelSide
from llm_validation.experiments.config import LandscapeSettings as Settings
from llm_validation.experiments.config import Method
from llm_validation.experiments.datasets import SAFETY, proxy_set, task_set
from llm_validation.experiments.prepare import Prepared, on_device
from llm_validation.measure.coordinates import (
    Coordinates,
    adapted_weights,
    all_weights,
)
from llm_validation.measure.curvature import (
    CurvatureProduct,
    Difference,
    top_curvature,
)
from llm_validation.measure.gradients import (
    LossGradient,
    gradient_mismatch,
    loss_and_gradient,
)
from llm_validation.measure.landscape import (
    ROWS_FOR_LIPSCHITZ,
    cosines_of,
    losses_of,
    subsample,
    window,
)
from llm_validation.measure.logit_lipschitz import logit_lipschitz
from llm_validation.models.memory import NeedsMemory, require_memory
from llm_validation.training.methods import METHODS

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from llm_validation.data.encoding import Encoded
    from llm_validation.models.loading import LoadedModel

FOLDER = "landscape"
_VECTORS = 8
_AGAIN = "Start the experiment again with `finebound validate`: it measures that anew."


def changed_weights(model: PreTrainedModel, method: Method) -> Coordinates:
    """The weights that a method changes: the adapted modules', or all of them."""
    if method.kind == "full":
        return all_weights(model)
    return adapted_weights(model, method.targets)


def measure_landscapes(
    prepared: Prepared,
    triples: Iterable[tuple[str, str | None, str]],
    *,
    progress: Progress = silent,
) -> list[str]:
    """Measure every ``(task, proxy, method)`` that is not yet in the experiment's folder.

    Gradients are those of *all* training rows, so that only curvature and the logits' Lipschitz
    constant come from samples. Without settings for it (``landscape`` null) nothing is measured,
    nor for a method whose displacement is no distance from theta_s in its weights. What does not
    fit into memory is left out, with a sentence on it.
    """
    settings = prepared.experiment.landscape
    if settings is None:
        return []
    missing = [
        triple
        for triple in dict.fromkeys(triples)
        if _moves_weights(prepared, triple[2]) and not _is_measured(prepared, *triple)
    ]
    left_out: list[str] = []
    if not missing:
        return left_out
    loaded = on_device(prepared.load_aligned())
    # Second derivatives of the fused attention do not exist on a CPU.
    loaded.model.set_attn_implementation("eager")
    shared: dict[Any, Any] = {}
    for task, proxy, method in missing:
        work = _Work(prepared, loaded, settings, method, shared, progress)
        try:
            work.require_room(task, proxy)
        except NeedsMemory as error:
            left_out.append(f"No bounds from measured constants for {task} by {method}: "
                            f"{error.what}")  # fmt: skip
            continue
        found = work.landscape(task, proxy)
        content = {
            "landscape": found.to_dict(),
            "key": _key(prepared, task, proxy, method),
        }
        write_atomically(_file(prepared, task, proxy, method), to_json(sealed(content)) + "\n")
    return left_out


def _is_measured(prepared: Prepared, task: str, proxy: str | None, method: str) -> bool:
    """Whether the file is there; a damaged one is measured again, with a word on stderr."""
    try:
        return _read(prepared, task, proxy, method) is not None
    except Damaged as error:
        tell(f"{error.file}: {error.what} It is measured again.")
        return False


def _read(
    prepared: Prepared, task: str, proxy: str | None, method: str
) -> MeasuredLandscape | None:
    """What was measured, None where nothing was. Raises Damaged for what is not as written."""
    file = _file(prepared, task, proxy, method)
    if not file.is_file():
        return None
    content = read_record(file, remedy=_AGAIN)
    if content.get("key") != json.loads(to_json(_key(prepared, task, proxy, method))):
        raise Damaged("is of another landscape.", remedy=_AGAIN, file=file)
    with as_written(content, file, remedy=_AGAIN):
        # A record of an earlier version lacks the first two.
        plain = {"lora": None, "task_descent": None, **content["landscape"]}
        return MeasuredLandscape.model_validate(plain)


def read_side(prepared: Prepared, task: str, proxy: str | None, method: str) -> ModelSide | None:
    """What was measured, with the exact losses at theta_s; None where nothing was."""
    if prepared.experiment.landscape is None or not _moves_weights(prepared, method):
        return None
    land = _read(prepared, task, proxy, method)
    if land is None:
        return None
    names = _sets(task, proxy)
    losses = {part: prepared.start(name) for part, name in names.items()}
    return ModelSide(
        name=prepared.document["model"]["name"],
        sha256=prepared.aligned_sha256,
        parameters=land.dimension,
        vocabulary=prepared.vocabulary,
        unit=PER_TOKEN,
        losses={
            part: ModelLoss(
                per_token=found.per_token,
                per_sequence=found.per_sequence,
                tokens_a_row=float(found.token_count.mean()),
                rows=len(found.token_count),
                rows_of=len(found.token_count),
                bootstrap=_exactly(found.per_token),
                bernstein=_exactly(found.per_token),
                loss_range=float("inf"),
            )
            for part, found in losses.items()
        },
        row_losses=losses,
        rows={part: tuple(range(1, len(x.token_count) + 1)) for part, x in losses.items()},
        landscape=land,
    )


def _moves_weights(prepared: Prepared, method: str) -> bool:
    """Whether a run's displacement is the norm in which the constants are measured.

    Virtual tokens and IA3's factors have norms of their own, and a rounded base is not theta_s.
    """
    kind = METHODS[prepared.experiment.methods[method].kind]
    return kind.displaces_weights and kind.starts_at_theta_s


def _exactly(value: float) -> Limits:
    """The rows are the population: there is nothing to cover."""
    return Limits(estimate=value, lower=value, upper=value, failure_probability=0.0)


def _sets(task: str, proxy: str | None) -> dict[str, str]:
    names = {"safety": SAFETY, "task": task_set(task)}
    return names if proxy is None else {**names, "proxy": proxy_set(proxy)}


class _Work:
    """Pieces of landscapes on one loaded model; what several share is measured once."""

    def __init__(
        self,
        prepared: Prepared,
        loaded: LoadedModel,
        settings: Settings,
        method: str,
        shared: dict[Any, Any],
        progress: Progress,
    ) -> None:
        self.prepared, self.loaded, self.settings = prepared, loaded, settings
        self.shared, self.progress = shared, progress
        self.coordinates = changed_weights(loaded.model, prepared.experiment.methods[method])
        self.seed = spawn_seed(prepared.experiment.seed, "landscape")
        self.pad_id = loaded.pad_id

    def require_room(self, task: str, proxy: str | None) -> None:
        """Raises NeedsMemory where the vectors that will be there together do not fit."""
        sets = len(_sets(task, proxy))
        held = sum(isinstance(made, LossGradient) for made in self.shared.values())
        vector = self.coordinates.dimension * self.coordinates.parameters[0].element_size()
        # Two of each set; those of Lanczos; a Hessian product's and what is made of them.
        count = 2 * (sets + held) + self.settings.lanczos_steps + _VECTORS
        require_memory(
            vector * count,
            f"measuring the constants of the bounds in {self.coordinates.dimension:,} weights",
            device=self.coordinates.device,
            held=2 * vector * held,
            remedy="Allow more `memory`, or leave the landscape out.",
        )

    def landscape(self, task: str, proxy: str | None) -> MeasuredLandscape:
        names = _sets(task, proxy)
        gradients = {part: self.gradient(name) for part, name in names.items()}
        curvatures: dict[str, CurvatureFound] = {}
        start = gradients["task"].gradient
        curvatures["task"], _ = self.curvature(names["task"], names["task"], None, start)
        curvatures["safety"], steepest = self.curvature(names["safety"], names["task"], None, start)
        mismatch = None
        if proxy is not None:
            mismatch = gradient_mismatch(gradients["safety"], gradients["proxy"])
            curvatures["mismatch"], _ = self.curvature(
                names["safety"], names["task"], names["proxy"], start
            )
        return MeasuredLandscape(
            coordinates=self.coordinates.name,
            dimension=self.coordinates.dimension,
            parameter_norm=self.coordinates.parameter_norm,
            seed=self.seed,
            losses={
                part: losses_of(range(len(found.losses.token_count)), found)
                for part, found in gradients.items()
            },
            gradient_norms={part: _exact_norm(found.norm) for part, found in gradients.items()},
            cosines={**cosines_of(gradients)},
            mismatch=None if mismatch is None else _exact_norm(mismatch.value),
            curvatures=curvatures,
            logit_lipschitz=self.logits(task, start, steepest),
            lora=None,
            task_descent=None,
        )

    def once(self, key: tuple, make: Any) -> Any:
        key = (self.coordinates.name, *key)
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]

    def rows(self, name: str) -> list[Encoded]:
        return self.once(
            ("rows", name),
            lambda: encode(
                self.prepared.sets[name],
                self.loaded.tokenizer,
                max_length=self.loaded.context_length,
            ),
        )

    def gradient(self, name: str) -> LossGradient:
        return self.once(
            ("gradient", name),
            lambda: loss_and_gradient(
                self.loaded.model,
                self.coordinates,
                self.rows(name),
                pad_id=self.pad_id,
                progress=self.progress,
                doing=f"measuring the gradient on {name}",
            ),
        )

    def product(self, name: str) -> CurvatureProduct:
        rows = self.rows(name)
        drawn = subsample(rows, self.settings.rows_for_curvature, seed=self.seed)
        cut = [window(rows[row], self.settings.tokens_a_curvature_row) for row in drawn]
        return CurvatureProduct(self.loaded.model, self.coordinates, cut, pad_id=self.pad_id)

    def curvature(
        self, name: str, task: str, minus: str | None, start: Tensor
    ) -> tuple[CurvatureFound, Tensor]:
        def make() -> tuple[CurvatureFound, Tensor]:
            matrix = self.product(name)
            if minus is not None:
                matrix = Difference(matrix, self.product(minus))
            return top_curvature(
                matrix,
                start,
                steps=self.settings.lanczos_steps,
                progress=self.progress,
                doing=f"measuring curvature of {name}" + (f" - {minus}" if minus else ""),
            )

        return self.once(("curvature", name, task, minus), make)

    def logits(self, task: str, downhill: Tensor, steepest: Tensor) -> LogitMovement:
        def make() -> LogitMovement:
            watched = [
                window(rows[row], self.settings.tokens_a_curvature_row)
                for rows in (self.rows(SAFETY), self.rows(task_set(task)))
                for row in subsample(rows, ROWS_FOR_LIPSCHITZ, seed=self.seed)
            ]
            return logit_lipschitz(
                self.loaded.model,
                self.coordinates,
                watched,
                pad_id=self.pad_id,
                radius=self.settings.radius,
                seed=self.seed,
                directions={"task gradient descent": -downhill, "safety curvature": steepest},
                progress=self.progress,
            )

        return self.once(("logits", task), make)


def _exact_norm(value: float) -> GradientNorm:
    """Of the gradient over all training rows: the rows are the population, so no noise is in it."""
    return GradientNorm(value=value, squared_unbiased=value**2, standard_error=0.0, upper=value)


def _key(prepared: Prepared, task: str, proxy: str | None, method: str) -> dict[str, Any]:
    experiment = prepared.experiment
    return {
        "aligned": prepared.aligned_sha256,
        "sets": {
            part: prepared.document["sets"][name]["sha256"]
            for part, name in _sets(task, proxy).items()
        },
        "method": experiment.methods[method].model_dump(mode="json"),
        "settings": None if experiment.landscape is None else experiment.landscape.model_dump(),
        "seed": experiment.seed,
    }


def _file(prepared: Prepared, task: str, proxy: str | None, method: str) -> Path:
    key = to_json(_key(prepared, task, proxy, method)).encode()
    return prepared.out / FOLDER / f"{hashlib.sha256(key).hexdigest()[:32]}.json"
