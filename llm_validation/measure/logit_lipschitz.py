"""The constant J of (A-J): how far logits move per unit step of the weights. An estimate.

(A-J) of docs/theorems.md asks for ``|| z_theta - z_theta_s ||_inf <= J || theta - theta_s ||`` in
every context and every direction of a ball (T6(ii), T7, T8, T9). Sampled directions can only show
that J is *at least* something, so the result is ESTIMATED and must never certify a bound. Random
directions miss the steep ones by orders of magnitude in high dimension; hence the search goes on
by ascent, from the direction that moved a logit most to the gradient of that very movement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from finebound.base.progress import Progress, silent
from finebound.results.estimate import LogitMovement
from llm_validation.data.encoding import Encoded, token_budget_batches
from llm_validation.measure.coordinates import Coordinates, unit
from llm_validation.measure.supervised import SupervisedBatch, supervised_count
from llm_validation.models.rope import rope_switch


@dataclass(frozen=True)
class _Movement:
    """Largest movements over all tokens, and where: batch, position in it, the two classes."""

    half_range: float
    maximum: float
    batch: int
    token: int
    up: int
    down: int


def logit_lipschitz(
    model: nn.Module,
    coordinates: Coordinates,
    encoded: Sequence[Encoded],
    *,
    pad_id: int,
    radius: float,
    seed: int,
    directions: Mapping[str, Tensor] | None = None,
    random_directions: int = 1,
    ascents: int = 2,
    tokens_per_batch: int = 512,
    progress: Progress = silent,
    doing: str = "measuring the logits' Lipschitz constant",
) -> LogitMovement:
    """Estimate J from steps along ``directions`` (any length), random ones, and by ascent.

    Along each unit direction both ``radius / 10`` (the slope) and ``radius`` are tried. An ascent
    step takes the gradient, at theta_s, of the difference of the two logits that moved apart most
    along the best direction so far: to first order it moves them at least as far. The weights are
    the same bits afterwards. Costs two forward passes a direction over the rows, and holds the
    logits of all supervised tokens. T6(ii), T7 and T9 hold with what counts up to a shift, since a
    shift changes no probability. Raises ValueError when radius is not positive or no row has
    a supervised token.
    """
    if not radius > 0.0:
        raise ValueError("the radius must be positive")
    kept = [row for row in encoded if supervised_count(row)]
    if not kept:
        raise ValueError("no row has a supervised token")
    batches = [
        SupervisedBatch.of([kept[index] for index in batch], coordinates.device, pad_id)
        for batch in token_budget_batches(
            kept, tokens=tokens_per_batch, apart_at=rope_switch(model)
        )
    ]
    generator = torch.Generator().manual_seed(seed)
    named = {name: unit(vector) for name, vector in (directions or {}).items()}
    names = [*named]
    names += [f"random {number}" for number in range(1, random_directions + 1)]
    names += [f"ascent {number}" for number in range(1, ascents + 1)]
    if not names:
        raise ValueError("at least one direction is needed")
    by_direction: dict[str, float] = {}
    best: _Movement | None = None
    unshifted = 0.0
    with coordinates.differentiable(model):
        with torch.no_grad():
            start = [batch.logits(model) for batch in batches]
        for name in progress(names, doing):
            if name in named:
                direction = named[name]
            elif name.startswith("random") or best is None or best.half_range == 0.0:
                direction = coordinates.random_direction(generator)
            else:
                direction = _steepest(model, coordinates, batches, best)
            moves = [
                _move(model, coordinates, batches, start, direction, step)
                for step in (radius / 10, radius)
            ]
            furthest = max(moves, key=lambda move: move.half_range)
            by_direction[name] = furthest.half_range
            unshifted = max(unshifted, *(move.maximum for move in moves))
            if best is None or furthest.half_range > best.half_range:
                best = furthest
    return LogitMovement(
        value=max(by_direction.values()),
        unshifted=unshifted,
        radius=radius,
        by_direction={**by_direction},
        rows=len(kept),
        tokens=sum(map(supervised_count, kept)),
        estimated=True,
    )


def _move(
    model: nn.Module,
    coordinates: Coordinates,
    batches: Sequence[SupervisedBatch],
    start: Sequence[Tensor],
    direction: Tensor,
    step: float,
) -> _Movement:
    """The largest movement per unit step along ``direction``, over every supervised token."""
    found: list[_Movement] = []
    with torch.no_grad(), coordinates.displaced(direction, step):
        for number, (batch, before) in enumerate(zip(batches, start, strict=True)):
            moved = batch.logits(model).sub_(before)
            top, up = moved.max(dim=-1)
            bottom, down = moved.min(dim=-1)
            half_range = (top - bottom) / (2 * step)
            token = int(half_range.argmax())
            found.append(
                _Movement(
                    half_range=float(half_range[token]),
                    maximum=float(torch.maximum(top, -bottom).max()) / step,
                    batch=number,
                    token=token,
                    up=int(up[token]),
                    down=int(down[token]),
                )
            )
    largest = max(found, key=lambda move: move.half_range)
    maximum = max(move.maximum for move in found)
    return _Movement(
        largest.half_range, maximum, largest.batch, largest.token, largest.up, largest.down
    )


def _steepest(
    model: nn.Module,
    coordinates: Coordinates,
    batches: Sequence[SupervisedBatch],
    move: _Movement,
) -> Tensor:
    """Unit gradient at theta_s of the difference of the two logits that moved apart most."""
    batch = batches[move.batch]
    row = batch.rows[move.token]
    alone = SupervisedBatch(
        input_ids=batch.input_ids[row : row + 1],
        attention_mask=batch.attention_mask[row : row + 1],
        positions=batch.positions[move.token : move.token + 1] % batch.input_ids.shape[1],
        targets=batch.targets[move.token : move.token + 1],
        rows=torch.zeros_like(batch.rows[:1]),
    )
    logits = alone.logits(model)[0]
    gradient = coordinates.zeros()
    coordinates.accumulate(
        gradient,
        torch.autograd.grad(
            logits[move.up] - logits[move.down], coordinates.parameters, allow_unused=True
        ),
    )
    return unit(gradient)
