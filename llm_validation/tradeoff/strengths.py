"""Every defence of a finished fine-tune, at the strengths that are compared.

Those of the stage "during" train the fine-tune anew, under its own plan with their strategy in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from llm_validation.defences.antidote import Antidote
from llm_validation.defences.asft import AsFT
from llm_validation.defences.constrained_sft import ConstrainedSFT
from llm_validation.defences.lisa import Lisa
from llm_validation.defences.lora_scaling import LoraScaling
from llm_validation.defences.protocol import Defence, Faithfulness
from llm_validation.defences.ptst import PTST
from llm_validation.defences.resta import Resta
from llm_validation.defences.safe_lora import SafeLora
from llm_validation.defences.safe_merge import TAU as MERGE_TAU
from llm_validation.defences.safe_merge import SafeMerge
from llm_validation.defences.selection import Selection
from llm_validation.defences.splora import SPLoRA

On = Literal["adapter", "attached", "merged", "prompt", "plan"]


@dataclass(frozen=True)
class Trial:
    """One strength of one defence; ``options`` is how ``finebound defend`` is asked for it."""

    method: str
    strength: str
    on: On
    make: Callable[[], Defence[Any]]
    options: str = ""

    @property
    def label(self) -> str:
        return f"{self.method} {self.strength}".strip()

    @property
    def slug(self) -> str:
        """The label as a part of a folder's name."""
        return self.label.replace(" ", "-")


def _alphas(method: str, make: Callable[..., Defence[Any]], *alphas: float) -> list[Trial]:
    return [
        Trial(
            method, f"alpha {alpha:g}", "adapter", partial(make, alpha=alpha), f"--alpha {alpha:g}"
        )
        for alpha in alphas
    ]


def _selections(
    method: str, make: Callable[..., Defence[Any]], *rules: dict[str, float], more: str = ""
) -> list[Trial]:
    return [
        Trial(
            method,
            _words(rule),
            "adapter",
            partial(make, Selection(**rule)),
            f"{_options(rule)}{more}",
        )
        for rule in rules
    ]


def _antidote() -> list[Trial]:
    # Not zeros in the merged weights: already a handful a module ends the model.
    settings = (
        ("attached", "of the adapter", {"of": "adapter"}, (0.1, 0.25)),
        ("merged", "to aligned", {"to": "aligned"}, (0.2,)),
    )
    return [
        Trial("antidote", f"{words} {share:g}", on, partial(Antidote, fraction=share, **given))
        for on, words, given, shares in settings
        for share in shares
    ]


def _lisa() -> list[Trial]:
    # The first is the paper's share, whose turns of 100 and 900 steps are too long for short runs.
    return [
        Trial(
            "lisa",
            f"safety in 2 of {2 + task} steps",
            "plan",
            partial(Lisa, alignment_steps=2, task_steps=task),
        )
        for task in (18, 8, 2)
    ]


_TRIALS: dict[str, Callable[[], list[Trial]]] = {
    "splora": lambda: _selections("splora", SPLoRA, {"keep": 0.9}, {"keep": 0.8}, {"keep": 0.5}),
    "safe-lora": lambda: _selections(
        "safe-lora", SafeLora, {"threshold": 0.5}, {"keep": 0.8}, {"keep": 0.5}
    ),
    "lora-scaling": lambda: _alphas("lora-scaling", LoraScaling, 0.25, 0.5, 0.75),
    "resta": lambda: _alphas("resta", Resta, 0.25, 0.5, 1.0),
    "safe-merge": lambda: _selections(
        "safe-merge",
        SafeMerge,
        {"threshold": MERGE_TAU},
        {"keep": 0.5},
        {"keep": 0.0},
        more=" --safe-adapter SAFE",
    ),
    "antidote": _antidote,
    "ptst": lambda: [Trial("ptst", "", "prompt", PTST)],
    "constrained-sft": lambda: [
        Trial("constrained-sft", f"beta {beta:g}", "plan", partial(ConstrainedSFT, beta=beta))
        for beta in (0.02, 0.1, 0.5)
    ],
    "lisa": _lisa,
    "asft": lambda: [
        Trial("asft", f"strength {strength:g}", "plan", partial(AsFT, strength=strength))
        for strength in (0.01, 0.1, 1.0)
    ],
}
METHODS = tuple(_TRIALS)


def trials_of(method: str) -> list[Trial]:
    """A method's strengths: three where it has one to choose, as the undefended sweep has."""
    return _TRIALS[method]()


def faithfulness_of(method: str) -> Faithfulness:
    """What of the method is its paper's and what is not."""
    return trials_of(method)[0].make().faithfulness


def _words(rule: dict[str, float]) -> str:
    return ", ".join(
        f"{'tau' if name == 'threshold' else name} {value:g}" for name, value in rule.items()
    )


def _options(rule: dict[str, float]) -> str:
    return " ".join(f"--{name} {value:g}" for name, value in rule.items())
