"""AsFT (arXiv 2506.08473): penalise the part of the updates outside of the alignment.

``strength sum |(I - C) s B A|_F^2`` over the adapted modules, with the alignment projector C and
the adapter's scale s (which the release leaves out). C is kept as ``U diag(w) U'`` with the left
singular vectors of V: w is ``s_i^2 / |V|_F`` in the fast form and 1 in the exact one. The gradients
come from thin products: with ``M = (I - C) B`` they are ``2 s^2 (I - C) M (A A')`` with respect to
B and ``2 s^2 (M'M) A`` with respect to A.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.base.records import file_sha256
from llm_validation.defences.alignment import Alignment
from llm_validation.defences.geometry.projector import ProjectorKind
from llm_validation.defences.geometry.spectrum import frobenius_norm, low_rank
from llm_validation.defences.lora_file import LoraAdapter, LoraModule
from llm_validation.defences.protocol import Evidence, Faithfulness, Report, Stage
from llm_validation.defences.trials import Trial, sweep
from llm_validation.defences.weights import WeightFolder
from llm_validation.models.adapters import LoraFactors, lora_factors
from llm_validation.training.plan import TrainingPlan
from llm_validation.training.strategies import SubspacePenalty

_PREFIX = "base_model.model."
_OTHER_MODEL = 0.1
"""Of the alignment's norm: how far the tuned model's weights may be from the aligned ones."""


@dataclass
class AsFT:
    """Fine-tune a LoRA with a penalty on what lies outside of the alignment.

    ``finetune`` takes ``pair``, which is there after ``fit``, as its ``alignment``.
    """

    strength: float = 1.0
    projector: ProjectorKind = "fast"
    pair: OpenPair | None = None

    name = "asft"
    stage: Stage = "during"
    faithfulness = Faithfulness(
        paper="The part (I - C) dW of every update is penalised, lambda |(I - C) dW|_F^2 with "
        "lambda 1 and C = V V'/|V|_F of the alignment V (AsFT, arXiv 2506.08473).",
        release="Forms d x d arrays, and takes B A for dW: the adapter's scale alpha / r is left "
        "out.",
        ours="With the scale, from thin products; C is the fast form or the exact projector. Where "
        "the fast form's |C|_2 is far below 1, this is a penalty on the update's size. A module "
        "that the alignment left as it was is not penalised.",
    )

    @classmethod
    def trials(cls) -> list[Trial]:
        return sweep(cls, "strength", 0.01, 0.1, 1.0, on="plan")

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs ``alignment``, which stays open until the training has begun."""
        self.pair = OpenPair(evidence.need("alignment", "AsFT"))

    def apply(self, subject: TrainingPlan) -> TrainingPlan:
        """The plan with the penalty; its alignment is ``pair``."""
        return replace(subject, strategy=SubspacePenalty(self.strength, self.projector))

    def report(self) -> Report:
        settings = {"strength": self.strength, "projector": self.projector}
        details = {} if self.pair is None else {"alignment": self.pair.identity}
        return Report(self.name, self.stage, settings, details=details)


@dataclass(frozen=True, eq=False)
class OpenPair:
    """An open alignment as ``finetune`` takes it for a ``SubspacePenalty``."""

    alignment: Alignment

    @property
    def identity(self) -> dict[str, str]:
        """SHA-256 of the weights of the base and of the aligned model or adapter."""
        return self._identity

    @cached_property
    def _identity(self) -> dict[str, str]:
        sides = {"base": self.alignment.base, "aligned": self.alignment.aligned}
        return {role: _weights_sha256(side) for role, side in sides.items()}

    def penalty(
        self, model: nn.Module, strategy: SubspacePenalty, *, progress: Progress = silent
    ) -> AlignmentPenalty:
        """The penalty on the aligned model with a LoRA. Raises InputError for another model."""
        _require_aligned(model, self.alignment)
        return AlignmentPenalty(
            model,
            self.alignment,
            strength=strategy.strength,
            projector=strategy.projector,
            progress=progress,
        )


