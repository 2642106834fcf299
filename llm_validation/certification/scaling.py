"""One adapter at several scales: ``theta_s + alpha (theta - theta_s)``.

A forward sweep over the scales on stored answers to probes that steer (T22) says which scales are
worth asking. These probes certify nothing, so the choice looks at no probe that does (T24).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from finebound.base.errors import InputError
from finebound.results.certificate import StoredCheck
from llm_validation.certification.asked import Asking
from llm_validation.certification.budgets import Budget
from llm_validation.certification.labels import safe_answers
from llm_validation.defences.lora_file import LoraAdapter
from llm_validation.defences.repair import write_adapter
from llm_validation.evaluation.hazards.layouts import Probe
from llm_validation.forecast.stored_answers import kept_answers
from llm_validation.models.loading import LoadedModel
from theory.certificates.importance import (
    clipped_rate,
    clipped_rate_lower,
    effective_sample_size,
)

SCALES = tuple(step / 10 for step in range(11))
CLIP = 2.0
"""Largest weight of a stored answer; fixed beforehand, as T22 asks for."""
_STEERING = 5  # one probe in so many steers
_KEPT = (0.25, 0.5, 1.0)  # shares of the budget that the sweep looks for
MOST_ASKED = len(_KEPT) + 1
"""Scales that are asked at most."""
ADAPTER = "adapter"
"""The folder of the scaled adapter, beside its certificate."""


def checked_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """The scales, rising, without 0: there the adapter does nothing. Raises InputError."""
    given = tuple(scales) or SCALES
    rising = all(first < then for first, then in pairwise(given))
    if not rising or not all(0.0 <= scale < math.inf for scale in given) or given[-1] == 0.0:
        raise InputError(
            f"`scales` are {', '.join(f'{scale:g}' for scale in given)}.",
            remedy="Give rising numbers from 0, the whole adapter being 1.",
        )
    return tuple(scale for scale in given if scale > 0.0)


def name_of(scale: float) -> str:
    """What a scale is called in the certificate."""
    return f"scale {scale:g}"


@contextmanager
def at_scale(loaded: LoadedModel, scale: float) -> Iterator[LoadedModel]:
    """The model with the update of its LoRA multiplied, inside; then as it was."""
    from peft.tuners.lora import LoraLayer

    layers = [module for module in loaded.model.modules() if isinstance(module, LoraLayer)]
    before = [dict(layer.scaling) for layer in layers]
    try:
        for layer, own in zip(layers, before, strict=True):
            layer.scaling.update({name: scale * value for name, value in own.items()})
        yield loaded
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.scaling.update(own)


def write_scaled(folder: Path, adapter: LoraAdapter, scale: float) -> None:
    """Write the adapter at a scale into ``folder``'s own folder for it: only its alpha changes."""
    written = replace(
        adapter,
        config={**adapter.config, "lora_alpha": scale * adapter.config["lora_alpha"]},
        modules=tuple(replace(m, scaling=scale * m.scaling) for m in adapter.modules),
    )
    (folder / ADAPTER).mkdir()
    write_adapter(folder / ADAPTER, written)


def split_probes(probes: Sequence[Probe]) -> tuple[list[Probe], list[Probe]]:
    """Probes that steer, one in five of each kind by their place, and those that certify."""
    steering: set[int] = set()
    for harmful in (True, False):
        places = [n for n, probe in enumerate(probes) if probe.harmful == harmful]
        steering |= set(places[_STEERING - 1 :: _STEERING])
    return (
        [probe for n, probe in enumerate(probes) if n in steering],
        [probe for n, probe in enumerate(probes) if n not in steering],
    )


def sweep(
    reference: LoadedModel,
    tuned: LoadedModel,
    scales: Sequence[float],
    budgets: Sequence[Budget],
    *,
    asking: Asking,
    confidence: float,
) -> tuple[list[StoredCheck], list[float]]:
    """What stored answers say of every scale, and the scales that are worth asking, rising.

    Worth asking are the largest scales whose estimated loss is at most a quarter, a half and all of
    every budget, and the one after them; the smallest where none is. ``asking`` has the probes that
    steer; its temperature is 1.
    """
    answered, texts = asking.answers(reference, reference.name)
    stored = kept_answers(reference, asking.probes, texts)
    kept = np.array([bool(text) for text in texts])
    harmful = answered.harmful == 1
    safe, _ = safe_answers(answered.said, harmful)
    checks: list[StoredCheck] = []
    losses = np.zeros((len(scales), len(budgets)))
    for row, scale in enumerate(asking.progress(scales, "scales on stored answers")):
        weights = np.full(len(texts), -np.inf)  # what was not stored counts as never given
        with at_scale(tuned, scale):
            likelihood = stored.likelihoods(tuned.model, pad_id=tuned.pad_id)
        weights[kept] = likelihood - stored.log_likelihood
        for column, budget in enumerate(budgets):
            mine = budget.probes(harmful)
            if not mine.any():
                continue
            of, before = weights[mine], safe[mine].astype(float)
            estimate = clipped_rate(of, before, CLIP)
            losses[row, column] = (before.mean() - estimate) / budget.share
            checks.append(
                StoredCheck(
                    candidate=name_of(scale),
                    of=budget.of,
                    n=int(mine.sum()),
                    safe_estimate=estimate,
                    safe_lower=clipped_rate_lower(of, before, CLIP, confidence),
                    safe_before=float(before.mean()),
                    effective=effective_sample_size(of),
                    asked=False,
                )
            )
    worth = worth_asking(losses.max(axis=1))
    names = {name_of(scales[place]) for place in worth}
    return (
        [check.model_copy(update={"asked": check.candidate in names}) for check in checks],
        [scales[place] for place in worth],
    )


def worth_asking(losses: np.ndarray) -> list[int]:
    """Places of the scales to ask, by their estimated losses ``[n]`` as shares of the budget."""
    below = [np.flatnonzero(losses <= kept) for kept in _KEPT]
    last = [int(places[-1]) for places in below if places.size]
    if not last:
        return [0]
    return sorted({*last, min(last[-1] + 1, len(losses) - 1)})
