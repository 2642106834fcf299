"""Every adapted module beside its alignment, one difference of weights in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.defences.alignment import Alignment
from llm_validation.defences.geometry.projector import (
    ExactProjector,
    FastProjector,
    Overlap,
    Projector,
    ProjectorKind,
    gram,
    overlap,
)
from llm_validation.defences.lora_file import LoraAdapter, LoraModule
from llm_validation.defences.protocol import Evidence, ModuleReport


@dataclass(frozen=True, eq=False)
class Layer:
    """One module's update beside the projector of its alignment.

    ``fast`` is the overlap with the fast projector, ``chosen`` with the one asked for, whose
    ``C B`` is ``projected``; ``b`` and ``a`` are float32 on the device.
    """

    module: LoraModule
    projector: Projector
    b: Tensor
    a: Tensor
    projected: Tensor
    gram_a: Tensor
    fast: Overlap
    fast_norm: float
    chosen: Overlap

    @property
    def comparable(self) -> bool:
        """Whether there are both an alignment and an update: a cosine, a score."""
        return self.projector.norm > 0.0 and self.chosen.norm > 0.0

    @property
    def cosine(self) -> float:
        """Cosine of the update with its projection; NaN where there is nothing to compare."""
        return self.chosen.cosine if self.comparable else math.nan

    def report(self, *, score: float = math.nan) -> ModuleReport:
        """The module's entry in a report, unchanged so far."""
        return ModuleReport(
            self.module.name,
            self.fast.distance,
            self.fast.cosine if self.comparable else math.nan,
            self.fast_norm,
            score,
            changed=False,
        )


def layers_for(defence: Any, evidence: Evidence, progress: Progress) -> Iterator[Layer]:
    """``layers`` of a defence's evidence, which are ``adapter`` and ``alignment``, by its settings.

    Raises InputError as ``layers``, and where there is no such evidence.
    """
    return layers(
        evidence.need("adapter", defence.name),
        evidence.need("alignment", defence.name),
        projector=getattr(defence, "projector", "fast"),
        any_base=defence.any_base,
        device=defence.device,
        progress=progress,
    )


def layers(
    adapter: LoraAdapter,
    alignment: Alignment,
    *,
    projector: ProjectorKind = "fast",
    any_base: bool = False,
    device: str = "cpu",
    progress: Progress = silent,
) -> Iterator[Layer]:
    """Every module in the adapter's order.

    Raises InputError when adapter and models do not belong together (before any weight is read),
    and when base and aligned model are the same in every module that the adapter has.
    """
    alignment.require(adapter, any_base=any_base)
    aligned = False
    for module in progress(adapter.modules, "reading the alignment of modules"):
        fast = FastProjector(alignment.difference(module).to(device))
        if not math.isfinite(fast.frobenius):
            raise InputError(
                f"The weights of {module.name} hold numbers that are not finite.",
                remedy="Copy or download the models again.",
                file=alignment.folders[1],
            )
        aligned = aligned or fast.frobenius > 0.0
        b, a = module.b.to(device).float(), module.a.to(device).float()
        gram_a = gram(a)
        projected = fast.times(b)
        found = chosen = overlap(b, projected, gram_a, module.scaling)
        used = cast(Projector, fast)  # its norm is a cached property
        if projector == "exact":
            used = cast(Projector, ExactProjector(fast.v, tolerance=alignment.rounding(module)))
            projected = used.times(b)
            chosen = overlap(b, projected, gram_a, module.scaling)
        yield Layer(module, used, b, a, projected, gram_a, found, fast.norm, chosen)
    if not aligned:
        base, changed = alignment.folders
        raise InputError(
            f"The aligned model's weights are the base's ({base}) in every module that the adapter "
            "has, so there is no direction of alignment.",
            remedy="Give the model before its alignment as `base` and after it as `aligned`.",
            file=changed,
        )
