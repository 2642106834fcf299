"""What the modules of an adapter cost when it is not merged: parameters, operations, time."""

from __future__ import annotations

import time

import torch

from finebound.results.tradeoff import AdapterCost
from llm_validation.defences.lora_file import LoraAdapter

MERGED = (
    "The saving is that of the unmerged adapter; after merging every model has the base's "
    "operations and the saving is zero."
)


_TOKENS = 128


def cost_of(adapter: LoraAdapter, *, repeats: int) -> AdapterCost:
    """Trained numbers, operations a token ``2 r (d_in + d_out)``, and the least time of several.

    Other work on the machine disturbs the least of ``repeats`` times least.
    """
    parameters = sum(module.rank * sum(module.shape) for module in adapter.modules)
    _run(adapter)  # the first is slower than all others
    return AdapterCost(
        modules=len(adapter.modules),
        parameters=parameters,
        flops_per_token=2 * parameters,
        milliseconds=1e3 * min(_run(adapter) for _ in range(repeats)),
    )


@torch.no_grad()
def _run(adapter: LoraAdapter) -> float:
    """Seconds of ``x -> scaling B (A x)`` in every module, for float32 rows ``[128, d_in]``."""
    inputs = {d: torch.ones(_TOKENS, d) for d in {m.shape[1] for m in adapter.modules}}
    factors = [(m.a.float(), m.b.float(), m.scaling) for m in adapter.modules]
    start = time.perf_counter()
    for a, b, scaling in factors:
        torch.mul((inputs[a.shape[1]] @ a.mT) @ b.mT, scaling)
    return time.perf_counter() - start
