"""At which steps a callback looks: every tenth of the training, or every so many steps."""

from __future__ import annotations

import math

from finebound.base.errors import InputError


def check_every(every: float) -> None:
    """Raises InputError for what is neither a share of the training nor a number of steps."""
    if not every > 0 or not (every <= 1 or every == int(every)):
        raise InputError(
            f"every is {every}.",
            remedy="Give a share of the training in (0, 1), such as 0.1, or a number of steps.",
        )


def steps_due(every: float, max_steps: int) -> frozenset[int]:
    """The steps from 1 to ``max_steps``, always with the last.

    ``every`` below 1 is a share of the training, from 1 on a number of steps.
    """
    if every < 1:
        marks = math.ceil(1 / every - 1e-9)
        steps = {math.ceil(min(1.0, k * every) * max_steps - 1e-9) for k in range(1, marks + 1)}
    else:
        steps = set(range(int(every), max_steps + 1, int(every)))
    return frozenset({*steps, max_steps} - {0})
