"""``finebound defend``: repair a fine-tuned adapter after the fact; ``--compare`` is its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from finebound.base.errors import InputError
from finebound.cli.options import given_options, parse

if TYPE_CHECKING:
    from finebound.results.tradeoff import DefendResult
    from llm_validation.defences.protocol import Defence

_SELECTED = ("keep", "count", "threshold")
_SHARED = ("any_base", "device")


@dataclass(frozen=True)
class Options:
    """Repair a LoRA adapter: prune, project, merge or shrink the updates that left the alignment.

    Reads weights and configurations only, one module at a time; no model is loaded. BASE is the
    model before its alignment, ALIGNED after it (or the adapter that aligned it). All may be
    folders or ids owner/name of the Hugging Face hub. For every module
    it reports how far the update is from the alignment (distance, cosine, the projector's norm),
    the method's score, and whether it was changed. The source is never modified; the result loads
    in plain PEFT.

    splora prunes modules of high E-DIEM (default --keep 0.8), safe-lora projects modules of low
    cosine (default --threshold 0.5), safe-merge mixes a safe adapter in where the cosine is low
    (default --threshold 0.35), lora-scaling shrinks every update (--alpha 0.5 or --radius), resta
    adds the safety vector (--alpha 0.5).

    Example: finebound defend out/adapter --base base --aligned aligned --method splora
             --count 3 --out repaired

    finebound defend --compare EXPERIMENT --out DIR places all defences beside the undefended runs
    of a finished experiment; see finebound defend --compare --help.
    """

    adapter: Positional[str]
    """Folder or hub id of the fine-tuned LoRA: adapter_config.json, adapter_model.safetensors."""
    base: str
    """Folder or hub id of the model before its alignment, or "packaged"."""
    aligned: str
    """Folder or hub id of the aligned model, or of the adapter that aligned the base; or
    "packaged"."""
    out: Path | None = None
    """Folder for the repaired adapter; without it the modules are only reported."""
    method: str = "splora"
    """How to repair: splora, safe-lora, safe-merge, lora-scaling, resta, or another file of
    llm_validation/defences."""
    set: tuple[str, ...] = ()
    """Settings of the method that have no option here: NAME=VALUE ..."""
    keep: float | None = None
    """Fraction of the modules to leave unchanged."""
    count: int | None = None
    """Number of modules to change."""
    threshold: float | None = None
    """Score from which modules are changed: E-DIEM at least (splora), cosine at most (others)."""
    projector: Literal["fast", "exact"] | None = None
    """V V'/|V| as released (default), or the projector on V's column space."""
    null: Literal["random-update", "across-modules"] | None = None
    """What splora compares a distance with (default: random updates of the same size)."""
    released: bool = False
    """Reproduce splora's released code, for comparison: its score is rounding noise."""
    alpha: float | None = None
    """Factor of lora-scaling, or of resta's vector."""
    radius: float | None = None
    """lora-scaling: largest Frobenius norm of all updates together."""
    rank: int | None = None
    """resta: largest rank of the vector in the adapter (default 64)."""
    weight: float | None = None
    """safe-merge: weight of the fine-tune (default 0.8)."""
    safe_adapter: str | None = None
    """safe-merge: folder or hub id of the adapter tuned on safety data."""
    any_base: bool = False
    """The adapter belongs to these models, whatever name its configuration gives."""
    seed: int = 0
    """Seed of splora's random updates."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""


def main(arguments: Sequence[str]) -> int:
    if any(argument.partition("=")[0] == "--compare" for argument in arguments):
        from finebound.cli.defend_compare import main as compare

        return compare(arguments)
    options = parse(Options, arguments, verb="defend")
    kind = _kind(options)
    defence = _defence(kind, options)
    from finebound.api import defend
    from finebound.base.progress import bar
    from finebound.base.records import to_json

    with bar() as progress:
        found = defend(
            options.adapter,
            base=options.base,
            aligned=options.aligned,
            method=defence,
            safe_adapter=options.safe_adapter,
            out=options.out,
            given=given_options(options, Options),
            progress=progress,
        )
    if options.json:
        print(to_json(found.to_dict()))
    else:
        _print(found, options.out)
    return 0


def _kind(options: Options) -> type[Any]:
    """The method's class. Raises InputError for an unknown one and for options of another."""
    from llm_validation.defences.registry import repairs

    kinds = repairs()
    if options.method not in kinds:
        raise InputError(
            f"there is no method {options.method!r}.", remedy=f"It is one of {', '.join(kinds)}."
        )
    taken = {method: _options_of(kind) for method, kind in kinds.items()}
    for name, value in given_options(options, Options).items():
        owners = [method for method, names in taken.items() if name in names]
        if owners and options.method not in owners:
            raise InputError(
                f"--{name.replace('_', '-')} {value} does not belong to --method {options.method}.",
                remedy=f"It is an option of {', '.join(owners)}.",
            )
    return kinds[options.method]


def _options_of(kind: type[Any]) -> set[str]:
    """The options of the command that are settings of this method, or evidence that it needs."""
    settings = {field.name for field in fields(kind)} - {*_SHARED}
    if "selection" in settings:
        settings |= {*_SELECTED}
    if "mode" in settings:
        settings.add("released")
    return (settings | {*getattr(kind, "needs", ())}) & {field.name for field in fields(Options)}


def _defence(kind: type[Any], options: Options) -> Defence[Any]:
    """The method with the settings given; what is left out is the method's own default."""
    from llm_validation.defences.selection import Selection

    settings = {field.name for field in fields(kind)}
    named = {n: getattr(options, n) for n in _options_of(kind) & settings}
    given: dict[str, Any] = {n: v for n, v in named.items() if v is not None}
    given["any_base"] = options.any_base
    rule = {n: v for n in _SELECTED if (v := getattr(options, n)) is not None}
    if rule:
        given["selection"] = Selection(**rule)
    if "mode" in settings:
        given["mode"] = "released" if options.released else "corrected"
    if "null" in given:
        given["null"] = given["null"].replace("-", "_")
    for one in options.set:
        name, is_setting, value = one.partition("=")
        if not is_setting or name not in settings:
            raise InputError(
                f"--set {one} is no setting of --method {options.method}.",
                remedy=f"Give NAME=VALUE with a name among {', '.join(sorted(settings))}.",
            )
        given[name] = _value(value)
    return kind(**given)


def _value(text: str) -> Any:
    """A setting's value: a number, true, false or null as JSON has them, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _print(found: DefendResult, out: Path | None) -> None:
    from finebound.views.defend import table
    from finebound.views.terminal import print_parts

    # The first line of the summary is the table's title.
    print_parts([table(found), *found.summary().splitlines()[1:]])
    if out is not None:
        print_parts([f"Written: {out}"])