class AlignmentPenalty:
    """The penalty of a model with a LoRA; ``ConstraintTrainer`` takes it as its ``penalty``.

    The models must stay open only while this is made. Raises InputError when the model has no
    LoRA, or the alignment does not have its modules or changed none of them. A module without
    alignment is not penalised: everything would be outside of it.
    """

    def __init__(
        self,
        model: nn.Module,
        alignment: Alignment,
        *,
        strength: float,
        projector: ProjectorKind = "fast",
        progress: Progress = silent,
    ) -> None:
        if not 0.0 < strength < float("inf"):
            raise InputError(
                f"the penalty's strength is {strength}.", remedy="Give a number greater than 0."
            )
        found, adapter = lora_factors(model), _as_adapter(model, alignment)
        alignment.require(adapter, any_base=True)
        self.strength = strength
        self._terms: list[tuple[LoraFactors, Tensor, Tensor]] = []
        for factors, module in progress(
            list(zip(found, adapter.modules, strict=True)), "factoring the alignment"
        ):
            v = alignment.difference(module)
            part = low_rank(v, alignment.rounding(module))
            if part.rank:
                fast = part.s.square() / frobenius_norm(v)
                weights = fast if projector == "fast" else torch.ones_like(part.s)
                self._terms.append((factors, part.u.to(factors.b), weights.to(factors.b)))
        if not self._terms:
            raise InputError(
                "the alignment changed none of the modules that the LoRA adapts, so there is "
                "nothing to stay inside of.",
                remedy="Give the model before the alignment as its base, or adapt modules that the "
                "alignment changed.",
                file=alignment.folders[1],
            )

    @torch.no_grad()
    def add_gradient(self) -> Tensor:
        """Add the penalty's gradient to the parameters' gradients; its value, float64 scalar."""
        total = torch.zeros((), dtype=torch.float64)
        for factors, u, weights in self._terms:
            a, b = factors.a, factors.b
            scale = self.strength * factors.scaling**2

            def lost(x: Tensor, u: Tensor = u, weights: Tensor = weights) -> Tensor:
                return x - u @ (weights[:, None] * (u.mT @ x))

            outside = lost(b)
            gram_a, gram_m = a @ a.mT, outside.mT @ outside
            total = total.to(a.device) + scale * (gram_a.double() * gram_m.double()).sum()
            if b.grad is not None:
                b.grad.add_(lost(outside) @ gram_a, alpha=2.0 * scale)
            if a.grad is not None:
                a.grad.add_(gram_m @ a, alpha=2.0 * scale)
        return total


def _as_adapter(model: nn.Module, alignment: Alignment) -> LoraAdapter:
    """The model's LoRA as one that was read from a file. Raises InputError where there is none."""
    found = lora_factors(model)
    if not found:
        raise InputError("the model has no LoRA.", remedy="Use the method lora.")
    modules = tuple(
        LoraModule(f.name.removeprefix(_PREFIX), f.a.detach(), f.b.detach(), f.scaling)
        for f in found
    )
    return LoraAdapter(alignment.folders[1], {}, modules)


def _require_aligned(model: nn.Module, alignment: Alignment) -> None:
    """Raises InputError unless the LoRA's base has the aligned model's weights.

    A quantised base is not compared: its weights are rounded.
    """
    adapter = _as_adapter(model, alignment)
    alignment.require(adapter, any_base=True)
    off = size = 0.0
    for factors, module in zip(lora_factors(model), adapter.modules, strict=True):
        adapted: Any = model.get_submodule(factors.name)
        weight = adapted.get_base_layer().weight.detach()
        if not weight.is_floating_point():
            continue
        before = alignment.base.weight(module.name).float()
        v = alignment.difference(module)
        weight = weight.cpu().float()
        if alignment.base.is_transposed(module.name):
            weight = weight.T
        off += frobenius_norm(weight - before - v) ** 2
        size += frobenius_norm(v) ** 2
    if off > _OTHER_MODEL**2 * size:
        raise InputError(
            "the model to be tuned is not the aligned one of the pair: its adapted weights are "
            f"{off**0.5:.3g} away from it, and the alignment moved them by {size**0.5:.3g}.",
            remedy="Give the base and the aligned model that the fine-tune starts from.",
            file=alignment.folders[1],
        )


def _weights_sha256(side: WeightFolder | LoraAdapter) -> str:
    digest = hashlib.sha256()
    if isinstance(side, WeightFolder):
        for file in sorted(side.folder.glob("*.safetensors")):
            digest.update(f"{file.name} {file_sha256(file)}\n".encode())
    else:
        for module in side.modules:
            digest.update(f"{module.name} {module.scaling!r}\n".encode())
            for factor in (module.a, module.b):
                digest.update(factor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
