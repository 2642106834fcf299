"""How far a method's numbers are from their start, and moving them back, sharded or not.

Full weights: the Euclidean norm over all trained numbers, from theta_s. LoRA and QLoRA: the
Frobenius norm of ``scaling * B A`` over all adapted modules together, which is the same norm of
the same weights, from the r x r Gram matrices: ``|B A|_F^2 = <B'B, A A'>``. IA3, prompt tuning
and P-Tuning: the Euclidean norm over their trained numbers, from where these started; it is no
norm of the weights and does not compare with those of the others. Parameters sharded by FSDP2
(DTensor) are reduced over their shards, so every process knows the same global norm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.distributed import all_reduce
from torch.distributed.tensor import DTensor, distribute_tensor

from llm_validation.models.adapters import LoraFactors, lora_factors

_HALF_ULP = 2.0**-24  # relative rounding of float32
# A difference of so many numbers stays in a core's cache between its two uses.
_CHUNK = {"cpu": 1 << 17}
_LARGE_CHUNK = 1 << 24


class Displacement(ABC):
    """The distance of a model's trained weights from where they were when this was made.

    Make it before training starts; ``bind`` it to the prepared model (sharded or not), whose
    parameters have the same names. Weights restored from a checkpoint in between do not matter.
    """

    def __init__(self, model: nn.Module) -> None:
        self._start = {
            name: parameter.detach().clone()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self.start_norm = sum(float(s.double().square().sum()) for s in self._start.values()) ** 0.5
        self.bind(model)

    def bind(self, model: nn.Module) -> None:
        """Follow this model's parameters from now on."""
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if trained.keys() != self._start.keys():
            raise ValueError("the model's trained parameters are not those of the start")
        self.parameters = list(trained.values())
        self.starts = [as_shard(self._start[name], p) for name, p in trained.items()]
        self.names = list(trained)

    def coordinates_norm(self) -> float:
        """Euclidean norm of the change of the trained numbers themselves."""
        squares = (
            (p, _squared_difference(local_part(p), start))
            for p, start in zip(self.parameters, self.starts, strict=True)
        )
        return global_sum(squares) ** 0.5

    @abstractmethod
    def norm(self) -> float:
        """The norm of the change of the model's weights, over all processes."""

    def shrink(self, norm: float, radius: float) -> float:
        """Move straight towards the start, from ``norm`` to ``radius`` at most; returns the norm.

        Rounding goes to the safe side: the result is below the radius by at least what float32
        can add to it.
        """
        target = max(radius * (1.0 - 16 * _HALF_ULP) - self._rounding(radius), 0.0)
        self._scale(target / norm)
        return target

    @abstractmethod
    def _rounding(self, radius: float) -> float: ...

    @abstractmethod
    def _scale(self, factor: float) -> None: ...

    @abstractmethod
    def squared(self) -> Tensor:
        """Half the squared norm as a float64 scalar tensor, without waiting for the device."""

    @abstractmethod
    def add_gradient(self, strength: float) -> None:
        """Add the gradient of ``strength / 2 norm^2`` to the parameters' gradients."""


class FullDisplacement(Displacement):
    """Of all trained numbers, one flat vector: full weights, IA3's factors, virtual tokens."""

    def norm(self) -> float:
        return self.coordinates_norm()

    def _rounding(self, radius: float) -> float:
        # Every number is stored to half a unit in its last place, whatever the step's size.
        return _HALF_ULP * (self.start_norm + 2.0 * radius)

    @torch.no_grad()
    def _scale(self, factor: float) -> None:
        for parameter, start in zip(self.parameters, self.starts, strict=True):
            local_part(parameter).lerp_(start, 1.0 - factor)

    def squared(self) -> Tensor:
        squares = (
            (p, _squared_difference(local_part(p), start))
            for p, start in zip(self.parameters, self.starts, strict=True)
        )
        return 0.5 * global_sum_tensor(squares)

    @torch.no_grad()
    def add_gradient(self, strength: float) -> None:
        for parameter, start in zip(self.parameters, self.starts, strict=True):
            if parameter.grad is not None:
                local_part(parameter.grad).add_(local_part(parameter) - start, alpha=strength)


