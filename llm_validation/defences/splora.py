"""SPLoRA (Ao, Dong, Hu, Ramchurn; TACL 2025; arXiv 2506.18931): prune the misaligned modules.

What follows the paper: a module whose update the alignment projector takes far away, by E-DIEM,
loses its whole update. What the released code does instead (``mode="released"``): its null sample
is one distance fifty times, so that the score is rounding noise, and it zeroes *low* scores, all
that are at most the count-th lowest. What is ours: null samples that are samples, high scores
pruned, the count exact, and modules that are really gone from the adapter; the element quartiles
are those of the update at norm 1, as ``z - v_m`` would otherwise fall with the update's size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.base.records import spawn_seed
from llm_validation.defences.cost import MERGED, cost_of
from llm_validation.defences.geometry.diem import ElementQuartiles, e_diem, released_e_diem
from llm_validation.defences.geometry.projector import Contraction, ProjectorKind, overlap
from llm_validation.defences.geometry.quartiles import element_quantiles
from llm_validation.defences.layers import Layer, layers_for
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

NullModel: TypeAlias = Literal["random_update", "across_modules"]
KEEP = 0.8
_COLUMNS = 512  # of random updates, projected at a time
_LEAST_OTHERS = 3
_TIMINGS = 15


@dataclass
class SPLoRA:
    """Prune the modules of the highest E-DIEM from the adapter.

    ``null`` is what a distance is compared with: ``random_update``, the distances of ``draws``
    updates with the module's own singular values and random left singular vectors (the direction
    is tested, not the size), or ``across_modules``, the other modules of the same shape.
    Distances are those of ``C / max(1, |C|_2)``, which is C where C is no larger than a projector:
    above 2 the distance of an aligned update would be the largest. ``mode="released"`` is the
    released code's score and rule. Scores do not depend on the order of modules; a module that the
    alignment did not change has none and is kept.
    """

    selection: Selection = field(default_factory=lambda: Selection(keep=KEEP))
    null: NullModel = "random_update"
    projector: ProjectorKind = "fast"
    mode: Literal["corrected", "released"] = "corrected"
    draws: int = 50
    seed: int = 0
    any_base: bool = False
    device: str = "cpu"

    name = "splora"
    stage: Stage = "after"
    needs = ("alignment",)
    faithfulness = Faithfulness(
        paper="A module whose update the alignment projector takes far away, by E-DIEM, loses "
        "its whole update (arXiv 2506.18931); built from the released code, as the "
        "paper's equations were not available.",
        release="Its null sample is one distance fifty times, so its score is rounding noise; it "
        "zeroes low scores, and more modules than asked for.",
        ours="Null samples that are samples (random updates of the module's own singular "
        "values), high scores pruned, an exact count, modules really gone; the element "
        "quartiles are those of the update at norm 1.",
    )

    @classmethod
    def trials(cls) -> list[Trial]:
        return selections(cls, {"keep": 0.9}, {"keep": 0.8}, {"keep": 0.5})

    def __post_init__(self) -> None:
        if self.draws < 4:
            raise InputError(f"draws is {self.draws}.", remedy="Give at least 4 random updates.")
        self._modules: tuple[ModuleReport, ...] | None = None
        self._chosen: frozenset[str] = frozenset()
        self._details: dict = {}

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs ``adapter`` and ``alignment``. Raises InputError as ``layers`` and ``choose``."""
        seen, scores, distances, quartiles = [], {}, {}, {}
        for layer in layers_for(self, evidence, progress):
            name = layer.module.name
            seen.append(layer.report())
            if not layer.comparable:
                scores[name] = math.nan
            elif self.mode == "released":
                scores[name] = _released_score(layer)
            else:
                contraction = Contraction(layer.projector)
                projected = contraction.times(layer.b)
                found = overlap(layer.b, projected, layer.gram_a, layer.module.scaling)
                # At norm 1: z has no unit, so what is taken off it must have none.
                unit = layer.module.scaling / found.norm
                quartiles[name] = element_quartiles(unit * projected, unit * layer.b, layer.a)
                distances[name] = (layer.module.shape, found.distance)
                if self.null == "random_update":
                    sample = random_update_excesses(layer, draws=self.draws, seed=self.seed)
                    scores[name] = e_diem(found.excess, sample, quartiles[name])
        if self.mode == "corrected" and self.null == "across_modules":
            scores |= _across_modules(distances, quartiles)
        self._chosen = self._choose(scores)
        self._modules = tuple(
            replace(module, score=scores[module.name], changed=module.name in self._chosen)
            for module in seen
        )

    def apply(self, subject: LoraAdapter) -> LoraAdapter:
        """The adapter without the chosen modules (``released``: with their B zero, as there)."""
        fitted(self._modules, self.name)
        if self.mode == "released":
            zeroed = (m for m in subject.modules if m.name in self._chosen)
            left = subject.replaced(replace(m, b=torch.zeros_like(m.b)) for m in zeroed)
        else:
            left = subject.without(self._chosen)
        before, after = (cost_of(one, repeats=_TIMINGS).to_dict() for one in (subject, left))
        self._details = {"cost": {"before": before, "after": after}}
        return left

    def report(self) -> Report:
        modules = fitted(self._modules, self.name)
        notes = [MERGED] if self.mode == "corrected" else [_RELEASED]
        if self.mode == "corrected":
            large = sum(m.projector_norm > 1.0 for m in modules)
            if large and self.projector == "fast":
                notes.append(
                    f"The fast projector's norm is above 1 in {large} of {len(modules)} modules, "
                    "where a distance can grow with agreement: scores are those of C / |C|."
                )
        settings = {
            **self.selection.as_dict(),
            "null": self.null,
            "projector": self.projector,
            "mode": self.mode,
            "draws": self.draws,
            "seed": self.seed,
        }
        return Report(self.name, self.stage, settings, modules, tuple(notes), self._details)

    def _choose(self, scores: Mapping[str, float]) -> frozenset[str]:
        if self.mode == "corrected":
            return self.selection.choose(scores, highest=True)
        rule = self.selection
        if rule.threshold is None:
            ranked = sorted(score for score in scores.values() if not math.isnan(score))
            wanted = rule.wanted(len(scores))
            if not 0 < wanted <= len(ranked):
                return frozenset()
            rule = Selection(threshold=ranked[wanted - 1])
        return rule.choose(scores, highest=False)


