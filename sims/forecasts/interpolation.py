"""What an estimate reads off few unrolls, against fine-tunes that were really made so.

A smaller rate, fewer steps: the coarse path as far as its summed rate is that share, or its end's
change scaled by it. A smaller share of safety rows: weights on the straight span between the plain
end and the end with ``MIX`` of safety rows. Last the plan itself, by wider clips of the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sims.forecasts.designs import Design, Plan, cut
from sims.forecasts.lab import Job, Lab
from sims.forecasts.sweep import Sizes, drawn_plans, mean, repeated
from sims.forecasts.unroll import CLIP
from sims.forecasts.world import Measured

SHAPE = (128, 8)
COST = 0.05
"""Share of the plan's rows that a coarse unroll sees: one a step, or one of either data."""
CUTS = (0.25, 0.5, 0.75)
MIX = 0.1
SPANS = (0.3, 0.6, 1.0)
_UNSEEN = 1 << 29


@dataclass(frozen=True, eq=False)
class Read:
    """What ``way`` says of a fine-tune ``what`` by ``amount``: changes beside the true ones."""

    what: str
    amount: float
    way: str
    said: Measured
    truth: Measured
    again: Measured


def interpolations(lab: Lab, sizes: Sizes, seed: int, design: Design) -> Iterator[Read]:
    """Of plans of ``SHAPE``: a coarse unroll by ``design``, and true fine-tunes of other rows."""
    plans = drawn_plans(np.random.default_rng(seed), sizes, SHAPE)
    steps, batch = SHAPE
    coarse_steps = int(COST * steps * batch)
    start = lab.start[[plan.world for plan in plans]]

    def coarse(share: float = 1.0, mix: float = 0.0, clip: float = CLIP) -> np.ndarray:
        many = coarse_steps // 2 if mix else coarse_steps
        jobs = [
            Job(plan, cut(design.optimiser(plan, many, 1), share), mix, draw=i)
            for i, plan in enumerate(plans)
        ]
        return lab.ends(jobs, many, 1, paired=mix > 0.0, clip=clip)

    def true(of: Sequence[Plan], safety_share: float = 0.0) -> tuple[Measured, Measured]:
        ends = repeated(lab, of, sizes.repeats + 1, safety_share=safety_share)
        *first, again = (lab.changes(of, end) for end in ends)
        return mean(first), again

    plain, mixed = coarse(), coarse(mix=MIX)
    # Fine-tunes of rows that no truth sees: what interpolating costs without coarse steps.
    exact, exact_mixed = (
        lab.ends([Job.true(p, _UNSEEN + i, share) for i, p in enumerate(plans)], steps, batch)
        for share in (0.0, MIX)
    )

    def reads(
        what: str, amount: float, of: Sequence[Plan], ways: dict[str, np.ndarray], mix: float = 0.0
    ) -> Iterator[Read]:
        truth, again = true(of, mix)
        for way, theta in ways.items():
            yield Read(what, amount, way, lab.changes(plans, theta), truth, again)

    for share in CUTS:
        ways = {
            "path": coarse(share),
            "scaled end": start + share * (plain - start),
            "scaled true end": start + share * (exact - start),
        }
        slower = [replace(plan, rate=share * plan.rate) for plan in plans]
        yield from reads("rate", share, slower, ways)
        yield from reads("steps", share, [plan.shortened(share) for plan in plans], ways)
    for share in SPANS:
        ways = {
            "span": plain + share * (mixed - plain),
            "own unroll": coarse(mix=share * MIX),
            "true span": exact + share * (exact_mixed - exact),
        }
        yield from reads("mix", share * MIX, plans, ways, share * MIX)
    # The gradient of one row is longer than that of the plan's rows, and is clipped more.
    clips = {"coarse": CLIP, "clip times root": CLIP * batch**0.5, "clip times rows": CLIP * batch}
    yield from reads("plan", 1.0, plans, {way: coarse(clip=c) for way, c in clips.items()})
