"""Reading a dataset of the Hugging Face Hub: from the network, or from this machine's cache."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from finebound.base.errors import InputError
from llm_validation.data.catalogue import CatalogueEntry
from llm_validation.data.folders import choose_split, library_rows, require_library

PROBE_SECONDS = 10.0


def is_offline() -> bool:
    """Whether the user has switched the hub off (HF_HUB_OFFLINE or HF_DATASETS_OFFLINE)."""
    switches = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    return any(os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} for name in switches)


def find_dataset(
    repository: str, *, revision: str | None, split: str | None, entry: CatalogueEntry | None
) -> tuple[str | None, Path | None]:
    """The commit to read from the hub, or else the copy in this machine's cache.

    One short request decides: `datasets` itself would retry an unreachable hub for half a minute.
    Raises InputError saying how to get the dataset onto this machine.
    """
    require_library("huggingface_hub", f"hf:{repository}")
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    reason = "HF_HUB_OFFLINE is set"
    if not is_offline():
        try:
            info = HfApi().dataset_info(repository, revision=revision, timeout=PROBE_SECONDS)
        except RevisionNotFoundError as error:
            raise InputError(
                f"{repository} has no revision {revision!r}.",
                remedy="Check its page on the hub.",
                file=f"hf:{repository}",
            ) from error
        except RepositoryNotFoundError as error:
            raise InputError(
                "the hub has no such dataset, or shows it only to those who were let in.",
                remedy=f"Check the spelling; if it is gated, {_accept(repository)}.",
                file=f"hf:{repository}",
            ) from error
        except Exception as error:  # whatever the network stack raises: no answer from the hub
            reason = f"the hub does not answer ({type(error).__name__})"
        else:
            return info.sha, None
    try:
        copy = snapshot_download(
            repository, repo_type="dataset", revision=revision, local_files_only=True
        )
    except Exception as error:  # no copy, whatever the kind
        gated = ", which is gated" if entry is not None and entry.gated else ""
        raise InputError(
            f"{reason}, and this machine's cache has no copy of the dataset{gated}.",
            remedy=download_steps(repository, split=split, entry=entry),
            file=f"hf:{repository}",
        ) from error
    return None, Path(copy)


def download_steps(repository: str, *, split: str | None, entry: CatalogueEntry | None) -> str:
    """What to do, in words and commands, to have the dataset where there is no network."""
    folder = repository.split("/")[-1]
    command, part, gated = f"hf download {repository} --repo-type dataset", folder, None
    if entry is not None:
        gated = entry.gated
        command += f" --revision {entry.revision}" if entry.revision else ""
        command += "".join(f" --include '{pattern}'" for pattern in entry.files)
        inner = PurePosixPath(entry.files[0]).parent if entry.files else entry.config or ""
        part = str(PurePosixPath(folder, inner))
    reference = f"hf:./{part}:{split}" if split not in (None, "train") else f"./{part}"
    first = f"{_accept(repository)}, then run" if gated else "run"
    hint = f" (if it is gated, first {_accept(repository)})" if gated is None else ""
    return (
        f"On a machine with a connection {first} `{command} --local-dir {folder}`{hint}; "
        f"copy the folder {folder} to this machine and pass {reference} instead."
    )


def _accept(repository: str) -> str:
    return (
        f"accept its licence at https://huggingface.co/datasets/{repository} "
        "and run `hf auth login`"
    )


def download_files(repository: str, commit: str, patterns: tuple[str, ...]) -> Path:
    """The folder with those files of a dataset, fetched where the cache lacks them.

    For the repositories that hold a loading script, which `datasets` no longer runs.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            repository, repo_type="dataset", revision=commit, allow_patterns=list(patterns)
        )
    except Exception as error:  # gated, or the connection broke: the same remedy
        raise _failed(repository, error) from error
    return Path(folder)


def read_hub(
    repository: str, commit: str | None, *, split: str | None, config: str | None
) -> tuple[Iterator[tuple[int, Mapping]], str]:
    """The numbered rows of one split, through the `datasets` library, and the split's name."""
    require_library("datasets", f"hf:{repository}")
    import datasets

    try:
        splits = datasets.get_dataset_split_names(repository, config, revision=commit)
        chosen = choose_split(list(splits), split, where=repository)
        rows = datasets.load_dataset(repository, config, split=chosen, revision=commit)
    except InputError:
        raise
    except Exception as error:  # the library raises many kinds; its message names the cause
        raise _failed(repository, error) from error
    return library_rows(rows, f"hf:{repository}"), chosen


def _failed(repository: str, error: Exception) -> InputError:
    text = str(error)
    if "gated" in text.lower() or "401" in text or "403" in text:
        return InputError(
            "the dataset is gated.",
            remedy=f"Please {_accept(repository)}, then try again.",
            file=f"hf:{repository}",
        )
    return InputError(
        f"the dataset could not be loaded: {text.splitlines()[0] if text else type(error)}.",
        remedy=f"Run `hf download {repository} --repo-type dataset --local-dir "
        f"{repository.split('/')[-1]}` and pass the path of the file that you want.",
        file=f"hf:{repository}",
    )