class LoraDisplacement(Displacement):
    """Of the adapted weights: ``scaling * B A`` of every module, which starts at zero."""

    def bind(self, model: nn.Module) -> None:
        super().bind(model)
        factors = sorted(lora_factors(model), key=_shape)
        if not factors:
            raise ValueError("the model has no LoRA")
        self._groups = [list(group) for _, group in groupby(factors, key=_shape)]

    @torch.no_grad()
    def squared(self) -> Tensor:
        squares = (
            (torch.stack([f.scaling**2 * (gram_a * gram_b).sum() for f, gram_a, gram_b in grams]))
            .sum()
            .to(torch.float64)
            for grams in self._grams()
        )
        return 0.5 * reduce(torch.add, squares)

    def norm(self) -> float:
        return max(2.0 * float(self.squared()), 0.0) ** 0.5

    def factor_norms(self) -> tuple[float, float]:
        """Joint Frobenius norms of all A and of all B."""
        return tuple(
            sum(
                float(_full(getattr(f, side)).detach().double().square().sum())
                for group in self._groups
                for f in group
            )
            ** 0.5
            for side in ("a", "b")
        )

    @torch.no_grad()
    def _grams(self) -> Iterator[list[tuple[LoraFactors, Tensor, Tensor]]]:
        """Of every module ``A A'`` and ``B'B``, ``[r, r]`` in float64; one product a shape."""
        for group in self._groups:
            a = torch.stack([_full(f.a) for f in group]).double()
            b = torch.stack([_full(f.b) for f in group]).double()
            yield list(zip(group, a @ a.mT, b.mT @ b, strict=True))

    def _rounding(self, radius: float) -> float:
        # Scaling B rounds each of its numbers relatively, and A multiplies what that leaves.
        norm_a, norm_b = self.factor_norms()
        largest = max(f.scaling for group in self._groups for f in group)
        return min(2.0 * _HALF_ULP * largest * norm_a * norm_b, 0.5 * radius)

    @torch.no_grad()
    def _scale(self, factor: float) -> None:
        for group in self._groups:
            for f in group:
                local_part(f.b).mul_(factor)

    @torch.no_grad()
    def add_gradient(self, strength: float) -> None:
        for grams in self._grams():
            for f, gram_a, gram_b in grams:
                weight = strength * f.scaling**2
                for factor, pull in (
                    (f.a, gram_b.to(f.a.dtype) @ _full(f.a)),
                    (f.b, _full(f.b) @ gram_a.to(f.b.dtype)),
                ):
                    if factor.grad is not None:
                        local_part(factor.grad).add_(as_shard(pull, factor), alpha=weight)


def displacement_of(model: nn.Module) -> Displacement:
    """The displacement in the norm of the method that the model is prepared for."""
    return LoraDisplacement(model) if lora_factors(model) else FullDisplacement(model)


def global_sum(values: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Sum of one scalar a parameter's local part, over the processes that hold its shards."""
    return float(global_sum_tensor(values))


def global_sum_tensor(values: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """``global_sum`` as a float64 tensor; one reduction a mesh, not one a parameter."""
    local: dict[object, tuple[list, list[Tensor]]] = {}
    for parameter, value in values:
        groups, key = [], None
        if isinstance(parameter, DTensor):
            mesh = parameter.device_mesh
            dims = [i for i, place in enumerate(parameter.placements) if place.is_shard()]
            key, groups = (mesh, tuple(dims)), [mesh.get_group(dim) for dim in dims]
        local.setdefault(key, (groups, []))[1].append(value)
    total = None
    for groups, parts in local.values():
        part = torch.stack(parts).sum()
        for group in groups:
            all_reduce(part, group=group)
        total = part if total is None else total + part
    assert total is not None
    return total


@torch.no_grad()
def _squared_difference(a: Tensor, b: Tensor) -> Tensor:
    """``|a - b|^2`` as a float64 scalar, a cache's worth of numbers at a time."""
    size = _CHUNK.get(a.device.type, _LARGE_CHUNK)
    parts = []
    for x, y in zip(a.reshape(-1).split(size), b.reshape(-1).split(size), strict=True):
        difference = (x - y).double()
        parts.append(torch.dot(difference, difference))
    return torch.stack(parts).sum() if parts else torch.zeros((), dtype=torch.float64)


def local_part(tensor: Tensor) -> Tensor:
    """This process's part: the tensor's own memory, so that it can be changed in place."""
    tensor = tensor.detach()
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _full(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def as_shard(whole: Tensor, parameter: Tensor) -> Tensor:
    """The part of ``whole`` that corresponds to this process's part of ``parameter``."""
    if not isinstance(parameter, DTensor):
        return whole.to(parameter.device)
    mesh = parameter.device_mesh
    return distribute_tensor(whole.to(mesh.device_type), mesh, parameter.placements).to_local()


def _shape(f: LoraFactors) -> tuple[int, ...]:
    return (*f.a.shape, *f.b.shape)
