"""Safe LoRA (Hsu et al., NeurIPS 2024, arXiv 2405.16833): project updates on the alignment.

Follows the paper: where ``cos(C B A, B A)`` is at most tau (published: 0.5), or in the n modules
of lowest cosine (published: 10), ``B <- C B``. The release's "number" mode changes modules in a
first pass at a threshold of 0.3 already; here the count is the count. The exact projector is ours:
with the fast form a projected update is also scaled by up to ``|C|_2``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor

from finebound.base.progress import Progress, silent
from llm_validation.defences.geometry.projector import ProjectorKind
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
from llm_validation.defences.selection import Selection
from llm_validation.defences.trials import Trial, selections

TAU = 0.5


@dataclass
class SafeLora:
    """Project the updates that agree least with the alignment. A module without any alignment
    (``V = 0``) has no cosine and is left as it is."""

    selection: Selection = field(default_factory=lambda: Selection(threshold=TAU))
    projector: ProjectorKind = "fast"
    any_base: bool = False
    device: str = "cpu"

    name = "safe-lora"
    stage: Stage = "after"
    needs = ("alignment",)
    faithfulness = Faithfulness(
        paper="Where cos(C B A, B A) is at most tau (0.5), or in the n modules of lowest "
        "cosine, B becomes C B (arXiv 2405.16833).",
        release="Its number mode changes modules in a first pass at a threshold of 0.3 already.",
        ours="The count is the count. The exact projector is offered too: the fast one also "
        "scales what it projects by up to |C|_2.",
    )

    @classmethod
    def trials(cls) -> list[Trial]:
        return selections(cls, {"threshold": TAU}, {"keep": 0.8}, {"keep": 0.5})

    def __post_init__(self) -> None:
        self._modules: tuple[ModuleReport, ...] | None = None
        self._projected: dict[str, Tensor] = {}

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs ``adapter`` and ``alignment``. Raises InputError as ``layers`` and ``choose``."""
        seen, projected = [], {}
        for layer in layers_for(self, evidence, progress):
            seen.append(layer.report(score=layer.cosine))
            projected[layer.module.name] = layer.projected.to(layer.module.b)
        chosen = self.selection.choose({m.name: m.score for m in seen}, highest=False)
        self._modules = tuple(replace(m, changed=m.name in chosen) for m in seen)
        self._projected = {name: projected[name] for name in chosen}

    def apply(self, subject: LoraAdapter) -> LoraAdapter:
        """The adapter with ``C B`` in place of ``B`` in the chosen modules."""
        fitted(self._modules, self.name)
        return subject.replaced(
            replace(m, b=self._projected[m.name])
            for m in subject.modules
            if m.name in self._projected
        )

    def report(self) -> Report:
        modules = fitted(self._modules, self.name)
        norms = [m.projector_norm for m in modules if m.changed]
        notes = []
        if self.projector == "fast" and any(norm < 0.1 for norm in norms):
            notes.append(
                f"The fast projector's norm is below 0.1 in {sum(n < 0.1 for n in norms)} changed "
                "modules: projecting there nearly removes the update. The exact one keeps its size."
            )
        if self.projector == "fast" and any(norm > 1.0 for norm in norms):
            notes.append(
                f"The fast projector's norm is above 1 in {sum(n > 1.0 for n in norms)} changed "
                "modules: projecting there can enlarge the update. The exact one does not."
            )
        settings = {**self.selection.as_dict(), "projector": self.projector}
        return Report(self.name, self.stage, settings, modules, tuple(notes))
