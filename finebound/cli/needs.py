"""GPU memory and time of a fine-tune as a table: of a model's shape, by the way it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from finebound.views.tables import Table

if TYPE_CHECKING:
    from llm_validation.models.footprint import Shape

GPU_BYTES, GPU_FLOPS, SHARE = 80e9, 989e12, 0.4
"""Memory and dense bfloat16 operations per second of an H100, and the share of them that a
fine-tune is assumed to reach."""


def needs(shape: Shape, *, rows: int, length: int) -> Iterator[dict[str, Any]]:
    """One entry per way to train, without and with activation checkpointing; numbers in bytes.

    Raises InputError for a micro-batch without a token.
    """
    from llm_validation.models.footprint import WAYS, footprint

    for name, (trained, base) in WAYS.items():
        for checkpointing in (False, True):
            found = footprint(
                shape,
                trained=trained,
                base=base,
                rows=rows,
                length=length,
                checkpointing=checkpointing,
            )
            seconds = found.operations / (GPU_FLOPS * SHARE)
            yield {
                "method": name,
                "checkpointing": checkpointing,
                **asdict(found),
                "total": found.total,
                "gpus": found.gpus(GPU_BYTES),
                "seconds_per_million_tokens": 1e6 * seconds / (rows * length),
            }


PARTS = ("weights", "gradients", "optimiser", "casts", "activations", "logits", "total")


def needs_table(
    title: str, found: list[dict[str, Any]], *, parts: tuple[str, ...] = PARTS
) -> Table:
    """The entries of ``needs`` for a reader, ``parts`` of them in GB of 10^9 bytes."""
    return Table(
        name="needs",
        title=title,
        columns=(
            "method",
            "checkpointing",
            *(f"{column}, GB" for column in parts),
            "80 GB GPUs",
            "minutes per million tokens",
        ),
        rows=tuple(
            (
                entry["method"],
                "yes" if entry["checkpointing"] else "no",
                *(f"{entry[column] / 1e9:.1f}" for column in parts),
                "does not fit" if entry["gpus"] is None else str(entry["gpus"]),
                f"{entry['seconds_per_million_tokens'] / 60:.3g}",
            )
            for entry in found
        ),
    )
