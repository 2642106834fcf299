"""How an option of an estimate is carried out: flags, a key of the training file, or the data."""

from __future__ import annotations

import math
import re
import shlex

from finebound.results.estimate import EstimateResult
from finebound.results.outlook import Option

_KEY = re.compile(r"(?!--|default)[\w.:/-]+")


def steps_to_apply(option: Option, found: EstimateResult) -> tuple[str, ...]:
    """What to do, one step a sentence; flags are those of ``finebound finetune`` or ``defend``.

    An option of a kind that has no flag is told by its own words.
    """
    kind, value = option.strategy, option.value
    if kind == "none":
        return ("train as planned; nothing changes.",)
    if kind == "mix" and value is not None and 0 < value < 1:
        share = value / (1 - value)
        return (
            *_weighed(share, found),
            f"with another trainer add 1 safety row for every {1 / share:.3g} task rows.",
        )
    if kind == "lambda" and value is not None and value > 0:
        return _weighed(value, found)
    if kind == "scale" and value is not None and value > 0:
        return _scaled(value, found)
    if kind == "radius" and value is not None and value > 0:
        return (
            f"give `finebound finetune` --radius {value:.6g}, the norm of the weights' change, "
            "which training then enforces.",
        )
    if kind == "steps" and value is not None and 1 <= value < math.inf:
        return (_as_a_flag("--steps", "steps", int(value), found),)
    if kind == "rank" and value is not None and 1 <= value < math.inf:
        rank, alpha = _planned("method.rank", found), _planned("method.alpha", found)
        said = (_as_a_flag("--rank", "method.rank", int(value), found),)
        if not isinstance(rank, int) or not isinstance(alpha, int | float):
            return (*said, "keep the ratio of alpha to rank.")
        return (*said, _as_a_flag("--alpha", "method.alpha", alpha * int(value) / rank, found))
    return (f"no flag does it. Change the training as the option says: {option.how}.",)


def _as_a_flag(flag: str, name: str, value: float, found: EstimateResult) -> str:
    """The flag, or the key of the training file that says the plan's ``name``."""
    key = _key_of(name, found)
    file = "" if key is None else f", or set {key} to {value:g} in {_asked(found, 'training')}"
    return f"give `finebound finetune` {flag} {value:g}{file}."


def _weighed(lam: float, found: EstimateResult) -> tuple[str, ...]:
    """Safety rows beside the task's, by the weight of their loss."""
    dpo = " --objective dpo" if _planned("objective.kind", found) == "dpo" else ""
    model = _asked(found, "model")
    if (found.request or {}).get("safety") is not None:
        rows = _asked(found, "safety")
        return (f"give `finebound finetune` --lam {lam:.4g} --proxy {rows}{dpo}.",)
    return (
        f"give `finebound finetune` --lam {lam:.4g} --proxy SAFETY.jsonl{dpo}.",
        "SAFETY.jsonl has the model's own answers: refusals of harmful requests, help with "
        f"harmless ones. `finebound evaluate hazards --model {model} --out DIR` writes answers to "
        "choose from.",
    )


def _scaled(alpha: float, found: EstimateResult) -> tuple[str, ...]:
    if _planned("method.kind", found) not in (None, "lora", "qlora"):
        return (
            "no flag does it. After training set every trained number to "
            f"start + {alpha:g} x (end - start).",
        )
    return (
        f"after training multiply lora_alpha in the adapter's adapter_config.json by {alpha:g}.",
        "the same as a new adapter, where BASE is the model before its alignment: `finebound "
        f"defend ADAPTER --base BASE --aligned {_asked(found, 'model')} --method lora-scaling "
        f"--alpha {alpha:g} --out SCALED`.",
    )


def _planned(name: str, found: EstimateResult) -> object:
    return next((row.value for row in found.plan if row.name == name), None)


def _key_of(name: str, found: EstimateResult) -> str | None:
    """The key of the training file that says this setting; None where a flag or default does."""
    source = next((row.source for row in found.plan if row.name == name), "")
    has_file = (found.request or {}).get("training") is not None
    return source if has_file and _KEY.fullmatch(source) else None


def _asked(found: EstimateResult, name: str) -> str:
    return shlex.quote(str((found.request or {}).get(name) or name.upper()))
