"""The alignment itself as an adapter: the safe adapter of an experiment that has trained none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from finebound.base.errors import InputError
from llm_validation.defences.alignment import Alignment
from llm_validation.defences.geometry.spectrum import low_rank
from llm_validation.defences.lora_file import LoraAdapter, LoraModule

RANK = 64


def alignment_as_adapter(alignment: Alignment, like: LoraAdapter, *, folder: Path) -> LoraAdapter:
    """``V = W_aligned - W_base`` in the modules of ``like``, each of at most rank 64.

    A merge with it goes on in the direction in which the model was aligned, with no further
    training. Raises InputError when the alignment changed none of those modules.
    """
    found = []
    for module in like.modules:
        part = low_rank(alignment.difference(module), alignment.rounding(module))
        kept = min(part.rank, RANK)
        if kept:
            b = part.u[:, :kept] * part.s[:kept]
            found.append(LoraModule(module.name, part.vt[:kept].contiguous(), b, 1.0))
    if not found:
        raise InputError(
            "the alignment changed none of the modules that the fine-tune adapts, so there is no "
            "safe adapter.",
            remedy="Align modules that the fine-tune adapts too.",
            file=like.folder,
        )
    return replace(like, folder=folder, modules=tuple(found))
