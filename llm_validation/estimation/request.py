"""What is asked of an estimate: data, model, strategies, and the plan of the fine-tune."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from llm_validation.data.encoding import OnLong
    from llm_validation.measure.landscape import Where

LAMS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
RADII = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
MODEL_ROWS = 256
TEXT_ROWS = 200_000
"""Rows of each dataset on which overlap is measured where ``rows`` says nothing."""


@dataclass(frozen=True)
class Request:
    """What to estimate. References are files, ``builtin:``, ``hf:`` or catalogue names.

    ``model`` None measures the text alone. ``rows`` limits each dataset by a seeded sample, and
    ``model_rows`` that of the model alone. ``drop_unusable`` leaves out rows that cannot be read as
    an example instead of refusing the file, and ``ignore_columns`` are left unread. Of rows longer
    than ``max_length`` tokens ``drop_long`` leaves out all, ``truncate`` their ends. ``turns`` are
    the assistant turns whose tokens the model's losses count.
    ``learning_rate`` and ``steps`` are the planned AdamW budget. ``forecast`` adds what that
    fine-tune, with ``batch_size`` task rows a step, will change under each lambda and radius; it
    needs a model. Raises ValueError for values out of range.
    """

    safety: str
    task: str
    proxy: str | None = None
    model: str | None = None
    lams: tuple[float, ...] = LAMS
    radii: tuple[float, ...] = RADII
    learning_rate: float = 2e-4
    steps: int = 100
    rows: int | None = None
    model_rows: int = MODEL_ROWS
    max_length: int | None = None
    drop_unusable: bool = False
    ignore_columns: tuple[str, ...] = ()
    drop_long: bool = False
    truncate: bool = False
    turns: Literal["all", "last"] = "all"
    coordinates: Where = "adapter"
    forecast: bool = False
    batch_size: int = 8
    failure_probability: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for option, values in (("--lam", self.lams), ("--radius", self.radii)):
            wrong = [v for v in values if not (np.isfinite(v) and v > 0)]
            if wrong or not values:
                given = f"{wrong[0]:g}" if wrong else "empty"
                raise ValueError(f"{option} is {given}: it must be greater than 0 and finite.")
        if not 0 < self.failure_probability < 1:
            raise ValueError(
                f"--failure-probability is {self.failure_probability:g}: it must be in (0, 1)."
            )
        for name, value in (("--rows", self.rows), ("--model-rows", self.model_rows)):
            if value is not None and value < 2:
                raise ValueError(f"{name} is {value}: at least 2 rows are needed.")
        if not 0 < self.learning_rate < np.inf or self.steps < 1:
            raise ValueError("--learning-rate must be above 0 and finite, --steps at least 1.")
        if self.drop_long and self.truncate:
            raise ValueError("--drop-long and --truncate are two answers to one question.")
        if self.batch_size < 1:
            raise ValueError(f"--batch-size is {self.batch_size}: a step needs at least 1 row.")
        if self.forecast and self.model is None:
            raise ValueError(
                "--forecast needs --model: it trains that model for a few steps. Give packaged, a "
                "folder or a hub id."
            )

    @property
    def on_long(self) -> OnLong:
        """What is done with a row that has too many tokens."""
        return "drop" if self.drop_long else "truncate" if self.truncate else "error"
