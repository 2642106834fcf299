"""SafeMERGE (arXiv 2503.17239): mix in a safe adapter where the fine-tune left the alignment.

Follows the paper: where ``cos(C dW, dW)`` is below 0.35 the module's update becomes
``0.8 dW + 0.2 dW_safe``, with a safe adapter tuned on safety data from the same model. Ours: the
mix is that of the updates, exactly, as one adapter of the summed rank; averaging the factors, as
adapter arithmetic often does, would add products of the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.defences.factors import scaled, with_added
from llm_validation.defences.geometry.projector import ProjectorKind
from llm_validation.defences.layers import layers_for
from llm_validation.defences.lora_file import LoraAdapter, LoraModule
from llm_validation.defences.protocol import (
    Evidence,
    Faithfulness,
    ModuleReport,
    Report,
    Stage,
    fitted,
)
from llm_validation.defences.selection import Selection
from llm_validation.defences.trials import Trial, selections

TAU, WEIGHT = 0.35, 0.8


@dataclass
class SafeMerge:
    """Mix the modules of low cosine: ``weight`` of the fine-tune, the rest of the safe adapter."""

    selection: Selection = field(default_factory=lambda: Selection(threshold=TAU))
    weight: float = WEIGHT
    projector: ProjectorKind = "fast"
    any_base: bool = False
    device: str = "cpu"

    name = "safe-merge"
    stage: Stage = "after"
    needs = ("alignment", "safe_adapter")
    faithfulness = Faithfulness(
        paper="Where cos(C dW, dW) is below 0.35, dW becomes 0.8 dW + 0.2 dW_safe (arXiv "
        "2503.17239).",
        ours="The mix is that of the updates, as one adapter of the summed rank: averaging the "
        "factors would add products of the two.",
    )

    @classmethod
    def trials(cls) -> list[Trial]:
        return selections(cls, {"threshold": TAU}, {"keep": 0.5}, {"keep": 0.0})

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight <= 1.0:
            raise InputError(
                f"the weight of the fine-tune is {self.weight}.", remedy="Give a number of [0, 1]."
            )
        self._modules: tuple[ModuleReport, ...] | None = None
        self._safe: dict[str, LoraModule] = {}
        self._chosen: frozenset[str] = frozenset()

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs ``adapter``, ``alignment`` and ``safe_adapter``.

        Raises InputError as ``layers`` and ``choose``, and when the safe adapter's modules are of
        other shapes. A module that the safe adapter does not have counts as zero there.
        """
        adapter = evidence.need("adapter", self.name)
        safe: LoraAdapter = evidence.need("safe_adapter", self.name)
        shapes = {module.name: module.shape for module in adapter.modules}
        self._safe = {module.name: module for module in safe.modules}
        for name in shapes.keys() & self._safe.keys():
            if shapes[name] != self._safe[name].shape:
                raise InputError(
                    f"The safe adapter's {name} is {list(self._safe[name].shape)}, the fine-tune's "
                    f"{list(shapes[name])}: they are of different bases.",
                    remedy="Give a safe adapter of the same base model.",
                    file=safe.folder,
                )
        if not shapes.keys() & self._safe.keys():
            raise InputError(
                "The safe adapter and the fine-tune have no module in common.",
                remedy="Tune the safe adapter with the same target modules.",
                file=safe.folder,
            )
        seen = [layer.report(score=layer.cosine) for layer in layers_for(self, evidence, progress)]
        self._chosen = self.selection.choose({m.name: m.score for m in seen}, highest=False)
        self._modules = tuple(replace(m, changed=m.name in self._chosen) for m in seen)

    def apply(self, subject: LoraAdapter) -> LoraAdapter:
        """The adapter with mixed updates in the chosen modules."""
        fitted(self._modules, self.name)
        return subject.replaced(self._mixed(m) for m in subject.modules if m.name in self._chosen)

    def report(self) -> Report:
        modules = fitted(self._modules, self.name)
        settings = {**self.selection.as_dict(), "weight": self.weight, "projector": self.projector}
        return Report(self.name, self.stage, settings, modules)

    def _mixed(self, module: LoraModule) -> LoraModule:
        own = scaled(module, self.weight)
        safe = self._safe.get(module.name)
        if safe is None:
            return own
        return with_added(own, (1.0 - self.weight) * safe.scaling * safe.b.float(), safe.a.float())
