"""RESTA (arXiv 2402.11746): add the safety vector, ``theta + alpha (W_aligned - W_base)``.

The paper's vector is that of an aligned and an unaligned model; which pair it is, is the caller's
choice of alignment. It changes every weight; as an adapter it is kept up to a rank in every linear
module that plain PEFT adapts: exactly where the alignment was a LoRA of at most that rank. Else the
share kept of the vector's length over all weights is reported, and what no adapter holds (experts
in one parameter, embeddings, norms) by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.defences.factors import with_added
from llm_validation.defences.geometry.spectrum import LowRank, frobenius_norm, low_rank
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
from llm_validation.defences.trials import Trial, sweep

ALPHA, RANK = 0.5, 64
_SHOWN = 6


@dataclass
class Resta:
    """Add ``alpha`` times the alignment to the fine-tune, of at most ``rank`` a module."""

    alpha: float = ALPHA
    rank: int = RANK
    any_base: bool = False
    device: str = "cpu"

    name = "resta"
    stage: Stage = "after"
    needs = ("alignment",)
    faithfulness = Faithfulness(
        paper="theta + alpha (W_aligned - W_base) (arXiv 2402.11746).",
        ours="The vector is that of the experiment's alignment, and as an adapter it is kept "
        "up to a rank in linear modules; the share that is kept is reported. The paper's "
        "DARE sparsification is left out.",
    )

    @classmethod
    def trials(cls) -> list[Trial]:
        return sweep(cls, "alpha", 0.25, 0.5, 1.0, option=True)

    def __post_init__(self) -> None:
        if not math.isfinite(self.alpha) or self.rank < 1:
            raise InputError(
                f"alpha is {self.alpha} and rank {self.rank}.",
                remedy="Give a finite alpha and a rank from 1.",
            )
        self._modules: tuple[ModuleReport, ...] | None = None
        self._vectors: dict[str, tuple[LowRank, tuple[int, int]]] = {}
        self._kept = math.nan
        self._added = 0
        self._left_out: dict[str, float] = {}

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs ``adapter`` and ``alignment``. Raises InputError as ``layers``."""
        seen = [layer.report() for layer in layers_for(self, evidence, progress)]
        adapter = evidence.need("adapter", self.name)
        alignment = evidence.need("alignment", self.name)
        modules = (*adapter.modules, *alignment.others(adapter))
        whole, kept, vectors = [], [], {}
        for module in progress(modules, "factoring the alignment"):
            v = alignment.difference(module).to(self.device)
            found = low_rank(v, alignment.rounding(module))
            if found.rank:
                part = LowRank(found.u[:, : self.rank], found.s[: self.rank], found.vt[: self.rank])
                vectors[module.name] = (part, module.shape)
                whole.append(frobenius_norm(v) ** 2)
                kept.append(float(part.s.double().square().sum()))
        left_out = {
            name: squared
            for name, squared in alignment.unheld([m.name for m in modules])
            if squared > 0.0
        }
        total = math.fsum(whole) + math.fsum(left_out.values())
        self._kept = math.sqrt(min(math.fsum(kept) / total, 1.0))
        self._left_out = _by_kind(left_out, total)
        self._added = len(vectors.keys() - set(adapter.names))
        self._vectors = vectors
        self._modules = tuple(replace(m, changed=m.name in vectors) for m in seen)

    def apply(self, subject: LoraAdapter) -> LoraAdapter:
        """The adapter with the vector added, in more modules than it had where those have one."""
        fitted(self._modules, self.name)
        empty = {m.name: m for m in subject.modules}
        made = []
        for name, (vector, shape) in self._vectors.items():
            own = empty.get(name) or _empty(name, shape, subject)
            made.append(with_added(own, self.alpha * vector.u * vector.s, vector.vt))
        changed = subject.replaced(made)
        new = [m for m in made if m.name not in empty]
        return replace(changed, modules=(*changed.modules, *new))

    def report(self) -> Report:
        modules = fitted(self._modules, self.name)
        notes = []
        if self._added:
            notes.append(f"{self._added} modules were added to the adapter for the vector.")
        if self._left_out:
            shown = list(self._left_out.items())[:_SHOWN]
            named = ", ".join(f"{name} ({share:.1%} of the length)" for name, share in shown)
            more = len(self._left_out) - len(shown)
            notes.append(
                f"Left out, as no LoRA that plain PEFT loads holds them: {named}"
                + (f" and {more} kinds more." if more else ".")
            )
        if self._kept < 0.999:
            notes.append(
                f"The adapter holds {self._kept:.1%} of the vector's length; the whole of it "
                "changes every weight and fits no adapter of this rank."
            )
        settings = {"alpha": self.alpha, "rank": self.rank}
        details = {"kept": self._kept, "left_out": self._left_out}
        return Report(self.name, self.stage, settings, modules, tuple(notes), details)


def _by_kind(squares: Mapping[str, float], total: float) -> dict[str, float]:
    """Share of the length by name without the blocks' numbers, the largest first."""
    sums: dict[str, float] = {}
    for name, square in squares.items():
        kind = re.sub(r"\.\d+\.", ".*.", name)
        sums[kind] = sums.get(kind, 0.0) + square
    shares = {kind: math.sqrt(square / total) for kind, square in sums.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _empty(name: str, shape: tuple[int, int], like: LoraAdapter) -> LoraModule:
    """A module of rank 0, of the adapter's type and scaling."""
    first = like.modules[0]
    a, b = first.a.new_zeros(0, shape[1]), first.b.new_zeros(shape[0], 0)
    return replace(first, name=name, a=a, b=b, scaling=first.scaling or 1.0)
