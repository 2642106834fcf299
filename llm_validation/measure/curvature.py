"""Curvature of the mean token loss: products with its Hessian or Gauss-Newton matrix, Lanczos.

T6, T7 and T12 of docs/theorems.md need a smoothness constant, the supremum of a Hessian's norm
over a ball. What is measured here is less: the largest eigenvalues found by a few Lanczos steps,
at the ball's centre, on a sample of rows. Hence every result is an estimate. The sample errs on
the safe side on average (the largest eigenvalue is convex, so a sample's mean Hessian has a
larger one in expectation), the centre and the few steps do not.

Cost, in units of a gradient over the same rows (adapter coordinates, measured): 2.1 for a
Hessian product from scratch and 1.2 with its graph kept, 1.9 and 0.9 for a Gauss-Newton product.
Over all weights: 3.0 and 2.1 from scratch. Memory is two to three times a gradient's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from finebound.base.progress import Progress, silent
from finebound.results.estimate import CurvatureFound
from llm_validation.data.encoding import Encoded, token_budget_batches
from llm_validation.measure.coordinates import Coordinates, dot, norm, unit
from llm_validation.measure.supervised import SupervisedBatch, supervised_count
from llm_validation.models.rope import rope_switch

Kind: TypeAlias = Literal["hessian", "gauss_newton"]
Product: TypeAlias = Callable[[Tensor], Tensor]


class CurvatureProduct:
    """``v -> H v`` for the Hessian or Gauss-Newton matrix of a sample's mean token loss.

    ``kind="hessian"`` is exact second derivatives; ``"gauss_newton"`` is ``J' H_out J`` with J the
    logits' Jacobian and H_out softmax cross-entropy's Hessian in the logits: positive
    semi-definite, the part that remains where the model is linear in the coordinates (T16).

    Samples of up to ``keep_graph_tokens`` tokens (padding included) keep their graph between
    products, which spares a forward and a backward pass each time at about twice a gradient's
    memory; larger ones are computed anew, ``tokens_per_batch`` at a time. The weights must not
    change while the product is in use.
    """

    def __init__(
        self,
        model: nn.Module,
        coordinates: Coordinates,
        encoded: Sequence[Encoded],
        *,
        kind: Kind = "hessian",
        pad_id: int,
        tokens_per_batch: int = 256,
        keep_graph_tokens: int = 512,
    ) -> None:
        if kind not in ("hessian", "gauss_newton"):
            raise ValueError(f"kind is hessian or gauss_newton, not {kind!r}")
        kept = [row for row in encoded if supervised_count(row)]
        if not kept:
            raise ValueError("no row has a supervised token")
        self.kind: Kind = kind
        self.rows = len(kept)
        self.tokens = sum(map(supervised_count, kept))
        self._model, self._coordinates = model, coordinates
        self._linearise = _hessian_graph if kind == "hessian" else _gauss_newton_graph
        self._batches = [
            SupervisedBatch.of([kept[index] for index in batch], coordinates.device, pad_id)
            for batch in token_budget_batches(
                kept, tokens=tokens_per_batch, apart_at=rope_switch(model)
            )
        ]
        self._graphs: list[Callable[[Sequence[Tensor], bool], Sequence[Tensor]]] | None = None
        if sum(batch.input_ids.numel() for batch in self._batches) <= keep_graph_tokens:
            self._graphs = [self._graph(batch) for batch in self._batches]

    def __call__(self, vector: Tensor) -> Tensor:
        """``H v`` for a flat vector ``[d]``."""
        pieces = self._coordinates.split(vector)
        result = self._coordinates.zeros()
        with self._coordinates.differentiable(self._model):
            if self._graphs is not None:
                for graph in self._graphs:
                    self._coordinates.accumulate(result, graph(pieces, True))
            else:
                for batch in self._batches:
                    self._coordinates.accumulate(result, self._graph(batch)(pieces, False))
        return result.div_(self.tokens)

    def _graph(
        self, batch: SupervisedBatch
    ) -> Callable[[Sequence[Tensor], bool], Sequence[Tensor]]:
        from torch.nn.attention import SDPBackend, sdpa_kernel

        # The fused attention kernels have no second derivative.
        with self._coordinates.differentiable(self._model), sdpa_kernel(SDPBackend.MATH):
            return self._linearise(self._model, self._coordinates, batch)


def _hessian_graph(
    model: nn.Module, coordinates: Coordinates, batch: SupervisedBatch
) -> Callable[[Sequence[Tensor], bool], Sequence[Tensor]]:
    """Differentiate once; each product is a backward pass through that derivative."""
    losses = batch.token_losses(batch.logits(model))
    gradients = torch.autograd.grad(
        losses.sum(), coordinates.parameters, create_graph=True, materialize_grads=True
    )

    def product(pieces: Sequence[Tensor], keep: bool) -> Sequence[Tensor]:
        live = [pair for pair in zip(gradients, pieces, strict=True) if pair[0].requires_grad]
        return torch.autograd.grad(
            [gradient for gradient, _ in live],
            coordinates.parameters,
            [piece.to(gradient.dtype) for gradient, piece in live],
            retain_graph=keep,
            materialize_grads=True,
        )

    return product


def _gauss_newton_graph(
    model: nn.Module, coordinates: Coordinates, batch: SupervisedBatch
) -> Callable[[Sequence[Tensor], bool], Sequence[Tensor]]:
    """J v by differentiating ``w -> J' w``, which is linear in w; then J' by a backward pass."""
    logits = batch.logits(model)
    with torch.no_grad():
        probabilities = logits.softmax(-1)
    cotangent = torch.zeros_like(logits, requires_grad=True)
    pulled = torch.autograd.grad(
        logits, coordinates.parameters, cotangent, create_graph=True, materialize_grads=True
    )

    def product(pieces: Sequence[Tensor], keep: bool) -> Sequence[Tensor]:
        live = [pair for pair in zip(pulled, pieces, strict=True) if pair[0].requires_grad]
        (pushed,) = torch.autograd.grad(
            [pull for pull, _ in live],
            cotangent,
            [piece.to(pull.dtype) for pull, piece in live],
            retain_graph=True,
        )
        centred = pushed - (probabilities * pushed).sum(-1, keepdim=True)
        return torch.autograd.grad(
            logits,
            coordinates.parameters,
            probabilities * centred,
            retain_graph=keep,
            materialize_grads=True,
        )

    return product


@dataclass(frozen=True, eq=False)
class Lanczos:
    """Ritz pairs of a symmetric operator, largest magnitude first.

    ``values`` and ``residuals`` ``[k]`` float64; ``first_quotient`` is the Rayleigh quotient of
    the start; ``top_vector`` ``[d]`` the unit Ritz vector of ``values[0]``.
    """

    values: np.ndarray
    residuals: np.ndarray
    first_quotient: float
    top_vector: Tensor

    @property
    def steps(self) -> int:
        """Products used: the dimension of the Krylov space."""
        return len(self.values)


def lanczos(
    product: Product,
    start: Tensor,
    *,
    steps: int,
    tolerance: float = 0.0,
    progress: Progress = silent,
    doing: str = "measuring curvature",
) -> Lanczos:
    """Lanczos with full reorthogonalisation, the tridiagonal matrix in float64.

    Stops before ``steps`` when the residual of the largest-magnitude Ritz value falls to
    ``tolerance`` times it, or when the Krylov space is exhausted. For the symmetric operator
    there is an eigenvalue within ``residual = beta_k |s_k|`` of each Ritz value (Parlett 1998,
    theorem 4.5.1). Holds ``steps`` vectors of length d.
    """
    if steps < 1:
        raise ValueError("at least one step is needed")
    basis = [unit(start)]
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    for _ in progress(range(steps), doing):
        image = product(basis[-1])
        scale = norm(image)
        diagonal.append(dot(basis[-1], image))
        # Twice is enough (Kahan, Parlett): once leaves what cancellation lost.
        for _again in range(2):
            for vector in basis:
                image.sub_(vector, alpha=dot(vector, image))
        beta = norm(image)
        if beta <= 8 * torch.finfo(image.dtype).eps * scale:
            beta = 0.0
        values, residuals, coefficients = _ritz(diagonal, off_diagonal, beta)
        met = residuals[0] < tolerance * abs(values[0])
        if met or beta == 0.0 or len(diagonal) == steps:
            break
        off_diagonal.append(beta)
        basis.append(image.div_(beta))
    top = torch.zeros_like(basis[0])
    for coefficient, vector in zip(coefficients, basis, strict=True):
        top.add_(vector, alpha=float(coefficient))
    return Lanczos(values, residuals, diagonal[0], unit(top))


def _ritz(
    diagonal: Sequence[float], off_diagonal: Sequence[float], beta: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ritz values and residuals, largest magnitude first, and the first one's coefficients."""
    matrix = np.diag(diagonal) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1)
    values, vectors = np.linalg.eigh(matrix)
    order = np.argsort(-np.abs(values), kind="stable")
    return values[order], abs(beta * vectors[-1, order]), vectors[:, order[0]]


