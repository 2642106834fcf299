"""Gradients of single examples at theta_s, kept as rows: what T16 and several baselines read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from finebound.base.errors import InputError
from finebound.base.records import spawn_seed
from llm_validation.data.encoding import Encoded
from llm_validation.forecast.world import Role, World, lam_of, prepared, total_tokens
from llm_validation.measure.coordinates import DOT_CHUNK, Coordinates
from llm_validation.measure.supervised import SupervisedBatch, supervised_count
from llm_validation.models.adapters import lora_factors
from llm_validation.models.memory import allowed_bytes, require_memory
from llm_validation.training.plan import FullWeights, Lora, TrainingPlan

SPARE = 6
"""Vectors of the trained numbers that are there beside the rows: a copy of the weights, a gradient,
what a predictor computes of the rows."""


@dataclass(frozen=True, eq=False)
class GradientRows:
    """Per example the gradient of its summed token loss ``[n, d]``, nats per unit length.

    ``given`` are gradients of the given answers. ``drawn`` are those of labels drawn from the
    model's own prediction at every position: independent with mean 0, so that
    ``drawn' drawn / tokens`` estimates the Gauss-Newton matrix without bias. ``token_count [n]``.
    With a LoRA, d counts its B alone: at B = 0 the gradient in A is zero.
    """

    given: Tensor
    drawn: Tensor
    token_count: Tensor
    cost_tokens: float

    @property
    def bytes(self) -> int:
        """How much memory the rows take."""
        return 2 * self.given.numel() * self.given.element_size()

    def columns(self, part: slice) -> GradientRows:
        """Views of some coordinates alone."""
        return replace(self, given=self.given[:, part], drawn=self.drawn[:, part])

    @property
    def mean(self) -> Tensor:
        """Gradient ``[d]`` of the mean token loss."""
        return self.given.sum(0) / self.token_count.sum()

    @property
    def contributions(self) -> Tensor:
        """Rows whose mean is ``mean``, ``[n, d]``."""
        return self.given * (len(self.given) / self.token_count.sum())


@dataclass(frozen=True, eq=False)
class WeightMetric:
    """The norm in which the trainer measures a displacement, for changes ``[n, d]`` of B at B = 0.

    ``|scaling B A|_F`` for a LoRA, the Euclidean norm for full weights (``blocks`` empty).
    """

    blocks: tuple[tuple[int, int, Tensor], ...]

    def gram(self, changes: Tensor) -> Tensor:
        """Inner products ``[n, n]`` of changes of the weights, float64."""
        if not self.blocks:
            return (changes @ changes.T).double().cpu()
        total = torch.zeros(len(changes), len(changes), dtype=torch.float64)
        start = 0
        for rows, rank, factor in self.blocks:
            size = rows * rank
            part = changes[:, start : start + size].reshape(len(changes), rows, rank) @ factor
            part = part.reshape(len(changes), -1)
            total += (part @ part.T).double().cpu()
            start += size
        return total


def gradient_rows(world: World, plan: TrainingPlan, role: Role, rows: int) -> GradientRows:
    """Rows of up to ``rows`` examples of a role, measured once for a world and method.

    Raises NeedsMemory where the rows of all of the plan's roles, ``SPARE`` vectors beside them, do
    not fit into memory; rows of other data are given up for them. Raises InputError for a method
    with virtual tokens, whose start is not theta_s, and for DPO.
    """
    if plan.objective is not None or plan.method.virtual_tokens:
        what = "DPO" if plan.objective is not None else plan.method.kind
        raise InputError(
            f"there is no forecast of {what} from gradients at the aligned model.",
            remedy="Forecast by the coarse unroll, or run the fine-tune.",
        )
    about = ("gradients", world.max_length, plan.method, plan.seed, rows)

    def make() -> GradientRows:
        _make_room(world, plan, about, role, rows)
        return _measure(world, plan, world.sample(role, rows, part="gradients"), role)

    return world.once(role, about, make)


def _make_room(world: World, plan: TrainingPlan, about: tuple, role: Role, rows: int) -> None:
    """Whatever will be in memory together is there, or nothing is begun."""
    roles: set[Role] = {role, "safety", "task"}
    if lam_of(plan):
        roles.add("proxy")
    wanted = {world.key_of(one, about): one for one in roles}
    known = {k: r.bytes for k, r in world.known.items() if isinstance(r, GradientRows)}
    vector = _numbers(world, plan) * next(world.model.model.parameters()).element_size()
    need = vector * (SPARE + 2 * sum(min(rows, len(world.encoded(one))) for one in roles))
    require_memory(
        need,
        f"keeping {rows} gradients of single rows of each dataset, of {vector / 4:,.0f} numbers,",
        device=next(world.model.model.parameters()).device,
        held=sum(known.values()),
        remedy="Forecast a LoRA fine-tune, take fewer rows, or use the coarse unroll.",
    )
    for key in known.keys() - wanted.keys():
        # Made again where they are asked for again.
        if need > allowed_bytes(next(world.model.model.parameters()).device):
            del world.known[key]


def _numbers(world: World, plan: TrainingPlan) -> int:
    """How many numbers a gradient has."""

    def count() -> int:
        if isinstance(plan.method, FullWeights):
            return sum(p.numel() for p in world.model.model.parameters())
        with prepared(world.model, plan) as (_, whole):
            return _moving(plan, whole).dimension

    return world.once("safety", ("trained numbers", plan.method), count)


def chunks(dimension: int, rows: int) -> Iterator[slice]:
    """Slices of coordinates, of up to ``DOT_CHUNK`` numbers of so many rows together.

    So no copy of a whole set of rows is made.
    """
    width = max(1, DOT_CHUNK // rows)
    for start in range(0, dimension, width):
        yield slice(start, start + width)


def products(rows: Tensor, others: Tensor) -> Tensor:
    """Inner products ``[n, m]`` of rows ``[n, d]`` and ``[m, d]``, summed in float64."""
    parts = chunks(rows.shape[1], len(rows) + len(others))
    return reduce(torch.add, (rows[:, p].double() @ others[:, p].double().T for p in parts))


def _measure(
    world: World, plan: TrainingPlan, encoded: Sequence[Encoded], role: Role
) -> GradientRows:
    generator = torch.Generator().manual_seed(spawn_seed(world.seed, "drawn labels") % 2**63)
    with prepared(world.model, plan) as (model, whole):
        coordinates = _moving(plan, whole)
        shape = (len(encoded), coordinates.dimension)
        given = torch.zeros(shape, dtype=coordinates.dtype, device=coordinates.device)
        drawn = torch.zeros_like(given)
        with coordinates.differentiable(model):
            for i, row in enumerate(encoded):
                batch = SupervisedBatch.of([row], coordinates.device, world.pad_id)
                logits = batch.logits(model)
                own = torch.multinomial(logits.detach().softmax(-1).cpu(), 1, generator=generator)[
                    :, 0
                ].to(logits.device)
                for target, labels in ((given, batch.targets), (drawn, own)):
                    loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
                    coordinates.accumulate(
                        target[i],
                        torch.autograd.grad(
                            loss,
                            coordinates.parameters,
                            retain_graph=target is given,
                            allow_unused=True,
                        ),
                    )
    if not torch.isfinite(given.sum() + drawn.sum()):
        raise InputError(
            f"a gradient on the {role} rows is not finite.",
            remedy="The model's weights hold numbers that are not finite: load it again.",
        )
    counts = torch.tensor([supervised_count(row) for row in encoded], dtype=torch.float64)
    # One pass forward and two back, where training makes one of each.
    return GradientRows(given, drawn, counts, total_tokens(encoded) * 5.0 / 3.0)


def weight_metric(world: World, plan: TrainingPlan) -> WeightMetric:
    """The displacement's norm in the coordinates of ``gradient_rows``."""
    if not isinstance(plan.method, Lora):
        return WeightMetric(())
    with prepared(world.model, plan) as (model, _):
        blocks = []
        for f in lora_factors(model):
            a = f.a.detach().double()
            values, vectors = torch.linalg.eigh(a @ a.T)
            root = (vectors * values.clamp(min=0.0).sqrt()) @ vectors.T
            blocks.append((f.b.shape[0], f.b.shape[1], (f.scaling * root).to(f.b.dtype)))
    return WeightMetric(tuple(blocks))


def _moving(plan: TrainingPlan, whole: Coordinates) -> Coordinates:
    """The coordinates in which the first-order change lies: of a LoRA its B, in its order."""
    if not isinstance(plan.method, Lora):
        return whole
    kept = [
        (name, p) for name, p in zip(whole.names, whole.parameters, strict=True) if "lora_B" in name
    ]
    names, parameters = zip(*kept, strict=True)
    return Coordinates("LoRA's B", names, parameters)
