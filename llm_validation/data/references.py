"""Where the rows are that a reference names: a file, a folder, the hub or this machine's cache."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from finebound.base.errors import InputError
from llm_validation.data.catalogue import CatalogueEntry, by_hub_id, catalogue, find
from llm_validation.data.cells import Row
from llm_validation.data.folders import data_files, is_saved_dataset, read_saved
from llm_validation.data.formats import data_extension, read_rows

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
NumberedRows = Iterable[tuple[int, Row]]


@dataclass(frozen=True)
class RowTable:
    """Rows of named columns, before anybody reads them as examples, probes or items.

    They are in ``files``, in their order, or (of the `datasets` library) in ``rows``, with the name
    that errors give them. ``drop_unusable`` and ``columns`` are what the catalogue says of the set.
    """

    name: str
    source: str
    files: tuple[Path, ...] = ()
    rows: tuple[str, NumberedRows] | None = None
    drop_unusable: bool = False
    columns: tuple[str, ...] = ()

    def parts(self, *, vectors: bool = True) -> Iterator[tuple[str | Path, NumberedRows]]:
        """Each file and its numbered rows; ``vectors`` is that of ``read_rows``."""
        if self.rows is not None:
            yield self.rows
        for file in self.files:
            yield file, read_rows(file, vectors=vectors)


def find_table(ref: str | Path, *, with_answers: bool = False) -> RowTable:
    """The rows that a reference names; which are those, ``load_dataset`` says (not built-in ones).

    ``with_answers`` refuses sets that the catalogue knows to have no answers. Raises InputError
    with the remedy: how to get a set that cannot be reached, or that is gated.
    """
    try:
        return _found(ref, with_answers)
    except (OSError, RuntimeError, ValueError) as error:  # what no file system can look up
        raise InputError(
            f"the path cannot be looked up: {getattr(error, 'strerror', None) or error}.",
            remedy="Check its spelling and its permissions.",
            file=str(ref)[:200],
        ) from error


def _found(ref: str | Path, with_answers: bool) -> RowTable:
    if isinstance(ref, Path):
        return _from_path(ref)
    if ref.startswith("hf:"):
        return _from_hub_reference(ref.removeprefix("hf:"))
    path = Path(ref).expanduser()
    if ref and path.exists():
        return _from_path(path)
    entry = find(ref)
    if entry is not None:
        return _from_catalogue(entry, with_answers)
    if _HUB_ID.fullmatch(ref) and data_extension(path) is None:
        raise InputError(
            f"there is no file or folder {ref!r}.",
            remedy=f"Check the path; for the dataset of the Hugging Face Hub write hf:{ref}.",
            file=ref,
        )
    if len(path.parts) > 1 or path.suffix:
        raise _no_file(path)
    raise _no_name(ref)


def _from_path(path: Path, split: str | None = None) -> RowTable:
    if path.is_dir():
        return _from_folder(path, split=split)
    if not path.exists():
        raise _no_file(path)
    if split is not None:
        raise InputError(
            f"a file has no split {split!r}.", remedy="Pass the file alone.", file=path
        )
    name = path.name.removesuffix(".gz").removesuffix(".GZ")
    return RowTable(Path(name).stem, str(path), (path,))


def _from_folder(
    folder: Path,
    *,
    split: str | None,
    config: str | None = None,
    name: str | None = None,
    source: str | None = None,
) -> RowTable:
    name, source = name or folder.name, source or str(folder)
    if is_saved_dataset(folder):
        rows, chosen = read_saved(folder, split=split)
        source += f":{chosen}" if chosen else ""
        return RowTable(name, source, rows=(str(folder), rows))
    files = data_files(folder, split=split, config=config)
    return RowTable(name, source + (f":{split}" if split else ""), tuple(files))


def _from_hub_reference(rest: str) -> RowTable:
    if rest and Path(rest).expanduser().exists():
        return _from_path(Path(rest).expanduser())
    where, colon, split = rest.rpartition(":")
    if not colon:
        where, split = rest, ""
    path = Path(where).expanduser()
    if where and path.exists():
        return _from_path(path, split or None)
    if _HUB_ID.fullmatch(where) and not where.startswith("."):
        return _from_hub(where, split or None, by_hub_id(where))
    if where.startswith(("/", ".", "~")):
        raise _no_file(path)
    raise InputError(
        f"{rest!r} is not the id of a dataset on the hub.",
        remedy="Write hf:owner/name or hf:owner/name:split.",
        file=f"hf:{rest}",
    )


def _from_catalogue(entry: CatalogueEntry, with_answers: bool) -> RowTable:
    if with_answers and not entry.answers:
        raise InputError(
            f"{entry.title} cannot be measured with: it has the columns "
            f"{', '.join(entry.columns)}, and none holds the answer to learn from.",
            remedy="It serves evaluation. For a loss, pair its prompts with answers in a file "
            "with the columns prompt and response.",
            file=entry.name,
        )
    if entry.hub is None:
        raise InputError(
            f"{entry.title} is not on the hub.",
            remedy=f"Get it from {entry.homepage} and pass the path of the file.",
            file=entry.name,
        )
    return _from_hub(entry.hub, None, entry)


def _from_hub(repository: str, split: str | None, entry: CatalogueEntry | None) -> RowTable:
    from llm_validation.data import hub

    name = repository.split("/")[-1]
    config = revision = None
    patterns: tuple[str, ...] = ()
    drop, columns = False, ()
    if entry is not None:
        columns = entry.columns
        name, config, revision, patterns = entry.name, entry.config, entry.revision, entry.files
        split, drop = split or entry.split, entry.drop_unusable
    commit, copy = hub.find_dataset(repository, revision=revision, split=split, entry=entry)
    if commit is not None and patterns:
        copy = hub.download_files(repository, commit, patterns)
    if copy is None:
        rows, chosen = hub.read_hub(repository, commit, split=split, config=config)
        label = f"hf:{repository}:{chosen}"
        return RowTable(
            name,
            f"hf:{repository}@{commit}:{chosen}",
            rows=(label, rows),
            drop_unusable=drop,
            columns=columns,
        )
    source = f"hf:{repository}@{commit or copy.name}"
    whole = [file for pattern in patterns for file in sorted(copy.glob(pattern))]
    if whole and split is None and config is None:
        return RowTable(name, source, tuple(whole), drop_unusable=drop, columns=columns)
    found = _from_folder(copy, split=split, config=config, name=name, source=source)
    return replace(found, drop_unusable=drop, columns=columns)


def _no_file(path: Path) -> InputError:
    folder = path.parent
    beside = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    where = "" if folder.is_dir() else f" (there is no folder {folder} either)"
    return InputError(
        f"there is no such file{where}.{did_you_mean(path.name, beside)}",
        remedy=f"Check the path; relative paths start at {Path.cwd()}.",
        file=path,
    )


def _no_name(ref: str) -> InputError:
    from llm_validation.data.builtin import BUILTIN

    names = [*(entry.name for entry in catalogue()), *(f"builtin:{name}" for name in BUILTIN)]
    return InputError(
        f"{ref!r} is neither a file nor a name of the catalogue.{did_you_mean(ref, names)}",
        remedy="Pass a path, builtin:NAME, hf:owner/name or one of: "
        f"{', '.join(entry.name for entry in catalogue())}.",
        file=ref or None,
    )


def did_you_mean(name: str, candidates: list[str]) -> str:
    """The close ones among the candidates, as a sentence with a blank before it; or nothing."""
    close = difflib.get_close_matches(name.lower(), candidates, 3, 0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""
