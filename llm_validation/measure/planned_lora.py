"""The LoRA that is planned on measured weights: how far training carries it, what it can reach."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from finebound.results.estimate import LoraShapes
from llm_validation.measure.coordinates import Coordinates, is_transposed
from theory.bound import Bound, Direction, Quantity, bound
from theory.local import AdamBudget, lora_product_radius, radius_from_budget

RANK, ALPHA = 8, 16
_EXTRA = 8  # directions beside those asked for in the sketch of a gradient


def lora_radius(lora: LoraShapes, learning_rates: ArrayLike) -> Bound:
    """T13 in the weights: ``|s B A|_F`` over all modules after AdamW without decay.

    No number of A or B moves by more than ``rho = sum eta_t k_t``. peft draws A uniformly from
    ``+-1/sqrt(d_in)``, so ``|A|_F <= sqrt(r) + sqrt(r d_in) rho``, and B starts at zero, so
    ``|B|_F <= sqrt(r d_out) rho``. Their product bounds a module, the modules add in squares.
    """
    rho = float(radius_from_budget(AdamBudget(np.asarray(learning_rates), 1)).value)
    d_out, d_in = np.array(lora.shapes, dtype=np.float64).T
    norm_a = np.sqrt(lora.rank) + np.sqrt(lora.rank * d_in) * rho
    norm_b = np.sqrt(lora.rank * d_out) * rho
    each = lora_product_radius(norm_a, norm_b, scaling=lora.alpha / lora.rank)
    total = float(np.linalg.norm(each.value)) * (1.0 + (len(lora.shapes) + 16) * 2.0**-52)
    return bound(
        "T13",
        Quantity.RADIUS,
        Direction.UPPER,
        {"product of the factors": total},
        form="LoRA product",
        assumptions=(
            "the optimiser follows its update rule in exact arithmetic",
            "the update is scaling * B A, with peft's start of A and B",
        ),
        unit="",
    )


def planned_lora(
    model: nn.Module, coordinates: Coordinates, *, rank: int = RANK, alpha: float = ALPHA
) -> LoraShapes:
    """The LoRA on the modules whose weights are the coordinates."""
    return LoraShapes(rank=rank, alpha=alpha, shapes=_shapes(model, coordinates))


def steepest_step(coordinates: Coordinates, gradient: Tensor, rank: int, *, seed: int = 0) -> float:
    """The slope along the steepest unit change of rank ``rank`` in every module; from below.

    A LoRA cannot follow the gradient itself, whose rank is full: the best that it can is the
    gradient cut to its ``rank`` largest singular values in every module. They come from a seeded
    sketch with two power steps, which never makes one larger than it is.
    """
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    for piece in coordinates.split(gradient):
        matrix = piece.float() if piece.dtype != torch.float64 else piece
        columns = min(rank + _EXTRA, *matrix.shape)
        drawn = torch.randn(matrix.shape[1], columns, generator=generator, dtype=matrix.dtype)
        basis = matrix @ drawn.to(matrix.device)
        for _ in range(2):
            basis = matrix @ (matrix.mT @ torch.linalg.qr(basis)[0])
        within = torch.linalg.qr(basis)[0].mT @ matrix
        values = torch.linalg.svdvals(within)[:rank].double()
        total += float(values.square().sum())
    return total**0.5


def _shapes(model: nn.Module, coordinates: Coordinates) -> list[tuple[int, int]]:
    found = []
    for name, weight in zip(coordinates.names, coordinates.parameters, strict=True):
        rows, columns = weight.shape
        transposed = is_transposed(model.get_submodule(name.removesuffix(".weight")))
        found.append((columns, rows) if transposed else (rows, columns))
    return found
