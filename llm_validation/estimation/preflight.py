"""What an estimate needs, checked in seconds before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from finebound.base.checks import Checks
from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.results.audit import RowLengths
from llm_validation.data.dataset import Dataset

if TYPE_CHECKING:
    from llm_validation.data.encoding import Encoding
    from llm_validation.estimation.request import Request
    from llm_validation.models.loading import LoadedModel


@dataclass(frozen=True)
class Encodable:
    """What the model's tokenizer and template make of the rows that the model is measured on.

    ``notes`` are whole sentences by role, ``template`` the faults of the chat template, and
    ``lengths`` those of the task's rows in tokens.
    """

    notes: Mapping[str, tuple[str, ...]]
    template: tuple[str, ...]
    lengths: RowLengths | None


def token_limit(loaded: LoadedModel, max_length: int | None) -> int:
    """``max_length``, or the model's context. Raises InputError for more than the context."""
    if max_length is not None and max_length > loaded.context_length:
        raise InputError(
            f"`max_length` is {max_length}, longer than the model's context.",
            remedy=f"Give at most {loaded.context_length} tokens.",
        )
    return loaded.context_length if max_length is None else max_length


def encodable(
    loaded: LoadedModel,
    sample: Mapping[str, Dataset],
    request: Request,
    *,
    checks: Checks,
    progress: Progress = silent,
) -> Encodable:
    """Encode every role's rows once; faults of all roles are raised together."""
    from llm_validation.data.encoding import encode_noted
    from llm_validation.data.templates import template_faults

    limit = token_limit(loaded, request.max_length)
    found: dict[str, Encoding] = {}

    def encode(role: str, dataset: Dataset) -> None:
        found[role] = encode_noted(
            dataset,
            loaded.tokenizer,
            max_length=limit,
            on_long=request.on_long,
            turns=request.turns,
        )

    for role, dataset in progress(list(sample.items()), "checking rows against the template"):
        checks.run(lambda role=role, dataset=dataset: encode(role, dataset))
    checks.require()
    task = found.get("task")
    return Encodable(
        notes={role: encoding.notes for role, encoding in found.items()},
        template=template_faults(loaded.tokenizer),
        lengths=None if task is None else _lengths(task, limit),
    )


def _lengths(encoding: Encoding, limit: int) -> RowLengths:
    tokens = [len(row) for row in encoding.rows]
    return RowLengths(
        unit="tokens",
        rows=len(tokens),
        median=float(np.median(tokens)),
        high=float(np.percentile(tokens, 99)),
        longest=max(tokens),
        limit=limit,
        over=len(encoding.dropped) + len(encoding.cut),
    )
