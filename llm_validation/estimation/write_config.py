"""The chosen option of an estimate, in a new file beside the person's training configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.base.records import write_atomically
from finebound.results.choice import ChoiceResult
from finebound.results.estimate import EstimateResult
from finebound.results.outlook import Option
from llm_validation.estimation.mixed_config import Change, mix
from llm_validation.estimation.safety_rows import rows_of
from llm_validation.training.configurations import TrainingFile, read_training
from llm_validation.training.configurations.editing import edited
from llm_validation.training.configurations.files import read_settings

PLUGIN = "finebound.axolotl.FineboundPlugin"
_TOOLS = ("axolotl", "LLaMA-Factory", "TRL", "transformers")
_RANKS = {"axolotl": "lora_r", "LLaMA-Factory": "lora_rank", "TRL": "lora_r"}


@dataclass(frozen=True)
class Written:
    """The files that were written, and ``notes`` on what a person has to know or to do."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def require_place(training: str | Path | None, to: Path) -> Path:
    """The training file that ``to`` is written beside. Raises InputError where it cannot be."""
    if training is None:
        raise InputError(
            "`write_config` needs `training`: it changes a copy of that file.",
            remedy="Give the configuration that you train with.",
        )
    read = read_training(training)
    file = Path(read.files[0])
    if not read.format.startswith(_TOOLS):
        raise InputError(
            f"is a {read.format}, and `write_config` changes what a trainer reads.",
            remedy=f"Give a file of {', '.join(_TOOLS)}.",
            file=file,
        )
    if to.resolve().parent != file.resolve().parent:
        raise InputError(
            "`write_config` is in another folder than the training file.",
            remedy=f"Give a new name in {file.parent}: paths in the file stay right there.",
            file=to,
        )
    if to.exists():
        raise InputError(
            "is there already, and no file is written over.",
            remedy="Give a new name.",
            file=to,
        )
    if to.suffix.lower() != file.suffix.lower():
        raise InputError(
            f"`write_config` has another suffix than {file.name}.",
            remedy=f"Give a name that ends in {file.suffix}.",
            file=to,
        )
    return file


def write_config(
    found: EstimateResult, choice: ChoiceResult, to: str | Path, *, progress: Progress = silent
) -> Written:
    """Write the training file of ``found`` with the option of ``choice`` into ``to``.

    Everything else stays as it is written. Safety rows of a mix are answers of the model, which
    is asked anew; they lie beside in a form that the tool reads. What the file cannot say is a
    comment in it, and a note. Raises InputError for a file that cannot be changed.
    """
    to = Path(to)
    file = require_place((found.request or {}).get("training"), to)
    option = choice.chosen
    if option is None:
        return Written((), ("Every option breaks the budget: no configuration is written.",))
    if option.strategy == "none":
        return Written((), ("The plan is kept as it is: no configuration is written.",))
    training = read_training(file)
    change = Change()
    _apply(change, option, found, choice, training, file, to, progress)
    comments = [_headline(option, choice), *change.said, *_flags(found)]
    text = file.read_text(encoding="utf-8-sig")
    try:
        new = edited(
            text,
            file.suffix.lower(),
            settings=change.settings,
            items=change.items,
            comments=[f"finebound: {line}" for line in comments],
        )
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(
            f"cannot be changed: {error}.",
            remedy="Write the change into a copy by hand: " + " ".join(choice.apply),
            file=file,
        ) from error
    for place, content in change.files.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, content)
    write_atomically(to, new)
    return Written((to, *change.files), tuple(comments))


def _apply(
    change: Change,
    option: Option,
    found: EstimateResult,
    choice: ChoiceResult,
    training: TrainingFile,
    file: Path,
    to: Path,
    progress: Progress,
) -> None:
    kind, value = option.strategy, option.value or 0.0
    tool = training.format.partition(" ")[0]
    if kind == "steps":
        change.settings["max_steps"] = round(value)
        change.said.append("max_steps decides, whatever the epochs are.")
    elif kind == "rank" and (key := _rank_key(tool, file)) is not None:
        old = training.value("method.rank")
        alpha = read_settings(file).get("lora_alpha")
        change.settings[key] = round(value)
        if alpha is not None:
            change.settings["lora_alpha"] = _plain(float(alpha) * value / old)
    elif kind == "radius" and tool in ("axolotl", "LLaMA-Factory"):
        _with_callback(change, tool, file, to, {"radius": float(f"{value:.6g}")})
    elif kind in ("mix", "lambda"):
        rows = rows_of(found, progress)
        if kind == "lambda":
            place = to.with_name(f"{to.stem}.safety.jsonl")
            change.files[place] = rows.lines(lambda q, a: {"prompt": q, "response": a})
            if tool in ("axolotl", "LLaMA-Factory"):
                proxy = {"rows": str(place.resolve()), "lam": value}
                _with_callback(change, tool, file, to, {"proxy": proxy})
            else:
                change.said.append(
                    f"No key says it. Give the trainer the callback "
                    f"finebound.trl.ProxyLoss({str(place)!r}, lam={value:g})."
                )
        else:
            mix(change, value, rows, found.datasets["task"].rows_of, training, to)
    else:
        change.said.append("No key of this file says it.")
        if kind == "radius":
            change.said.append(
                f"Give the trainer the callback finebound.trl.RadiusConstraint({value:.6g})."
            )
        change.said += [f"To apply it: {step}" for step in choice.apply]


def _rank_key(tool: str, file: Path) -> str | None:
    """The key of a LoRA's rank, where the file itself has it."""
    key = _RANKS.get(tool)
    return key if key in read_settings(file) else None


def _with_callback(
    change: Change, tool: str, file: Path, to: Path, section: Mapping[str, Any]
) -> None:
    """A callback of finebound, by its section in the tool's file."""
    content = read_settings(file)
    change.settings["finebound"] = {**(content.get("finebound") or {}), **section}
    if tool == "axolotl":
        if PLUGIN not in (content.get("plugins") or []):
            change.items["plugins"] = PLUGIN
        change.said.append("axolotl needs finebound in its environment: the plugin is finebound's.")
    else:
        change.said.append(f"Start it with `python -m finebound.llamafactory {to.name}`.")


def _headline(option: Option, choice: ChoiceResult) -> str:
    low, high = option.interval
    return (
        f"{option.how}. Forecast ({choice.decision}): {100 * option.refusal:.0f} % "
        f"[{100 * low:.0f}, {100 * high:.0f}] of harmful probes refused, "
        f"{100 * choice.refusal_before:.0f} % before."
    )


def _flags(found: EstimateResult) -> Sequence[str]:
    """Settings of the forecast that were flags, and are not in the file."""
    flags = [f"{row.name} {row.value}" for row in found.plan if row.source.startswith("--")]
    if not flags:
        return ()
    return (f"The forecast was made with flags that this file does not hold: {', '.join(flags)}.",)


def _plain(value: float) -> int | float:
    return int(value) if math.isclose(value, round(value)) else value
