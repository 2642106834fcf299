"""LoRA scaling (WiSE-FT, arXiv 2109.01903): ``theta_s + alpha (theta - theta_s)``.

Case II's radius applied afterwards: every update is multiplied by one factor, given as ``alpha``
or as the largest Frobenius norm ``radius`` that all updates together may have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.defences.factors import scaled, squared_norm
from llm_validation.defences.layers import layers_for
from llm_validation.defences.lora_file import LoraAdapter
from llm_validation.defences.protocol import (
    Evidence,
    Faithfulness,
    ModuleReport,
    Report,
    Stage,
    fitted,
)
from llm_validation.defences.trials import Trial, sweep

ALPHA = 0.5


@dataclass
class LoraScaling:
    """Shrink the whole update: by ``alpha`` (default 0.5), or into a ball of ``radius``."""

    alpha: float | None = None
    radius: float | None = None
    any_base: bool = False
    device: str = "cpu"

    name = "lora-scaling"
    stage: Stage = "after"
    faithfulness = Faithfulness(
        paper="theta_s + alpha (theta - theta_s), as WiSE-FT interpolates (arXiv 2109.01903).",
        ours="Applied to an adapter's update, where it is Case II's radius afterwards; alpha "
        "has no published value for safety, so several are tried.",
    )

    @classmethod
    def trials(cls) -> list[Trial]:
        return sweep(cls, "alpha", 0.25, 0.5, 0.75, option=True)

    def __post_init__(self) -> None:
        if self.alpha is not None and self.radius is not None:
            raise InputError("alpha and radius exclude each other.", remedy="Give one of them.")
        for name, value in (("alpha", self.alpha), ("radius", self.radius)):
            if value is not None and not 0.0 < value < math.inf:
                raise InputError(f"{name} is {value}.", remedy="Give a number greater than 0.")
        self._factor: float | None = None
        self._modules: tuple[ModuleReport, ...] = ()
        self._norm = math.nan

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs ``adapter``; with ``alignment`` the report has the modules' distances."""
        adapter = evidence.need("adapter", self.name)
        self._norm = math.sqrt(math.fsum(squared_norm(module) for module in adapter.modules))
        factor = ALPHA if self.alpha is None else self.alpha
        if self.radius is not None:
            factor = min(1.0, self.radius / self._norm)
        self._factor = factor
        if evidence.alignment is None:
            nothing = (math.nan, math.nan, math.nan)
            seen = [ModuleReport(name, *nothing, math.nan, False) for name in adapter.names]
        else:
            seen = [layer.report() for layer in layers_for(self, evidence, progress)]
        self._modules = tuple(replace(m, score=factor, changed=factor != 1.0) for m in seen)

    def apply(self, subject: LoraAdapter) -> LoraAdapter:
        """The adapter with every B multiplied by the factor."""
        factor = fitted(self._factor, self.name)
        if factor == 1.0:
            return subject
        return subject.replaced(scaled(module, factor) for module in subject.modules)

    def report(self) -> Report:
        factor = fitted(self._factor, self.name)
        settings = {"factor": factor, "radius": self.radius}
        displacement = {"before": self._norm, "after": factor * self._norm}
        return Report(
            self.name, self.stage, settings, self._modules, details={"displacement": displacement}
        )
