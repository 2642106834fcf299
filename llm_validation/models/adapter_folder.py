"""The two files of a saved adapter, or what lies in the folder instead and how to mend it."""

from __future__ import annotations

from pathlib import Path

from finebound.base.errors import InputError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PICKLED = "adapter_model.bin"
_NAMED = 6


def adapter_files(folder: str | Path) -> tuple[Path, Path]:
    """Configuration and weights of the adapter that peft's ``save_pretrained`` wrote to a folder.

    Only names are looked at. Raises InputError where they are not there: for weights in a .bin
    file, for several adapters in subfolders (they are named), for a whole model.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            "there is no such folder, so there is no adapter here.",
            remedy="Give the folder that a fine-tune wrote its adapter to.",
            file=folder,
        )
    config, weights = folder / CONFIG, folder / WEIGHTS
    if config.is_file() and weights.is_file():
        return config, weights
    if (folder / _PICKLED).is_file():
        raise InputError(
            f"the adapter's weights are in {_PICKLED}, a pickle that can run code when it is read, "
            "and only safetensors are read.",
            remedy="If you trust it, load it once with peft on its base and save it with "
            "save_pretrained(FOLDER, safe_serialization=True).",
            file=folder,
        )
    if not config.is_file() and (inside := _adapters_inside(folder)):
        shown = ", ".join(inside[:_NAMED])
        more = f" and {len(inside) - _NAMED} more" if len(inside) > _NAMED else ""
        raise InputError(
            f"there is no adapter here, but in its subfolders: {shown}{more}.",
            remedy=f"Give one of them, for example {folder / inside[0]}.",
            file=folder,
        )
    absent = " and ".join(file.name for file in (config, weights) if not file.is_file())
    whole = (folder / "config.json").is_file() and not config.is_file()
    instead = ", it is a whole model" if whole else ""
    raise InputError(
        f"there is no adapter here: {absent} missing{instead}.",
        remedy="Give the folder that a fine-tune wrote its adapter to (peft's save_pretrained).",
        file=folder,
    )


def _adapters_inside(folder: Path) -> list[str]:
    """Subfolders with an adapter, by name; of checkpoints the last comes first."""
    found = [file.parent.name for file in folder.glob(f"*/{CONFIG}")]
    steps = [int(tail) if (tail := name.rpartition("-")[2]).isdigit() else 0 for name in found]
    return [name for _, name in sorted(zip(steps, found, strict=True), key=lambda s: (-s[0], s[1]))]