def top_curvature(
    product: CurvatureProduct | Difference,
    start: Tensor,
    *,
    steps: int = 8,
    tolerance: float = 0.05,
    progress: Progress = silent,
    doing: str = "measuring curvature",
) -> tuple[CurvatureFound, Tensor]:
    """The largest eigenvalues found from ``start`` ``[d]``, and the first one's unit vector.

    Starting from the task's gradient makes ``along_start`` the curvature along the first step
    that a fine-tune takes. An image of zero gives one eigenvalue 0 with residual 0. Lanczos
    approaches the extremes from inside and cannot see a direction orthogonal to its start.
    """
    found = lanczos(
        product, start, steps=steps, tolerance=tolerance, progress=progress, doing=doing
    )
    curvature = CurvatureFound(
        kind=product.kind,
        eigenvalues=found.values.tolist(),
        residuals=found.residuals.tolist(),
        along_start=found.first_quotient,
        steps=found.steps,
        converged=bool(found.residuals[0] <= tolerance * abs(found.values[0])),
        rows=product.rows,
        tokens=product.tokens,
        dimension=len(start),
        estimated=True,
    )
    return curvature, found.top_vector


@dataclass(frozen=True, eq=False)
class Difference:
    """``v -> (H_1 - H_2) v``: the curvature of Delta = f_s - f_proxy (T12), indefinite."""

    first: CurvatureProduct
    second: CurvatureProduct

    def __call__(self, vector: Tensor) -> Tensor:
        """``H_1 v - H_2 v`` for a flat vector ``[d]``."""
        return self.first(vector).sub_(self.second(vector))

    @property
    def kind(self) -> Kind:
        """Kind of both matrices. Raises ValueError when they differ."""
        if self.first.kind != self.second.kind:
            raise ValueError("the difference of a Hessian and a Gauss-Newton matrix is neither")
        return self.first.kind

    @property
    def rows(self) -> int:
        """Rows of both samples together."""
        return self.first.rows + self.second.rows

    @property
    def tokens(self) -> int:
        """Supervised tokens of both samples together."""
        return self.first.tokens + self.second.tokens


def quadratic_form(product: Product, direction: Tensor) -> float:
    """``d' H d`` for a flat vector ``[d]``, not normalised: twice the second-order loss change."""
    return dot(direction, product(direction))
