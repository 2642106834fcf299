"""The checkpoints of a Trainer's folder, in the order of their steps."""

from __future__ import annotations

import re
from pathlib import Path

from finebound.base.errors import InputError
from llm_validation.models.adapter_folder import CONFIG

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def checkpoints_in(folder: Path) -> list[Path]:
    """``checkpoint-N`` of the folder, earliest first. Raises InputError where there is none."""
    folder = folder.expanduser()
    steps = {}
    for entry in folder.iterdir() if folder.is_dir() else ():
        found = _CHECKPOINT.fullmatch(entry.name)
        if found and entry.is_dir():
            steps[int(found[1])] = entry
    if not steps:
        raise InputError(
            "there is no checkpoint in this folder.",
            remedy="Give a Trainer's output folder with checkpoint-N in it.",
            file=folder,
        )
    return [steps[step] for step in sorted(steps)]


def is_adapter(folder: Path) -> bool:
    """Whether a checkpoint holds an adapter, and no whole model."""
    return (folder / CONFIG).is_file() or not (folder / "config.json").is_file()
