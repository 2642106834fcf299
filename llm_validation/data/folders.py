"""Reading a folder: a copy of a hub dataset, shards of one, or a dataset saved by `datasets`."""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finebound.base.errors import InputError
from llm_validation.data.formats import data_extension

_MOST_ENTRIES = 20_000
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?(?=\.)")
_DESCRIPTIONS = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}


def is_saved_dataset(folder: Path) -> bool:
    """Whether ``datasets`` wrote the folder with ``save_to_disk``."""
    return (folder / "dataset_dict.json").exists() or (folder / "state.json").exists()


def data_files(folder: Path, *, split: str | None, config: str | None = None) -> list[Path]:
    """The files of one split of a folder, shards in their order.

    One set of shards (or one file) is taken as it is; among several, the one whose path names
    the configuration and the split ("train" unless given). Raises InputError when that does not
    single one out, or when shards are missing.
    """
    groups: dict[str, list[Path]] = {}
    for path in _sorted_entries(folder):
        inner = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inner.parts)
        if hidden or path.name in _DESCRIPTIONS or not data_extension(path) or path.is_dir():
            continue
        groups.setdefault(_SHARD.sub("", inner.as_posix()), []).append(path)
    if not groups:
        raise InputError(
            "the folder holds no data file.",
            remedy="Name a folder with JSON Lines, JSON, CSV or Parquet files.",
            file=folder,
        )
    chosen = [name for name in groups if config is None or config in re.split(r"[/.]", name)]
    if split is not None or len(chosen) > 1:
        wanted = re.compile(rf"(?<![a-z0-9]){re.escape((split or 'train').lower())}(?![a-z0-9_])")
        chosen = [name for name in chosen if wanted.search(name.lower())]
    if len(chosen) != 1:
        names = list(groups)
        listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        which = f"the split {split!r}" if split else "one dataset"
        raise InputError(
            f"the folder does not single out {which} among its files: {listed}.",
            remedy=f"Pass the file itself, for example {folder / names[0]}.",
            file=folder,
        )
    return _whole(groups[chosen[0]], folder)


def _sorted_entries(folder: Path) -> list[Path]:
    entries = list(itertools.islice(folder.rglob("*"), _MOST_ENTRIES + 1))
    if len(entries) > _MOST_ENTRIES:
        raise InputError(
            f"the folder holds more than {_MOST_ENTRIES} files and folders.",
            remedy="Pass the file itself, or the folder of the one dataset.",
            file=folder,
        )
    return sorted(entries)


def _whole(shards: list[Path], folder: Path) -> list[Path]:
    match = _SHARD.search(shards[0].name)
    if match is not None and len(shards) != int(match[2]):
        raise InputError(
            f"{len(shards)} of the {int(match[2])} shards of {_SHARD.sub('', shards[0].name)} "
            "are there.",
            remedy="Finish the download, then try again.",
            file=folder,
        )
    return shards


def read_saved(folder: Path, *, split: str | None) -> tuple[Iterator[tuple[int, Mapping]], str]:
    """The numbered rows of a folder written by ``save_to_disk``, and the split they are of."""
    require_library("datasets", folder)
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except Exception as error:  # the library raises many kinds for a damaged folder
        raise InputError(
            f"`datasets` cannot load the folder: {error}.",
            remedy="Save it again with save_to_disk.",
            file=folder,
        ) from error
    if isinstance(saved, datasets.DatasetDict):
        split = choose_split(list(map(str, saved)), split, where=folder)
        saved = saved[split]
    return library_rows(saved, folder), split or str(saved.split or "")


def choose_split(splits: list[str], split: str | None, *, where: str | Path) -> str:
    """The split asked for; else the only one; else "train". Raises InputError."""
    wanted = split or (splits[0] if len(splits) == 1 else "train")
    if wanted not in splits:
        raise InputError(
            f"there is no split {wanted!r}: found {', '.join(splits)}.",
            remedy=f"Add one to the reference, for example hf:{where}:{splits[0]}.",
            file=where,
        )
    return wanted


def require_library(name: str, where: str | Path) -> None:
    """Raises InputError when a library of the ``llm`` extra is not installed."""
    if importlib.util.find_spec(name) is None:
        raise InputError(
            f"reading this needs the package {name}, which is not installed.",
            remedy="Run `pip install 'finebound[llm]'`.",
            file=where,
        )


def library_rows(rows: Any, where: str | Path) -> Iterator[tuple[int, Mapping]]:
    """The numbered rows of a dataset of the ``datasets`` library, decoded in batches."""
    number = 0
    names = rows.column_names
    for batch in _decoded(rows, where):
        for values in zip(*(batch[name] for name in names), strict=True):
            number += 1
            yield number, dict(zip(names, values, strict=True))


def _decoded(rows: Any, where: str | Path) -> Iterator[Mapping[str, list]]:
    batches = rows.with_format(None).iter(batch_size=1000)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except Exception as error:  # of damaged files, or of a codec that is not there
            raise InputError(
                f"`datasets` cannot read its rows: {' '.join(str(error).split())[:300]}.",
                remedy="Save or download it again; of images and audio only texts are learnt.",
                file=where,
            ) from error
        yield batch
