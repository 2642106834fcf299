"""The number format that a plan's ``precision`` "auto" stands for on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from finebound.base.errors import InputError, tell

NumberFormat = Literal["fp32", "bf16"]
CPUINFO = Path("/proc/cpuinfo")
_BF16 = ("amx_bf16", "avx512_bf16", "bf16")  # the last is Arm's
_KEYS = ("flags", "Features")


@dataclass(frozen=True)
class Precision:
    """What a plan ``asked`` for, what is ``used``, and ``because`` of what."""

    asked: Literal["fp32", "bf16", "auto"]
    used: NumberFormat
    because: str


def resolve_precision(asked: Literal["fp32", "bf16", "auto"]) -> Precision:
    """bfloat16 where "auto" is asked for and the device computes in it, else float32.

    A processor without such instructions emulates them and is several times slower than in
    float32. What is asked for by name is used as it is.
    """
    if asked != "auto":
        return Precision(asked, asked, "asked for")
    if torch.cuda.is_available():
        has = torch.cuda.is_bf16_supported(including_emulation=False)
        name = torch.cuda.get_device_name()
        does = "computes in bfloat16" if has else "only emulates bfloat16"
        return Precision(asked, "bf16" if has else "fp32", f"the GPU ({name}) {does}")
    flags = processor_flags()
    if flags is None:
        return Precision(asked, "fp32", "the processor's instructions are not listed here")
    found = [flag for flag in _BF16 if flag in flags]
    if found:
        return Precision(asked, "bf16", f"the processor has {found[0]}")
    return Precision(asked, "fp32", "the processor has no bfloat16 instructions")


def processor_flags(file: Path | None = None) -> frozenset[str] | None:
    """What ``/proc/cpuinfo`` says that the first processor can do; None where it does not say."""
    try:
        lines = (file or CPUINFO).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in _KEYS:
            return frozenset(value.split())
    return None


def precision_of(document: Mapping[str, Any], asked: Literal["fp32", "bf16", "auto"]) -> Precision:
    """What a run computes in: a begun run (its ``run.json``) goes on as it began.

    Where this machine would choose otherwise, stderr says so. Raises InputError for a record
    that names no number format.
    """
    here = resolve_precision(asked)
    known = document.get("precision")
    if known is None:
        return here
    try:
        begun = Precision(**known)
    except TypeError:
        begun = None
    if begun is None or begun.used not in ("fp32", "bf16"):
        raise InputError(
            "the run's record does not say what it was computed in.",
            remedy="Remove the run's folder: it is made again.",
        )
    if begun.used != here.used:
        tell(
            f"The run began in {begun.used} and goes on in it; on this machine precision auto "
            f"stands for {here.used}: {here.because}."
        )
    return begun
