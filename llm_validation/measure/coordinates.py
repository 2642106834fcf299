"""Which parameters are trained: the space in which radii, gradients and curvatures are measured.

T6, T7, T12 and T13 of docs/theorems.md hold in any coordinates, but their constants do not carry
over from one to another. A radius is everywhere the Euclidean norm of the change of the *weights*,
which is what a parameter constraint limits while training (``training.displacement``): for a LoRA
``|s B A|_F`` over all adapted modules. So bounds are measured in the weights of those modules
(``adapted_weights``) or in all of them, never in an adapter's own A and B, whose norm is another
number and depends on how A was drawn. Every measure takes its ``Coordinates`` and every result
names them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from finebound.base.errors import InputError
from llm_validation.models.adapters import ALL_LINEAR, attach_lora

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

DOT_CHUNK = 1 << 22
"""Entries converted to float64 at a time: 32 MB, where a whole model's vector would be 1 GB."""


@dataclass(frozen=True, eq=False)
class Coordinates:
    """An ordered list of a model's parameters, read as one flat vector ``[d]``.

    ``names`` are those of ``model.named_parameters()``; a tied weight counts once.
    """

    name: str
    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]

    def __post_init__(self) -> None:
        if not self.parameters or len(self.names) != len(self.parameters):
            raise ValueError("coordinates need at least one parameter, each with its name")

    @property
    def dimension(self) -> int:
        """d, the number of trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters)

    @property
    def device(self) -> torch.device:
        """Where flat vectors live."""
        return self.parameters[0].device

    @property
    def dtype(self) -> torch.dtype:
        """Type of flat vectors: float32, or float64 for a float64 model."""
        double = self.parameters[0].dtype == torch.float64
        return torch.float64 if double else torch.float32

    @property
    def parameter_norm(self) -> float:
        """Euclidean norm of the parameters, summed in float64."""
        flat = [parameter.detach().reshape(-1) for parameter in self.parameters]
        return sum(dot(values, values) for values in flat) ** 0.5

    def zeros(self) -> Tensor:
        """A flat vector ``[d]`` of zeros."""
        return torch.zeros(self.dimension, dtype=self.dtype, device=self.device)

    def split(self, vector: Tensor) -> list[Tensor]:
        """Views of a flat vector ``[d]`` in the parameters' shapes; nothing is copied."""
        if vector.shape != (self.dimension,):
            raise ValueError(f"a vector of shape [{self.dimension}] is needed, not {vector.shape}")
        sizes = [parameter.numel() for parameter in self.parameters]
        pieces = vector.split(sizes)
        return [piece.view_as(p) for piece, p in zip(pieces, self.parameters, strict=True)]

    def accumulate(self, vector: Tensor, tensors: Iterable[Tensor | None]) -> None:
        """Add one tensor a parameter to the flat ``vector`` in place; None counts as zeros."""
        for piece, tensor in zip(self.split(vector), tensors, strict=True):
            if tensor is not None:
                piece.add_(tensor.to(piece.device))

    def random_direction(self, generator: torch.Generator) -> Tensor:
        """A unit vector ``[d]``, uniform on the sphere; drawn on the CPU, so device-independent."""
        vector = torch.randn(self.dimension, generator=generator, dtype=self.dtype)
        return unit(vector).to(self.device)

    @contextmanager
    def differentiable(self, model: nn.Module) -> Iterator[None]:
        """Gradients on exactly these parameters, dropout off; the model's flags come back after."""
        modes = [(module, module.training) for module in model.modules()]
        flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        try:
            model.eval()
            for parameter, _ in flags:
                parameter.requires_grad_(False)
            for parameter in self.parameters:
                parameter.requires_grad_(True)
            with torch.enable_grad():
                yield
        finally:
            for module, training in modes:
                module.training = training
            for parameter, flag in flags:
                parameter.requires_grad_(flag)

    @contextmanager
    def displaced(self, direction: Tensor, step: float) -> Iterator[None]:
        """Inside, the parameters are theta + step * direction; after, theta again, bit for bit.

        The original storage is put back rather than the step subtracted, which would round.
        """
        originals = [parameter.data for parameter in self.parameters]
        pieces = self.split(direction)
        try:
            for parameter, original, piece in zip(self.parameters, originals, pieces, strict=True):
                parameter.data = original + (step * piece).to(original)
            yield
        finally:
            for parameter, original in zip(self.parameters, originals, strict=True):
                parameter.data = original


