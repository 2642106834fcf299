"""What was understood of a training configuration, and the plan that it makes of a task's rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from finebound.base.errors import InputError
from llm_validation.training.plan import TrainingPlan, plan_from_dict

NOTHING = "changes nothing here"
"""Said of a key that no forecast depends on."""
OUTSIDE = ("epochs", "warmup_share", "turns")
"""Settings that the plan has not: the first two become its steps and its warm-up."""
_DEFAULT = "default"


@dataclass(frozen=True)
class Setting:
    """A value, and the key of the file, the flag or the default that it comes from."""

    value: Any
    source: str

    @property
    def is_default(self) -> bool:
        """Whether no key and no flag says it."""
        return self.source.startswith(_DEFAULT)

    @classmethod
    def default(cls, value: Any, of: str) -> Setting:
        """What the trainer ``of`` does where the file says nothing."""
        return cls(value, f"{_DEFAULT} of {of}")


@dataclass(frozen=True)
class Key:
    """A key that decides nothing in the plan, its value (shortened) and what it may change.

    Among what is assumed: the setting that the file leaves open, and what is taken for it.
    """

    name: str
    value: str
    what: str


@dataclass(frozen=True)
class TrainingFile:
    """A training configuration as it was understood; without arguments, that of no file.

    ``settings`` are by the plan's names (``method.rank``), with ``epochs`` and ``warmup_share``
    (of the steps) where the file counts in these, and ``turns`` "last" where it trains on a row's
    last answer alone. ``tasks`` are the datasets, as ``load_dataset`` takes them where the file
    says where they are. ``assumed`` is what the file leaves open, ``contradictions`` are sentences
    about keys that cannot both hold and which of them does. ``not_modelled`` are keys that change
    the training and not the forecast, ``unread`` all others that were not used. ``counting`` is
    whose way it is to make steps of epochs.
    """

    format: str = "flags"
    files: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    model: str | None = None
    tasks: tuple[str, ...] = ()
    template: str | None = None
    assumed: tuple[Key, ...] = ()
    contradictions: tuple[str, ...] = ()
    not_modelled: tuple[Key, ...] = ()
    unread: tuple[Key, ...] = ()
    counting: Literal["transformers", "axolotl", "finebound"] = "finebound"

    @property
    def task(self) -> str | None:
        """The dataset, where the file names exactly one."""
        return self.tasks[0] if len(self.tasks) == 1 else None

    @property
    def plan(self) -> dict[str, Any]:
        """Settings of ``TrainingPlan`` as plain values, for ``plan_from_dict``.

        Without ``steps`` where the file counts epochs: ``plan_for`` knows the rows.
        """
        plan: dict[str, Any] = {}
        for name, setting in self.settings.items():
            if name not in OUTSIDE:
                group, _, inner = name.partition(".")
                if inner:
                    plan.setdefault(group, {})[inner] = setting.value
                else:
                    plan[name] = setting.value
        return plan

    def value(self, name: str) -> Any:
        """A setting's value, None where nothing says it."""
        setting = self.settings.get(name)
        return None if setting is None else setting.value


def plan_for(training: TrainingFile, rows: int) -> TrainingPlan:
    """The plan with ``rows`` task rows to train on, in whose epochs and shares the file counts.

    Raises InputError, with the file, for settings that contradict each other.
    """
    plan = training.plan
    if (epochs := training.value("epochs")) is not None:
        batch = plan.get("batch_size", TrainingPlan.batch_size)
        # The Trainer ends an epoch with a smaller step; the others count rows alone.
        ends = training.counting == "transformers"
        steps = epochs * math.ceil(rows / batch) if ends else epochs * rows / batch
        plan["steps"] = max(1, math.ceil(steps))
    if (share := training.settings.get("warmup_share")) is not None:
        plan["warmup"] = _warmup(training, share, plan.get("steps", TrainingPlan.steps))
    try:
        return plan_from_dict(plan)
    except InputError as error:
        file = training.files[0] if training.files else None
        raise InputError(error.what, remedy=error.remedy, file=file) from None


def _warmup(training: TrainingFile, share: Setting, steps: int) -> int:
    if training.counting != "axolotl":
        return math.ceil(share.value * steps)
    warmup = int(share.value * steps)
    warmup = min(warmup, 100) if share.is_default else warmup
    return 2 if warmup == 1 else warmup
