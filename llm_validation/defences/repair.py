"""One repaired adapter: read, defended, and written whole into a folder of its own."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

from torch import nn

from finebound.base.errors import InputError
from finebound.base.integrity import FILES, hashes_of
from finebound.base.progress import Progress, silent
from finebound.base.records import file_sha256, require_folder, staged_folder
from finebound.results.tradeoff import DefendResult
from llm_validation.defences.alignment import open_alignment
from llm_validation.defences.lora_file import CONFIG, WEIGHTS, LoraAdapter, read_adapter
from llm_validation.defences.protocol import Defence, Evidence, Report
from llm_validation.models.adapter_base import BASE
from llm_validation.models.quantisation import check_note

RECORD = DefendResult.file
_COPIED = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    BASE,  # by whose hash a later load knows the adapter's base
)


def repair(
    defence: Defence[LoraAdapter],
    adapter: str | Path,
    *,
    base: str | Path,
    aligned: str | Path,
    safe_adapter: str | Path | None = None,
    progress: Progress = silent,
) -> tuple[LoraAdapter, Report]:
    """The defended adapter of a folder, from weights and configurations only.

    Nothing is written. Raises InputError for folders that do not belong together, for an adapter
    of a quantised base, and where plain PEFT would not load the result.
    """
    found = _read_exact(adapter)
    safe = None if safe_adapter is None else _read_exact(safe_adapter)
    with open_alignment(base, aligned) as alignment:
        found = alignment.fitted(found)
        safe = None if safe is None else alignment.fitted(safe)
        evidence = Evidence(adapter=found, alignment=alignment, safe_adapter=safe)
        defence.fit(evidence, progress=progress)
        defended = defence.apply(found)
        alignment.base.architecture.require_loadable(defended)
    return defended, defence.report()


def _read_exact(folder: str | Path) -> LoraAdapter:
    """The adapter, if it was trained on a base in full precision as those given are."""
    try:
        check_note(Path(folder), nn.Module())
    except InputError as error:
        raise InputError(
            error.what,
            remedy="Fine-tune a LoRA on the base in full precision (method lora) and defend that: "
            "the difference of two models is smaller than the rounding of 4 bits.",
            file=error.file,
        ) from error
    return read_adapter(folder)


def require_out(out: Path, *sources: Path) -> None:
    """Raises InputError where a defended adapter would overwrite something that is not one.

    A folder that this command wrote before (it has defend.json) is written again.
    """
    require_folder(out)
    if any(out.resolve() == source.resolve() for source in sources):
        raise InputError(
            "The defended adapter would overwrite what it is made from.",
            remedy="Give another folder as `out`.",
            file=out,
        )
    if out.is_dir() and any(out.iterdir()) and not _is_ours(out):
        raise InputError(
            f"The folder is not empty and no defended adapter (it has no {RECORD}).",
            remedy="Give a new folder as `out`; nothing is overwritten.",
            file=out,
        )


def write_repaired(out: Path, adapter: LoraAdapter, found: DefendResult) -> None:
    """Write the adapter, the tokenizer's files beside the original, and the record; all or none."""
    with staged_folder(out, gone=_COPIED) as stage:
        write_adapter(stage, adapter)
        files = hashes_of(stage, sorted(file.name for file in stage.iterdir()))
        found.model_copy(update={FILES: files}).save(stage)


def write_adapter(folder: Path, adapter: LoraAdapter) -> None:
    """Write the adapter and the tokenizer's files beside the original into an existing folder."""
    adapter.write(folder)
    (folder / WEIGHTS).chmod(0o644)  # safetensors makes it its owner's alone
    for name in _COPIED:
        if (file := adapter.folder / name).is_file():
            shutil.copyfile(file, folder / name)


def inputs_of(adapter: Path, base: Path, aligned: Path) -> dict[str, str]:
    """What identifies the inputs in a record: the adapter's content, the models' configurations."""
    inputs = {
        "adapter": file_sha256(adapter / WEIGHTS),
        "adapter_config": file_sha256(adapter / CONFIG),
    }
    for role, folder in (("base", base), ("aligned", aligned)):
        config = folder / "config.json"
        inputs[role] = file_sha256(config if config.is_file() else folder / CONFIG)
    return inputs


def _is_ours(out: Path) -> bool:
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads((out / RECORD).read_text(encoding="utf-8"))
        return isinstance(content, dict) and "modules" in content
    return False
