"""Adversarial search: gradient ascent on truth / bound over an instance's own parameters.

:func:`worst_cases` attacks every form of every statement that a table or a quadratic has (T1 to
T12), and of those on answers (T21, T22), each from many starts. The ascent climbs formulas of its
own in JAX; what counts is judged afterwards by the bound that ``theory`` gives and a truth computed
by another path, so that a wrong bound is found out, whichever of the two formulas is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from finebound.base.progress import Progress, silent
from finebound.base.records import spawn_seed
from sims.adversary.answers import Answers
from sims.adversary.ascent import World, ascend
from sims.adversary.balls import Balls, Coins
from sims.adversary.form import Form, Found
from sims.adversary.judge import best
from sims.adversary.mixtures import Mixtures
from sims.adversary.prices import Prices
from sims.adversary.quadratics import Quadratics

WORLDS: tuple[World, ...] = (Mixtures(), Balls(), Coins(), Quadratics(), Prices(), Answers())
FORMS: dict[str, Form] = {form.name: form for world in WORLDS for form in world.forms}
# Forms that no smaller bound of the same kind could replace, and those proved to be looser.
CLAIMED = {name: form for name, form in FORMS.items() if form.sharpest == 1.0}
LOOSE = {name: form for name, form in FORMS.items() if form.sharpest < 1.0}


def worst_cases(
    *,
    seed: int,
    restarts: int = 32,
    steps: int = 1000,
    worlds: Sequence[World] = WORLDS,
    progress: Progress = silent,
) -> dict[str, Found]:
    """For each form the instance that came closest to breaking it, from so many random starts.

    The same seed finds the same instances. Raises ValueError for fewer than 1 restart or step.
    """
    if restarts < 1:
        raise ValueError(f"a search needs at least 1 restart, not {restarts}.")
    found = {}
    for world in progress(list(worlds), "searching for the worst case"):
        found |= _attack(world, seed, restarts, steps)
    return found


def search(
    *,
    seed: int,
    restarts: int = 32,
    steps: int = 1000,
    progress: Progress = silent,
) -> dict[str, float]:
    """The ratios of :func:`worst_cases` alone, for the forms that are claimed tight."""
    found = worst_cases(seed=seed, restarts=restarts, steps=steps, progress=progress)
    return {name: case.ratio for name, case in found.items() if case.claimed}


def _attack(world: World, seed: int, restarts: int, steps: int) -> dict[str, Found]:
    draws = [
        world.draw(np.random.default_rng(spawn_seed(seed, form.name)), form, restarts)
        for form in world.forms
    ]
    starts = {name: np.concatenate([draw[name] for draw in draws]) for name in draws[0]}
    which = np.repeat(np.arange(len(world.forms)), restarts)
    instances, sizes, curve = ascend(world, starts, which, steps)
    found = {}
    for k, form in enumerate(world.forms):
        rows = slice(k * restarts, (k + 1) * restarts)
        attempt = world.attempt(form, {name: v[rows] for name, v in instances.items()})
        history = tuple(float(v) for v in curve[:, rows].max(axis=1))
        found[form.name] = best(form, attempt, sizes[rows], steps=steps, history=history)
    return found