_RELEASED = (
    "Released mode reproduces the released code for comparison: its score is rounding noise, it "
    "prunes low scores and more modules than asked for on ties, and leaves zeros in the adapter."
)


def random_update_excesses(layer: Layer, *, draws: int, seed: int) -> np.ndarray:
    """``|C R - R|_F - |R|_F`` of random updates R of the layer's size, ``[draws]``.

    R has the update's singular values and left singular vectors drawn uniformly; the right ones do
    not matter to the distance. The numbers depend on ``seed`` and the module's name only.
    """
    values = _singular_values(layer)
    rank, d_out = len(values), len(layer.b)
    projector = Contraction(layer.projector)
    rng = np.random.default_rng(spawn_seed(seed, layer.module.name))
    weights = torch.diag(values.double().square()).to(layer.b.device)
    found = []
    at_once = max(1, _COLUMNS // rank)
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        drawn = rng.standard_normal((count, d_out, rank), dtype=np.float32)
        left = torch.linalg.qr(torch.from_numpy(drawn))[0].to(layer.b.device)
        columns = left.permute(1, 0, 2).reshape(d_out, -1)
        images = projector.times(columns).reshape(d_out, count, rank)
        for k in range(count):
            found.append(overlap(left[k], images[:, k], weights, layer.module.scaling).excess)
    return np.array(found)


def _singular_values(layer: Layer) -> Tensor:
    """Of ``B A``, at most ``min(r, d_out, d_in)``, from the triangular factors of both sides."""
    left = torch.linalg.qr(layer.b.double(), mode="r")[1]
    right = torch.linalg.qr(layer.a.double().mT, mode="r")[1]
    values = torch.linalg.svdvals(left @ right.mT)
    return values[: min(values.numel(), *layer.module.shape)]


def element_quartiles(projected: Tensor, b: Tensor, a: Tensor) -> ElementQuartiles:
    """Of the elements of ``C B A`` and ``B A``, from ``C B``, ``B`` ``[d_out, r]`` and ``A``."""
    first, third = element_quantiles(projected, a, (0.25, 0.75))
    (own,) = element_quantiles(b, a, (0.25,))
    return ElementQuartiles(first, third, own)


def _released_score(layer: Layer) -> float:
    """By the released code, which forgets the scale ``alpha / r``."""
    found = overlap(layer.b, layer.projected, layer.gram_a)
    return released_e_diem(found.distance, element_quartiles(layer.projected, layer.b, layer.a))


def _across_modules(
    distances: Mapping[str, tuple[tuple[int, int], float]],
    quartiles: Mapping[str, ElementQuartiles],
) -> dict[str, float]:
    """Each module's E-DIEM beside the distances of the other modules of its shape."""
    found = {}
    for name, (shape, own) in distances.items():
        others = sorted(d for m, (s, d) in distances.items() if s == shape and m != name)
        if len(others) < _LEAST_OTHERS:
            raise InputError(
                f"{name} {list(shape)} has {len(others)} other modules of its shape, too few to "
                "compare it with.",
                remedy="Use the null model random-update.",
            )
        found[name] = e_diem(own, others, quartiles[name])
    return found
