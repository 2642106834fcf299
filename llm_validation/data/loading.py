"""One way in for every dataset: a file, a folder, a hub id, a catalogue name or a built-in one."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from pathlib import Path

from finebound.errors import InputError
from llm_validation.data.catalogue import CatalogueEntry, by_hub_id, catalogue, find
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.folders import data_files, is_saved_dataset, read_saved
from llm_validation.data.formats import data_extension, read_rows
from llm_validation.data.layouts import read_examples

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def load_dataset(ref: str | Path, *, role: str = "dataset", drop_unusable: bool = False) -> Dataset:
    """The dataset that a reference names.

    ``ref`` is the path of a data file or of a folder with one, ``builtin:NAME``,
    ``hf:owner/name[:split]``, ``hf:/path/of/a/folder[:split]`` or a name of the catalogue.
    ``role`` ("safety", "task", ...) is named in errors. Every row is read or the file is refused;
    with ``drop_unusable`` (some entries of the catalogue ask for it) rows with an empty prompt or
    answer are left out, and ``source`` says how many.
    Raises InputError naming file, row and remedy.
    """
    try:
        return _load(ref, drop_unusable)
    except InputError as problem:
        if role == "dataset":
            raise
        raise InputError(
            f"cannot be used as the {role} dataset: {problem.what}",
            remedy=problem.remedy,
            file=problem.file,
            row=problem.row,
        ) from problem


def require_rows(dataset: Dataset, *, at_least: int = 2, role: str = "dataset") -> None:
    """Raises InputError when the dataset has fewer than ``at_least`` rows."""
    if len(dataset) < at_least:
        raise InputError(
            f"the {role} {'' if role == 'dataset' else 'dataset '}has {len(dataset)} "
            f"row{'' if len(dataset) == 1 else 's'}; at least {at_least} are needed.",
            remedy="Add rows: a spread cannot be estimated from fewer.",
            file=dataset.source,
        )


def require_different(
    a: Dataset, b: Dataset, *, roles: tuple[str, str] = ("safety", "task")
) -> None:
    """Raises InputError when two datasets have the same content (by ``sha256``)."""
    if a.sha256 == b.sha256:
        raise InputError(
            f"the {roles[0]} and the {roles[1]} dataset have the same content "
            f"({a.source} and {b.source}).",
            remedy="Name two different datasets: between equal ones there is no trade-off.",
            file=b.source,
        )


def _load(ref: str | Path, drop: bool) -> Dataset:
    if isinstance(ref, Path):
        return _from_path(ref, drop)
    if ref.startswith("builtin:"):
        return _from_builtin(ref.removeprefix("builtin:"))
    if ref.startswith("hf:"):
        return _from_hub_reference(ref.removeprefix("hf:"), drop)
    path = Path(ref).expanduser()
    if ref and path.exists():
        return _from_path(path, drop)
    entry = find(ref)
    if entry is not None:
        return _from_catalogue(entry, None, drop)
    if _HUB_ID.fullmatch(ref) and data_extension(path) is None:
        raise InputError(
            f"there is no file or folder {ref!r}.",
            remedy=f"Check the path; for the dataset of the Hugging Face Hub write hf:{ref}.",
            file=ref,
        )
    if len(path.parts) > 1 or path.suffix:
        raise _no_file(path)
    raise _no_name(ref)


def _from_builtin(name: str) -> Dataset:
    from llm_validation.data.builtin import BUILTIN, builtin_dataset

    if name not in BUILTIN:
        raise InputError(
            f"there is no built-in dataset {name!r}.{_did_you_mean(name, list(BUILTIN))}",
            remedy=f"Use one of {', '.join(BUILTIN)}.",
            file=f"builtin:{name}",
        )
    return builtin_dataset(name)


def _from_path(path: Path, drop: bool, split: str | None = None) -> Dataset:
    if path.is_dir():
        return _from_folder(path, drop, split=split)
    if not path.exists():
        raise _no_file(path)
    if split is not None:
        raise InputError(
            f"a file has no split {split!r}.", remedy="Pass the file alone.", file=path
        )
    name = path.name.removesuffix(".gz").removesuffix(".GZ")
    return _from_files([path], Path(name).stem, str(path), drop)


def _from_folder(
    folder: Path,
    drop: bool,
    *,
    split: str | None,
    config: str | None = None,
    name: str | None = None,
    source: str | None = None,
) -> Dataset:
    name, source = name or folder.name, source or str(folder)
    if is_saved_dataset(folder):
        rows, chosen = read_saved(folder, split=split)
        examples, left_out = read_examples(rows, file=folder, drop_unusable=drop)
        source += f":{chosen}" if chosen else ""
        return Dataset.of(examples, name=name, source=_with_count(source, left_out))
    files = data_files(folder, split=split, config=config)
    return _from_files(files, name, source + (f":{split}" if split else ""), drop)


def _from_files(files: list[Path], name: str, source: str, drop: bool) -> Dataset:
    examples: list[Example] = []
    left_out: Counter[str] = Counter()
    for file in files:
        some, unusable = read_examples(read_rows(file), file=file, drop_unusable=drop)
        examples += some
        left_out += unusable
    return Dataset.of(examples, name=name, source=_with_count(source, left_out))


def _from_hub_reference(rest: str, drop: bool) -> Dataset:
    if rest and Path(rest).expanduser().exists():
        return _from_path(Path(rest).expanduser(), drop)
    where, colon, split = rest.rpartition(":")
    if not colon:
        where, split = rest, ""
    path = Path(where).expanduser()
    if where and path.exists():
        return _from_path(path, drop, split or None)
    if _HUB_ID.fullmatch(where) and not where.startswith("."):
        return _from_hub(where, split or None, by_hub_id(where), drop)
    if where.startswith(("/", ".", "~")):
        raise _no_file(path)
    raise InputError(
        f"{rest!r} is not the id of a dataset on the hub.",
        remedy="Write hf:owner/name or hf:owner/name:split.",
        file=f"hf:{rest}",
    )


def _from_catalogue(entry: CatalogueEntry, split: str | None, drop: bool) -> Dataset:
    if not entry.answers:
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
    return _from_hub(entry.hub, split, entry, drop)


def _from_hub(
    repository: str, split: str | None, entry: CatalogueEntry | None, drop: bool
) -> Dataset:
    from llm_validation.data import hub

    name = repository.split("/")[-1]
    config = revision = None
    files: tuple[str, ...] = ()
    if entry is not None:
        name, config, revision, files = entry.name, entry.config, entry.revision, entry.files
        split, drop = split or entry.split, drop or entry.drop_unusable
    commit, copy = hub.find_dataset(repository, revision=revision, split=split, entry=entry)
    if commit is not None and files:
        copy = hub.download_files(repository, commit, files)
    if copy is not None:
        source = f"hf:{repository}@{commit or copy.name}"
        return _from_folder(copy, drop, split=split, config=config, name=name, source=source)
    rows, chosen = hub.read_hub(repository, commit, split=split, config=config)
    examples, left_out = read_examples(rows, file=f"hf:{repository}:{chosen}", drop_unusable=drop)
    source = f"hf:{repository}@{commit}:{chosen}"
    return Dataset.of(examples, name=name, source=_with_count(source, left_out))


def _with_count(source: str, left_out: Counter[str]) -> str:
    if not left_out:
        return source
    reasons = "; ".join(f"{count} where {what}" for what, count in left_out.items())
    return f"{source} ({left_out.total()} rows left out: {reasons})"


def _no_file(path: Path) -> InputError:
    folder = path.parent
    beside = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    where = "" if folder.is_dir() else f" (there is no folder {folder} either)"
    return InputError(
        f"there is no such file{where}.{_did_you_mean(path.name, beside)}",
        remedy=f"Check the path; relative paths start at {Path.cwd()}.",
        file=path,
    )


def _no_name(ref: str) -> InputError:
    from llm_validation.data.builtin import BUILTIN

    names = [*(entry.name for entry in catalogue()), *(f"builtin:{name}" for name in BUILTIN)]
    return InputError(
        f"{ref!r} is neither a file nor a name of the catalogue.{_did_you_mean(ref, names)}",
        remedy="Pass a path, builtin:NAME, hf:owner/name or one of: "
        f"{', '.join(entry.name for entry in catalogue())}.",
        file=ref or None,
    )


def _did_you_mean(name: str, candidates: list[str]) -> str:
    close = difflib.get_close_matches(name.lower(), candidates, 3, 0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""
