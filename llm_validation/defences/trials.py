"""The strengths at which ``finebound defend --compare`` tries a defence, as its class declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from llm_validation.defences.selection import Selection

On: TypeAlias = Literal["adapter", "attached", "merged", "prompt", "plan"]


@dataclass(frozen=True)
class Trial:
    """One strength of a defence: its class with ``settings``, and the words for it.

    ``on`` is what it is applied to: the run's LoRA as a file ("adapter"), the running model with
    its LoRA "attached" or "merged", the rows that are measured ("prompt"), or the run's training
    plan ("plan": the fine-tune is made again). ``options`` ask ``finebound defend`` for it.
    """

    kind: type[Any]
    on: On
    strength: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    options: str = ""

    @property
    def method(self) -> str:
        return self.kind.name

    @property
    def label(self) -> str:
        return f"{self.method} {self.strength}".strip()

    @property
    def slug(self) -> str:
        """The label as a part of a folder's name."""
        return self.label.replace(" ", "-")

    def make(self) -> Any:
        """The defence, not yet fitted."""
        return self.kind(**self.settings)

    def needs(self, evidence: str) -> bool:
        """Whether the class declares that it needs this ``Evidence`` besides the fine-tune."""
        return evidence in getattr(self.kind, "needs", ())


def sweep(
    kind: type[Any], name: str, *values: float, on: On = "adapter", option: bool = False
) -> list[Trial]:
    """A trial per value of one setting; ``option``: the command has an option of that name."""
    return [
        Trial(
            kind,
            on,
            f"{name} {value:g}",
            {name: value},
            f"--{name} {value:g}" if option else f"--set {name}={value:g}",
        )
        for value in values
    ]


def selections(kind: type[Any], *rules: Mapping[str, Any]) -> list[Trial]:
    """A trial per rule of which modules are changed: a threshold, or the share to keep."""
    return [
        Trial(
            kind,
            "adapter",
            f"{'tau' if name == 'threshold' else name} {value:g}",
            {"selection": Selection(**rule)},
            f"--{name} {value:g}",
        )
        for rule in rules
        for name, value in rule.items()
    ]