def all_weights(model: nn.Module) -> Coordinates:
    """Every parameter of the model: the coordinates of a full fine-tune."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    return Coordinates("all weights", names, parameters)


def adapted_weights(
    model: PreTrainedModel, targets: Sequence[str] = ("q_proj", "v_proj")
) -> Coordinates:
    """The weights of the linear modules that a LoRA on ``targets`` changes, as they are stored.

    ``targets`` may be ``("all-linear",)``: all but the head. Their change by a LoRA is ``s B A``,
    which is of low rank; the coordinates are of full rank, so an upper bound over a ball of theirs
    holds for every LoRA within it. Raises InputError where the model has none of them.
    """
    head = model.get_output_embeddings()
    found = {
        f"{name}.weight": cast("nn.Parameter", module.weight)
        for name, module in model.named_modules()
        if is_linear(module)
        and module is not head
        and (ALL_LINEAR in targets or name.rpartition(".")[2] in targets)
    }
    if not found:
        raise InputError(
            f"the model has no linear module called {', '.join(targets)}.",
            remedy="Choose the LoRA's targets among the model's linear modules.",
        )
    where = "all linear modules" if ALL_LINEAR in targets else ", ".join(targets)
    return Coordinates(f"weights of {where}", tuple(found), tuple(found.values()))


def default_targets(
    model: nn.Module, targets: Sequence[str] = ("q_proj", "v_proj")
) -> tuple[str, ...]:
    """Those of ``targets`` that the model has, or all its linear modules where it has none."""
    suffixes = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    return tuple(target for target in targets if target in suffixes) or (ALL_LINEAR,)


def is_linear(module: nn.Module) -> bool:
    """Whether the module is one of the two kinds of linear layers that PEFT adapts."""
    return isinstance(module, nn.Linear) or is_transposed(module)


def is_transposed(module: nn.Module) -> bool:
    """Whether the module is GPT-2's kind, whose weight is ``[d_in, d_out]``."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def adapter(
    model: PreTrainedModel,
    *,
    rank: int = 8,
    alpha: int = 16,
    targets: Sequence[str] = ("q_proj", "v_proj"),
    seed: int = 0,
) -> tuple[PeftModel, Coordinates]:
    """Attach a seeded LoRA and return the adapted model with the adapter as coordinates.

    For gradients that are compared with one another; bounds and radii take ``adapted_weights``.
    The base is frozen, and wrapped in place: ``peft_model.unload()`` gives it back, its weights
    untouched. Where the model has no module named in ``targets`` every linear layer is adapted.
    The adapter adds ``alpha / rank * B A`` to a weight. At its start B = 0, so the model's
    function is the base's, the gradient with respect to A is zero, and every gradient lies in the
    coordinates of B alone; the Hessian still couples A with B. A depends on ``seed``, and with
    it the norms measured here. Raises InputError when the model carries an adapter already.
    """
    chosen = default_targets(model, targets)
    peft_model = attach_lora(model, rank=rank, alpha=alpha, targets=chosen, seed=seed)
    named = [(name, p) for name, p in peft_model.named_parameters() if p.requires_grad]
    names, parameters = zip(*named, strict=True)
    where = "all linear layers" if ALL_LINEAR in chosen else ", ".join(chosen)
    coordinates = Coordinates(f"LoRA r={rank} alpha={alpha} on {where}", names, parameters)
    return peft_model, coordinates


def dot(first: Tensor, second: Tensor) -> float:
    """Inner product of two flat vectors ``[d]``, summed in float64."""
    return sum(
        float(a.double() @ b.double())
        for a, b in zip(first.split(DOT_CHUNK), second.split(DOT_CHUNK), strict=True)
    )


def norm(vector: Tensor) -> float:
    """Euclidean norm of a flat vector ``[d]``, summed in float64."""
    return dot(vector, vector) ** 0.5


def unit(vector: Tensor) -> Tensor:
    """The vector over its norm. Raises ValueError when it is zero or not finite."""
    length = norm(vector)
    if not 0.0 < length < float("inf"):
        raise ValueError(f"a vector of norm {length} has no direction")
    return vector / length


def cosine(first: Tensor, second: Tensor) -> float:
    """Cosine of two flat vectors ``[d]``; nan when one of them is zero."""
    lengths = norm(first) * norm(second)
    return dot(first, second) / lengths if lengths > 0.0 else float("nan")
